"""What a fixed load does not show. Each file is a command that starts everything itself and fails with what it found.

================= ==================================================================================
growth            100 000 requests and 15 000 handshakes of both sides: no memory, no descriptors
short_connections 15 000 mTLS connections as fast as they come, some of them broken off
slow_reader       readers that take 64 KiB a second: bounded memory, and nobody else waits
rotation          new SVIDs and reloads under load: nothing is lost
ground            what they stand on: a pair that is up, the command, the table, the JSON
watch             memory and descriptors of both sides
slope             growth as a fitted line with its confidence
================= ==================================================================================
"""
