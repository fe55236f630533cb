"""SIGHUP takes other ports for raw TCP and other destinations of them; what was opened where they led before ends at once."""

import signal
import socket
from collections.abc import Callable, Iterator

import pytest
from support.mesh import Mesh, mesh_in
from support.ports import free_port
from support.sidecar import Sidecar, wait_until
from support.tcp import inbound
from support.wire import Wire

RULES = """
  - {name: edge may, peers: [spiffe://example.org/edge], routes: [{match: "CONNECT %s:1", token: none}]}
"""


def saying(name: bytes) -> Callable[[socket.socket], None]:
    """An app that speaks first, and then echoes."""

    def script(connection: socket.socket) -> None:
        connection.sendall(name)
        while data := connection.recv(65536):
            connection.sendall(data)

    return script


class Edge:
    """A sidecar whose ports change, and two workloads that they may lead to."""

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        self.at = {}
        for name in ("one", "two"):
            app = mesh.raw_app(saying(name.encode()))
            self.at[name] = mesh.start(name, inbound(app.port, RULES % name)).ports["inbound"]
        self.port, self.other = free_port(), free_port()
        self.sidecar: Sidecar = mesh.start("edge", self.yaml((self.port, "one")))

    def yaml(self, *ports: tuple[int, str], more: str = "") -> str:
        """Its YAML: which port leads to whom."""
        rows = "".join(
            f'    - {{listen: "127.0.0.1:{port}", host: "{name}:1", address: "127.0.0.1:{self.at[name]}", '
            f"spiffe_id: spiffe://example.org/{name}}}\n"
            for port, name in ports
        )
        return f"outbound:\n  tcp:\n{rows}{more}"

    def reload(self, *ports: tuple[int, str], result: str = "ok", more: str = "") -> None:
        """Write it, and wait for what becomes of it."""
        before = self.sidecar.metric("svidecar_reload_total", result=result)
        self.mesh.config("edge", self.yaml(*ports, more=more))
        self.sidecar.signal(signal.SIGHUP)
        wait_until(
            lambda: self.sidecar.metric("svidecar_reload_total", result=result) == before + 1, f"reload {result}"
        )

    def opened(self, port: int, name: str) -> Wire:
        """A tunnel through this port, which leads to that workload."""
        wire = self.mesh.plain(port)
        assert wire.take(3) == name.encode()
        return wire


@pytest.fixture
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """The sidecar."""
    with mesh_in(tmp_path_factory.mktemp("mesh")) as mesh:
        yield Edge(mesh)


def still_passes(wire: Wire) -> bool:
    """Whether the tunnel is open."""
    return wire.send(b"x").take(1) == b"x"


def test_a_port_that_leads_elsewhere(edge: Edge) -> None:
    """The same port, another workload: what was open is reset, and its record says why; the next one is carried there."""
    wire = edge.opened(edge.port, "one")
    edge.reload((edge.port, "two"))
    with pytest.raises(ConnectionResetError):
        wire.sock.recv(1)
    edge.sidecar.wait_for_decision(decision="deny", reason="destination_unknown")
    edge.opened(edge.port, "two")
    assert "needs a restart" not in edge.sidecar.log


def test_ports_come_and_go(edge: Edge) -> None:
    """One more, and one less: the other goes on with what it carries."""
    first = edge.opened(edge.port, "one")
    edge.reload((edge.port, "one"), (edge.other, "two"))
    second = edge.opened(edge.other, "two")
    assert still_passes(first)
    edge.reload((edge.other, "two"))
    with pytest.raises(ConnectionResetError):
        first.sock.recv(1)
    with pytest.raises(ConnectionRefusedError):
        edge.mesh.plain(edge.port)
    assert still_passes(second)
    edge.reload((edge.other, "two"), (edge.port, "one"))
    edge.opened(edge.port, "one")
    assert still_passes(second)


def test_a_port_that_is_taken(edge: Edge) -> None:
    """The reload is refused whole, and everything stays as it was, also the port that could have been opened."""
    wire = edge.opened(edge.port, "one")
    free = free_port()
    with socket.create_server(("127.0.0.1", edge.other)):
        edge.reload((free, "two"), (edge.other, "one"), result="failed")
    assert f"127.0.0.1:{edge.other}" in next(line for line in edge.sidecar.lines if "the last good" in line)
    assert still_passes(wire)
    edge.opened(edge.port, "one")
    with pytest.raises(ConnectionRefusedError):
        edge.mesh.plain(free)
    edge.reload((edge.port, "two"), (edge.other, "one"))
    edge.opened(edge.other, "one")


def test_what_needs_a_restart_is_said(edge: Edge) -> None:
    """Limits and timeouts of a port that is open; at each reload, until it comes."""
    wire = edge.opened(edge.port, "one")
    for count in (1, 2):
        edge.reload((edge.port, "one"), more="timeouts: {tcp_idle: 10s}\n")
        told = [line for line in edge.sidecar.lines if "needs a restart" in line]
        assert len(told) == count
        assert "limits or timeouts of outbound.tcp" in told[-1]
    assert still_passes(wire)
