"""The YAML files of the demo, as anyone would write them. They stay while the demo runs, to be read and tried."""

from pathlib import Path

TRUST_DOMAIN = "example.org"

SIDECARS = ("edge", "orders", "ledger")
"""In the order of a request."""

_AUTHORITY = """\
# svidecar authority --trust-domain example.org --dir state --socket api.sock --config authority.yaml
listen: 127.0.0.1:0
workloads: # what each may ask of the token service stands in scopes
  # These get their SVIDs from the Workload API, at api.sock. The kernel says whose process is calling; all
  # of the demo is yours, so each sidecar gets all three, and takes the one with its name. Elsewhere: a user for each.
  - {{name: edge, selectors: ["unix:uid:{uid}"], scopes: [orders.read, orders.write]}}
  - {{name: orders, selectors: ["unix:uid:{uid}"]}}
  - {{name: ledger, selectors: ["unix:uid:{uid}"]}}
  # And these as files, in state/workloads.
  - {{name: support}}
  - {{name: intruder}} # a workload of this trust domain that no policy names
"""

_EACH = """\
# svidecar run --config {name}.yaml
service: {name}
trust_domain: example.org

identity:
  workload_api: {{socket: "unix://{folder}/api.sock", hint: {name}}}
"""

_OPERATORS = """
# Port 0 takes a free one: the sidecars of a demo share one machine. Everybody else keeps the defaults.
metrics: {listen: 127.0.0.1:0}
health: {listen: 127.0.0.1:0}
admin: {listen: 127.0.0.1:0}
access_log: logs/%s.access.jsonl
shutdown: {grace: 1s, quiet: 0s}
"""

_EDGE = """
outbound:
  listen: 127.0.0.1:0
  destinations:
    - host: orders
      address: 127.0.0.1:{orders}
      spiffe_id: spiffe://example.org/orders
      token: {{scope: orders.read orders.write}} # edge begins the transaction: its sidecar asks for the token
    - host: billing # whoever answers at this address is ledger, and not billing
      address: 127.0.0.1:{ledger}
      spiffe_id: spiffe://example.org/billing

tokens:
  keys: https://127.0.0.1:{authority}/jwks
  issuer: spiffe://example.org/tts
  service: {{url: "https://127.0.0.1:{authority}/token", spiffe_id: spiffe://example.org/tts}}
"""

_ORDERS = """
inbound:
  listen: 127.0.0.1:0
  app: http://127.0.0.1:{app}

outbound:
  listen: 127.0.0.1:0
  destinations:
    - host: ledger # no token: the app copies the one that it was called with
      address: 127.0.0.1:{ledger}
      spiffe_id: spiffe://example.org/ledger

tokens:
  keys: https://127.0.0.1:{authority}/jwks
  keys_spiffe_id: spiffe://example.org/tts
  issuer: spiffe://example.org/tts

policy:
  - name: edge may order
    peers: [spiffe://example.org/edge]
    scopes: [orders.read, orders.write] # the most that any token on edge's connections may hold
    routes:
      - {{match: "GET /orders/{{id}}", scopes: [orders.read]}}
      - {{match: "POST /orders", scopes: [orders.write]}}
  - name: support may cancel
    peers: [spiffe://example.org/support]
    scopes: [orders.cancel]
    routes:
      - {{match: "DELETE /orders/{{id}}", scopes: [orders.cancel]}}
"""

_LEDGER = """
inbound:
  listen: 127.0.0.1:0
  app: http://127.0.0.1:{app}

tokens:
  keys: https://127.0.0.1:{authority}/jwks
  keys_spiffe_id: spiffe://example.org/tts
  issuer: spiffe://example.org/tts

policy:
  - name: orders keeps its entries
    peers: [spiffe://example.org/orders]
    scopes: [orders.read, orders.write, orders.cancel]
    routes:
      - {{match: "GET /entries/{{id}}", scopes: [orders.read]}}
      - {{match: "POST /entries", scopes: [orders.write]}}
      - {{match: "DELETE /entries/{{id}}", scopes: [orders.cancel]}}
"""

_OWN = {"edge": _EDGE, "orders": _ORDERS, "ledger": _LEDGER}


def authority_yaml(uid: int) -> str:
    """Write the YAML of the authority; ``uid`` is the user of all sidecars."""
    return _AUTHORITY.format(uid=uid)


def sidecar_yaml(name: str, folder: Path, **ports: int) -> str:
    """Write the YAML of one sidecar; ``ports`` are of the authority, of its app, and of those whom it calls."""
    return _EACH.format(name=name, folder=folder) + _OWN[name].format(**ports) + _OPERATORS % name
