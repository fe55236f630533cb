"""The fetch: what is sent, how long it waits, and which connections it uses again."""

import asyncio
import contextlib
import socket
import time

import pytest
from support.control import renew, serving, store_of
from support.fetching import (
    KINDS,
    TD,
    TTS,
    Script,
    answer,
    fetching,
    mesh,
    on,
    scripted,
    until,
)
from support.pki import Authority
from support.sidecar import SOON_S

from proxy.control import fetch
from proxy.control.fetch import ControlFetch
from proxy.control.server import Request, Response
from proxy.errors import (
    UpstreamDown,
    UpstreamReset,
    UpstreamTimeout,
    UpstreamUntrusted,
)
from proxy.identity.spiffe_id import SpiffeId
from proxy.net.transport import EventLoop
from proxy.tokens.fetch import Answer, Fetch


def test_it_is_a_fetch() -> None:
    """The seam of tokens/ is what is implemented (mypy judges)."""
    _: type[Fetch] = ControlFetch


async def test_plain_get_and_what_is_sent() -> None:
    """The request says who it is for, and nothing that was not asked for."""
    script = Script([answer(b"{}", "Content-Type: application/json", "X-A: 1", "x-a: 2", status="404 Not Found")])
    async with scripted(script) as url, fetching() as ask:
        got = await ask("GET", url + "/jwks?a=b", fields={"Accept": "application/jwk-set+json"}, timeout_s=5)
    assert got == Answer(404, {"content-type": "application/json", "x-a": "1, 2"}, b"{}")
    authority = url.removeprefix("http://")
    assert script.heard == [
        f"GET /jwks?a=b HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: svidecar\r\nAccept-Encoding: identity\r\n"
        "Accept: application/jwk-set+json\r\n\r\n".encode()
    ]


async def test_a_redirect_is_an_answer() -> None:
    """Nobody sends us elsewhere."""
    script = Script([answer(b"", "Location: http://127.0.0.1:1/evil", status="302 Found")])
    async with scripted(script) as url, fetching() as ask:
        assert (await ask("GET", url, timeout_s=5)).status == 302


@KINDS
def test_a_server_that_never_answers(kind: EventLoop) -> None:
    """In plain text, and in the middle of a handshake; the connection does not stay behind."""

    async def test() -> None:
        ca = Authority.make(TD)
        async with fetching(store_of(ca.svid(f"spiffe://{TD}/a"), ca), kind) as ask:
            with socket.create_server(("127.0.0.1", 0)) as listening:
                where = f"127.0.0.1:{listening.getsockname()[1]}"
                for url, expect in ((f"http://{where}/", None), (f"https://{where}/", TTS)):
                    began = time.monotonic()
                    with pytest.raises(UpstreamTimeout, match=f"^{where} did not answer in 0.3 s$"):
                        await ask("GET", url, timeout_s=0.3, expect=expect)
                    assert time.monotonic() - began < SOON_S
                    await asyncio.sleep(0.05)
                    accepted, _ = listening.accept()
                    accepted.settimeout(20)
                    with contextlib.suppress(ConnectionResetError):
                        while accepted.recv(4096):
                            pass
                    accepted.close()

    on(kind, test)


@pytest.mark.parametrize("url", ["https://user:pw@a/", "ftp://a/", "https://a/#x", "https://a\r\nX: y/"])
async def test_a_url_that_cannot_be_fetched(url: str) -> None:
    """One of the failures that a caller knows, and not a stray exception."""
    async with fetching() as ask:
        with pytest.raises(UpstreamDown, match="URL cannot be fetched"):
            await ask("GET", url, timeout_s=5)


async def test_a_field_that_would_break_the_head_is_never_sent() -> None:
    """A fault of ours, and told as such."""
    script = Script([answer()])
    async with scripted(script) as url, fetching() as ask:
        with pytest.raises(ValueError, match="break the head"):
            await ask("GET", url, fields={"X": "a\r\nY: b"}, timeout_s=5)
    assert script.connections == 0


async def test_plain_http_can_prove_nothing() -> None:
    """An identity that is expected is never given up for a scheme."""
    async with fetching() as ask:
        with pytest.raises(UpstreamUntrusted, match="no SPIFFE ID over plain http"):
            await ask("GET", "http://127.0.0.1:1/", timeout_s=5, expect=TTS)


async def test_kept_connections_are_used_again_and_bounded() -> None:
    """Five at once, two are kept; each different expectation has its own."""
    async with mesh() as made, fetching(made.store) as ask:
        async with asyncio.TaskGroup() as group:
            for _ in range(5):
                group.create_task(ask("GET", made.url, timeout_s=5, expect=TTS))
        await until(lambda: made.connections() == fetch.MAX_IDLE)
        with pytest.raises(UpstreamUntrusted):
            await ask("GET", made.url, timeout_s=5, expect=SpiffeId.parse(f"spiffe://{TD}/other"))


async def test_a_kept_connection_ends_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not wait for the next request to be closed."""
    monkeypatch.setattr(fetch, "IDLE_S", 0.1)
    async with mesh() as made, fetching(made.store) as ask:
        await ask("GET", made.url, timeout_s=5, expect=TTS)
        assert made.connections() == 1
        await until(lambda: made.connections() == 0)
        assert ask._idle == {}


async def test_a_new_identity_never_uses_an_old_connection() -> None:
    """After a rotation, and after the peer's own SVID has ended."""
    ahead = 0.0
    async with mesh() as made, fetching(made.store, now=lambda: time.time() + ahead) as ask:
        await ask("GET", made.url, timeout_s=5, expect=TTS)
        (kept,) = next(iter(ask._idle.values()))
        renew(made.store, made.ca.svid(f"spiffe://{TD}/orders"), made.ca)
        await ask("GET", made.url, timeout_s=5, expect=TTS)
        (other,) = next(iter(ask._idle.values()))
        assert other is not kept
        ahead = 4000.0
        with pytest.raises(UpstreamUntrusted, match="not valid now"):
            await ask("GET", made.url, timeout_s=5, expect=TTS)


async def test_a_connection_that_died_while_kept() -> None:
    """GET is sent again on a new one; POST is not, for it may have been done."""
    script = Script([answer(b"1"), answer(b"2"), answer(b"3")])
    async with scripted(script) as url, fetching() as ask:
        await ask("GET", url, timeout_s=5)
        script.keep = False
        (kept,) = next(iter(ask._idle.values()))
        sock = kept.transport.get_extra_info("socket")
        sock.shutdown(socket.SHUT_WR)  # the server ends it; we have not heard of that when we write
        await asyncio.sleep(0)
        assert (await ask("GET", url, timeout_s=5)).body == b"2"
        assert script.connections == 2
        with pytest.raises(UpstreamReset):  # the second is dead too by now: its server closed it
            await ask("POST", url, timeout_s=5)
        assert script.connections == 2


async def test_who_is_cancelled_leaves_nothing() -> None:
    """The caller gives up: so does the connection."""
    async with serving(slow) as (server, port), fetching() as ask:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ask("GET", f"http://127.0.0.1:{port}/", timeout_s=30), 0.2)
        assert ask._idle == {}
    assert len(server) == 0


async def slow(_: Request) -> Response:
    """Takes its time."""
    await asyncio.sleep(1)
    return Response(200)


async def test_after_close_nothing_is_kept() -> None:
    """A fetch that is closed still answers, and keeps no connection."""
    async with serving() as (server, port), fetching() as ask:
        ask.close()
        assert (await ask("GET", f"http://127.0.0.1:{port}/", timeout_s=5)).status == 200
        await until(lambda: len(server) == 0)
