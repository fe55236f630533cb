"""svidecar: a sidecar that proves who calls, on whose behalf, in which transaction, and lets it do only that.

The map of the house, from the street to the cellar. Imports point down only (``lint-imports`` holds it):

============ =========================================================================================
cli          the verbs of ``svidecar``
command_line how their words are read, and that no mistake repeats a token
demo         ``svidecar demo``: three workloads, their sidecars, and what happens to good and bad calls
supervisor   the life of a process: signals, reload, drain
app          the composition root: the only file that knows every room
config       one YAML, read into the frozen Settings of each room, every error at once
authority    the embedded trust domain: CA, Workload API, Transaction Token Service
federation   bundles of foreign trust domains, from their bundle endpoints
flow         inbound and outbound: the only place where the steps of a request are put in order
admin        metrics, health, status
outside      authorisers that are not ours: OPA, Envoy's ext_authz
revocation   where we are told what is revoked: a file, the operator, a signed feed
upstream     whom we call: endpoints, pool, dial
control      small control-plane HTTP over our own codec: one server, one fetch
tls          contexts by generation of the identity; the verified chain of a connection
policy       rules -> Grant (when a connection is admitted) -> Permit (for each request)
tokens       transaction tokens: read, verify, remember, carry, ask for
identity     SPIFFE IDs, SVIDs, bundles, peer verification, and where they come from
observe      metrics, access log, audit, trace context
workload_api the SPIFFE Workload API: its messages, its endpoint, a client
http1        the sans-IO codec of HTTP/1.1: bytes in, events out
net          the loop, tasks, deadlines, listening sockets
errors       one class per reason; connection_refusals is its first part
reason       what all of them have in common
============ =========================================================================================

A request passes, in this order: ``flow/inbound.py`` or ``flow/outbound.py``. Open one of these first.
"""

__version__ = "0.1.0"
