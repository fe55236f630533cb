"""Configurations as a person writes them, and what is said about them."""

from collections.abc import Mapping
from pathlib import Path

from proxy.config.load import load_text
from proxy.config.problem import ConfigInvalid, Problem
from proxy.config.settings import SidecarSettings

CONFIG = Path(__file__).resolve().parents[2] / "config"
EXAMPLES = sorted(CONFIG.glob("*.yaml"))
BASE = Path("/etc/svidecar")

WHO = """\
service: orders
trust_domain: example.org
identity: {files: {svid: svid.pem, key: svid_key.pem, bundle: svid_bundle.pem}}
"""

INBOUND = """\
inbound: {app: "http://127.0.0.1:8080"}
tokens: {keys: jwks.json}
policy:
  - name: edge may order
    peers: [spiffe://example.org/edge]
    scopes: [orders.read]
    routes: [{match: "GET /orders/{id}", scopes: [orders.read]}]
"""

OUTBOUND = """\
outbound:
  destinations:
    - {host: ledger, address: "ledger.default.svc:15006", spiffe_id: "spiffe://example.org/ledger"}
"""

GOOD = WHO + INBOUND + OUTBOUND

DESIGN = """\
service: orders
trust_domain: example.org

identity:
  source: workload_api              # or files: {svid: ..., key: ..., bundle: ..., federated: {other.org: other.pem}}

inbound:
  listen: 0.0.0.0:15006
  app: http://127.0.0.1:8080        # or tcp://127.0.0.1:5432

outbound:
  listen: 127.0.0.1:15001
  destinations:
    - host: ledger                  # what the app calls
      address: ledger.default.svc:15006
      spiffe_id: spiffe://example.org/ledger
      token: {scope: ledger.write}  # asked of the token service when the transaction has none yet

tokens:
  audience: example.org
  keys: https://tts.default.svc/jwks          # or a file
  service: {url: https://tts.default.svc/token, spiffe_id: spiffe://example.org/tts}

policy:
  - name: edge may order
    peers: [spiffe://example.org/edge]
    scopes: [orders.read, orders.write]       # the ceiling of every connection of that peer
    routes:
      - {match: "GET /orders/{id}", scopes: [orders.read]}
      - {match: "POST /orders", scopes: [orders.write]}
"""
"""Section 6 of the design, letter by letter."""


def settings(text: str = GOOD, environ: Mapping[str, str] | None = None) -> SidecarSettings:
    """Read a text that is good."""
    return load_text(text, BASE, environ or {})


def problems(text: str, environ: Mapping[str, str] | None = None) -> tuple[Problem, ...]:
    """Everything that is wrong with a text; nothing if it is good."""
    try:
        load_text(text, BASE, environ or {})
    except ConfigInvalid as invalid:
        return invalid.problems
    return ()


def told(text: str, environ: Mapping[str, str] | None = None) -> list[str]:
    """The same as lines, of a file named F."""
    return [problem.told("F") for problem in problems(text, environ)]


def only(text: str, environ: Mapping[str, str] | None = None) -> str:
    """The one thing that is wrong with a text."""
    lines = told(text, environ)
    assert len(lines) == 1, lines
    return lines[0]
