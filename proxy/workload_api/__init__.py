"""The SPIFFE Workload API on the wire (specs 2.7): its messages, its endpoint, and a client.

The messages serve both sides, so that our client and the embedded authority's server cannot drift apart. Whatever
imports ``grpclib`` is imported only where the Workload API is in use.

Weighed on CPython 3.11, as what each import adds to a worker of 40.5 MB: grpcio 9.2 MB, and threads of its own that
poll beside the loop and wake it through a pipe; google.protobuf 2.4 MB; grpclib 1.5 MB (h2 0.9 of it), in plain asyncio
calls: it runs in the loop's own thread, on uvloop as on any. The messages are a dozen fields, so their codec is our own
(``wire.py``): it costs nothing, and refuses where protobuf's would guess.
"""
