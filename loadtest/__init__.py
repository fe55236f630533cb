"""The load test: what a sidecar costs, measured beside the best on the same work.

========== =========================================================================================
cli        ``python -m loadtest [run | compare | gate | profile]``: the verbs
compare    a whole run: what can run is found, proven, measured, shown
gate       a short run that fails if a figure leaves the ``budget``
profile    a ``flame`` graph of a sidecar under load
plan       what is measured in which round, for how long; ``scenario`` and ``shape``: the menu
rounds     A B C A B C: fresh processes in each round, the load visits them in turn
contenders one file each: the configuration and the commands of a proxy pair
build      svidecar as the image has it, compiled
checks     before anything is measured: does the contender do the work that it is timed on?
saturation wrk at full speed: CPU per request
fixed_rate an open-loop client at a rate that does not wait: latency
streams    10 MB bodies both ways, and peers that stop reading
handshakes a new mTLS connection for each request
idle       1000 TLS connections that stay open: memory
histograms svidecar's own account of its time
material   a throwaway trust domain: certificates, keys, tokens; ``tokens``: many of them
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
report     text and JSON; ``tables``: the rows; ``page`` and ``plots``: report.html
loop       ``python -m loadtest.loop``: the forwarding loop alone, without the kernel and TLS
========== =========================================================================================

Nothing here is imported by ``proxy``; ``README.md`` says how to run it and how to read it.
"""
