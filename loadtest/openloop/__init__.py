"""An open-loop client: it sends when the clock says so, whatever the other side does.

========== ============================================================================================
schedule   when each request is meant to be sent, from the rate alone
request    the bytes of each request: fields, a new token each time
connection one socket, one request at a time
timer      a wake-up to the microsecond: an event loop's own timers are a millisecond coarse
client     the loop: what is due goes to the connection that has been free longest
account    what became of each request, what is the server's delay and what is our own
histogram  latencies to 0.1 %, in little memory
========== ============================================================================================

A closed loop waits for an answer before it asks again: while the server stalls, it sends nothing, and the delay of all
that would have come is left out ("coordinated omission"). Here a request that finds every connection busy waits for
one, and its latency counts from when it was meant to be sent.
"""
