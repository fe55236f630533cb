"""A port for raw TCP that is gone, or leads elsewhere: nothing goes any more where it led, nor stays connected to it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.doors import CONFIG, Bench, Kept, settle

from proxy.config.load import load_text
from proxy.flow.raw_outbound import RawOutboundConnection
from proxy.flow.raw_ports import RawPort

PORT = 'tcp: [{listen: "127.0.0.1:0", host: "db:5432", address: "127.0.0.1:4", spiffe_id: spiffe://example.org/db}]'
DESTINATIONS = "destinations: ["
TCP = CONFIG.replace(DESTINATIONS, PORT + "\n  " + DESTINATIONS)


@pytest.fixture(name="bench")
async def _bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    made = Bench(tmp_path, TCP)
    monkeypatch.setattr(made.doors._dialer, "dial", made.dial)
    yield made
    await made.sidecar.close()
    for _, other in made.opened:
        other.close()


@pytest.fixture(name="port")
def _port(bench: Bench) -> RawPort:
    """The one port."""
    return bench.doors.raw._ports[0]


def lead(bench: Bench, old: str, new: str) -> None:
    """Take another YAML."""
    assert old in TCP
    bench.doors.raw.take(load_text(TCP.replace(old, new), bench.folder, {}).tcp, "example.org")


def connect(port: RawPort) -> tuple[RawOutboundConnection, Kept]:
    """Have the app's connection arrive."""
    connection, transport = RawOutboundConnection(port.listener, port.door), Kept()
    connection.connection_made(transport)
    return connection, transport


async def test_who_arrives_as_it_goes_is_led_nowhere(bench: Bench, port: RawPort) -> None:
    """It was accepted before the port was gone, and is here only now."""
    lead(bench, PORT + "\n", "\n")
    connection, _ = connect(port)
    await bench.opens()
    assert bench.opened == []
    assert connection.exchange is None


@pytest.mark.parametrize(("old", "new"), [(PORT + "\n", "\n"), ("127.0.0.1:4", "127.0.0.1:6")])
async def test_what_was_being_opened_is_closed(bench: Bench, port: RawPort, old: str, new: str) -> None:
    """Nobody stays connected to where it led."""
    connect(port)
    await settle()
    lead(bench, old, new)
    await bench.opens()
    assert [where for where, _ in bench.opened] == ["127.0.0.1:4"]
    assert await asyncio.get_running_loop().sock_recv(bench.opened[0][1], 1) == b""
