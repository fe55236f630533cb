"""The rig that Istio and Dapr publish with: 1000 requests a second of 1 KiB over 2 to 64 connections, with jitter.

========= ==========================================================================================
program   fortio: where it is, how it is built, what it reports; and our own client where it is not
rig       the direct way and the sidecar pair in turn, for each number of connections
published what others have published, on their machines
========= ==========================================================================================
"""
