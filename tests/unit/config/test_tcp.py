"""Raw TCP in the YAML: its ports, its rules, and what does not fit together."""

import pytest
from support.yaml_text import OUTBOUND, WHO, only, problems, settings

from proxy.config.gates import gates_of
from proxy.config.summary import summarise
from proxy.flow.settings import AppProtocol

INBOUND = """\
inbound: {app: "tcp://127.0.0.1:5432"}
tokens: {keys: jwks.json}
policy:
  - name: edge may query
    peers: [spiffe://example.org/edge]
    scopes: [db.query]
    routes: [{match: "CONNECT db:5432", scopes: [db.query]}]
"""

PORT = """\
outbound:
  tcp:
    - {listen: "127.0.0.1:15432", host: "db:5432", address: "db.svc:15006", spiffe_id: "spiffe://example.org/db"}
"""


def test_both_sides() -> None:
    """What it becomes, and what is said of it."""
    found = settings(WHO + INBOUND + PORT)
    assert found.inbound is not None
    assert found.inbound.protocol is AppProtocol.TCP
    assert found.outbound is None, "nobody asked for a port for HTTP"
    (port,) = found.tcp
    assert (port.listener.port, port.destination.host, port.destination.token) == (15432, "db:5432", None)
    assert any("goes to tcp://127.0.0.1:5432" in line for line in summarise(found))
    assert any("carries raw TCP from 127.0.0.1:15432 to db:5432" in line for line in summarise(found))


def test_a_port_beside_destinations() -> None:
    """Either without the other, or both."""
    assert not problems(WHO + PORT)
    both = settings(WHO + OUTBOUND + PORT.removeprefix("outbound:\n"))
    assert both.outbound is not None
    assert len(both.tcp) == 1


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "tcp://127.0.0.1:5432",
            "http://127.0.0.1:8080",
            "policy[0].routes[0].match: is a tunnel, and the app speaks HTTP",
        ),
        (
            "policy:",
            'authoriser: {opa: {url: "http://127.0.0.1:8181/v1/data/mesh/allow"}}\npolicy:',
            "authoriser: is asked",
        ),
        ('5432"}', '5432", mode: audit}', "inbound.mode: is of requests of HTTP"),
        ("scopes: [db.query]\n", "scopes: [db.query]\n    mode: audit\n", "policy[0].mode: is of requests of HTTP"),
        ("CONNECT db:5432", "GET /", "policy[0].routes[0].match: is a request, and the app speaks raw TCP"),
        ("CONNECT db:5432", "CONNECT db", "policy[0].routes[0].match: write the port too"),
        ("127.0.0.1:15432", "0.0.0.0:15006", "outbound.tcp[0].listen: this port is already the one of inbound"),
        ("127.0.0.1:15432", "127.0.0.1:5432", "inbound.app: is the outbound.tcp[0] port of this sidecar"),
        ('host: "db:5432"', 'host: "db"', "outbound.tcp[0].host: 'db' has no port"),
        ("example.org/db", "exmaple.org/db", "outbound.tcp[0].spiffe_id: is of a trust domain without a bundle"),
        (
            'example.org/db"}',
            'example.org/db", token: {scope: db.query}}',
            "outbound.tcp[0].token: needs a token service",
        ),
        ('example.org/db"}', 'example.org/db", token: {scope: s, context: {a: method}}}', "unknown key"),
    ],
)
def test_what_does_not_fit(old: str, new: str, told: str) -> None:
    """With its place."""
    text = WHO + INBOUND + PORT
    assert old in text
    assert told in only(text.replace(old, new))


def test_the_same_destination_twice() -> None:
    """Which of the two ports would be meant?"""
    line = PORT.splitlines()[-1]
    assert "outbound.tcp[1].host: outbound.tcp[0] has this host too" in only(
        WHO + PORT + line.replace("15432", "15433") + "\n"
    )


def test_mtls_alone_needs_no_tokens() -> None:
    """Where every route says so; and then readiness waits for no keys."""
    bare = INBOUND.replace("scopes: [db.query]}", "token: none}").replace("tokens: {keys: jwks.json}\n", "")
    found = settings(WHO + bare)
    assert "keys" not in [str(gate) for gate in gates_of(found)]
    mixed = bare.replace("routes: [", 'routes: [{match: "CONNECT db:1"}, ')
    assert "tokens: is missing" in only(WHO + mixed)


def test_an_outbound_without_anything() -> None:
    """Both ways to go on are told."""
    assert "outbound.destinations: is missing; write destinations" in only(WHO + 'outbound: {listen: "127.0.0.1:1"}\n')
