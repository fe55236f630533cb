"""The load test: what a sidecar costs, measured beside the best on the same work.

========== =========================================================================================
spine      ``python -m loadtest.spine``: the command
rounds     A B C A B C: what is measured, in which order
contenders one file each: the configuration and the commands of a proxy pair
checks     before anything is measured: does the contender do the work that it is timed on?
saturation wrk at full speed: CPU per request
streams    10 MB bodies both ways, and peers that stop reading
idle       1000 TLS connections that stay open: memory
material   a throwaway trust domain: certificates, keys, tokens
backend    the app behind the proxies, and ``sink``, where uploads end
stage      bring a contender's pair up, and take it down again
wire       a tap between the proxies, for the checks; ``impostor`` stands at its other end
client     single questions, plain and over mTLS
openloop   ``python -m loadtest.openloop``: latency at a fixed rate, without coordinated omission
fortio     ``python -m loadtest.fortio``: the rig that others publish with
scenarios  commands of their own: growth, short connections, slow readers, rotation
processes  start, pin, wait for, and always end processes
kernel     CPU time and memory of processes, from /proc
machine    what we run on, and where the programs are
figures    medians, spreads, ratios inside a round
results    what a run found, and the figures that are drawn from it
report     tables and JSON
========== =========================================================================================

Nothing here is imported by ``proxy``; ``README.md`` says how to run it and how to read it.
"""
