"""Why the app could not be reached is told to us alone: a peer gets the reason, the app that asks its own sidecar all."""

from collections.abc import Iterator

import pytest
from support.mesh import INBOUND, Mesh, outbound
from support.ports import refused_port
from support.sidecar import Sidecar


@pytest.fixture(scope="module")
def nobody() -> Iterator[int]:
    """A port where nothing listens."""
    with refused_port() as port:
        yield port


@pytest.fixture(scope="module")
def orders(mesh: Mesh, nobody: int) -> Sidecar:
    """A sidecar whose app is down, and which calls it, too."""
    plain = outbound(f'host: app, address: "127.0.0.1:{nobody}", protection: plain')
    return mesh.start("orders", INBOUND.format(app=nobody) + plain)


def test_a_peer(mesh: Mesh, orders: Sidecar, nobody: int) -> None:
    """Reason and status, and nothing of where the app is."""
    answer = mesh.connect(orders.ports["inbound"]).ask("GET", "/any/1", mesh.bearer())
    assert (answer.status, answer.reason, answer.json["detail"]) == (502, "upstream_down", "")
    assert str(nobody).encode() not in answer.body


def test_what_the_peer_did_itself(mesh: Mesh, orders: Sidecar) -> None:
    """It is told what was wrong with its own request."""
    answer = mesh.connect(orders.ports["inbound"]).ask("GET", "/any/1")
    assert (answer.status, answer.reason) == (401, "token_missing")
    assert answer.json["detail"]


def test_the_app(mesh: Mesh, orders: Sidecar, nobody: int) -> None:
    """It asked its own sidecar: whoever reads its log can mend it."""
    answer = mesh.plain(orders.ports["outbound"]).ask("GET", "/", host="app")
    assert (answer.status, answer.reason) == (502, "upstream_down")
    assert f"127.0.0.1:{nobody}" in answer.json["detail"]
