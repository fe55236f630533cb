"""The fetch: against our own server, and against servers that do wrong, on real sockets."""

import asyncio
import contextlib
import socket
import ssl
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from support.control import renew, serving, store_of
from support.pki import Authority

from proxy.control import dial, fetch
from proxy.control.connection import ControlLimits
from proxy.control.exchange import MAX_ANSWER_BYTES
from proxy.control.fetch import ControlFetch
from proxy.control.server import Request, Response
from proxy.errors import (
    NotReady,
    UpstreamBadResponse,
    UpstreamDown,
    UpstreamRefusedUs,
    UpstreamReset,
    UpstreamTimeout,
    UpstreamUntrusted,
)
from proxy.identity.peer import Peer, identify
from proxy.identity.spiffe_id import SpiffeId
from proxy.identity.store import IdentityStore
from proxy.net.transport import EventLoop, Transports, new_loop
from proxy.tls.contexts import TlsContexts
from proxy.tls.settings import TlsSettings
from proxy.tokens.fetch import Answer, Fetch

TD = "example.org"
TTS = SpiffeId.parse(f"spiffe://{TD}/tts")
KINDS = pytest.mark.parametrize("kind", list(EventLoop))


@contextlib.asynccontextmanager
async def fetching(
    store: IdentityStore | None = None, kind: EventLoop = EventLoop.ASYNCIO, now: Callable[[], float] = time.time
) -> AsyncIterator[ControlFetch]:
    """A fetch with that identity."""
    contexts = TlsContexts(store, TlsSettings()) if store else None
    made = ControlFetch(Transports(asyncio.get_running_loop(), kind), contexts, store, now)
    try:
        yield made
    finally:
        made.close()
        await asyncio.sleep(0.02)


@dataclass
class Script:
    """A server that says what it is told to, whatever it hears, and remembers both."""

    answers: list[bytes]
    keep: bool = True
    heard: list[bytes] = field(default_factory=list)
    connections: int = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self.connections += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while self.answers:
                head = await reader.readuntil(b"\r\n\r\n")
                length = [int(row[15:]) for row in head.split(b"\r\n") if row.lower().startswith(b"content-length:")]
                self.heard.append(head + (await reader.readexactly(length[0]) if length else b""))
                writer.write(self.answers.pop(0))
                await writer.drain()
                if not self.keep:
                    break
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def scripted(script: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """The URL of a scripted server."""
    server = await asyncio.start_server(script, "127.0.0.1", 0, ssl=tls)
    try:
        yield f"http{'s' if tls else ''}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await server.wait_closed()


def answer(body: bytes = b"", *fields: str, status: str = "200 OK") -> bytes:
    """One answer of a counted length."""
    return "\r\n".join((f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields, "\r\n")).encode() + body


async def who(request: Request) -> Response:
    """Answers with the peer, the method and the body."""
    return Response(
        200, f"{request.peer.uri if request.peer else '-'} {request.method} {request.body.decode()}".encode()
    )


@dataclass
class Mesh:
    """A trust domain with a TTS that listens."""

    ca: Authority
    url: str
    store: IdentityStore
    connections: Callable[[], int]


@contextlib.asynccontextmanager
async def mesh(
    kind: EventLoop = EventLoop.ASYNCIO,
    limits: ControlLimits | None = None,
    refuse: bool = False,  # noqa: FBT001, FBT002
) -> AsyncIterator[Mesh]:
    """The server, and the identity of a client."""
    ca = Authority.make(TD)
    own = store_of(ca.svid(str(TTS)), ca)

    def recognise(chain: list[bytes]) -> Peer:
        return identify(chain, {} if refuse else own.require().bundles, time.time())

    contexts = TlsContexts(own, TlsSettings())
    async with serving(who, kind=kind, limits=limits, context=contexts.server, identify=recognise) as (server, port):
        client = store_of(ca.svid(f"spiffe://{TD}/orders"), ca)
        yield Mesh(ca=ca, url=f"https://127.0.0.1:{port}/token", store=client, connections=lambda: len(server))


def on(kind: EventLoop, test: Callable[[], Awaitable[None]]) -> None:
    """Run a test on that loop."""

    async def main() -> None:
        await test()

    with asyncio.Runner(loop_factory=lambda: new_loop(kind)) as runner:
        runner.run(main())


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


async def test_every_kind_of_body() -> None:
    """Counted, chunked, until the end, none; interim answers are passed over."""
    for raw, body in (
        (answer(b"counted"), b"counted"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nT: r\r\n\r\n", b"abcde"),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", b"until the end"),
        (b"HTTP/1.0 200 OK\r\n\r\n", b""),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + answer(b"final"), b"final"),
    ):
        async with scripted(Script([raw], keep=False)) as url, fetching() as ask:
            assert (await ask("POST", url, body=b"x", timeout_s=5)).body == body


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"SSH-2.0-OpenSSH_9.9\r\n", "does not begin with HTTP/1"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "Content-Length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\na", "Content-Length"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "hexadecimal"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", "changes the protocol"),
        (answer(b"", "X: " + "y" * 70000), "larger than"),
    ],
)
async def test_a_bad_answer(raw: bytes, message: str) -> None:
    """Whatever breaks the grammar is a bad response, with the place where it came from."""
    async with scripted(Script([raw])) as url, fetching() as ask:
        with pytest.raises(UpstreamBadResponse, match=rf"127\.0\.0\.1:\d+: .*{message}"):
            await ask("GET", url, timeout_s=5)


@pytest.mark.parametrize("raw", [b"", b"HTTP/1.1 200 O", answer(b"abc")[:-1], b"HTTP/1.1 100 Continue\r\n\r\n"])
async def test_an_answer_that_ends_early(raw: bytes) -> None:
    """Half an answer is none."""
    async with scripted(Script([raw], keep=False)) as url, fetching() as ask:
        with pytest.raises(UpstreamReset, match="before the answer was whole"):
            await ask("POST", url, timeout_s=5)


@pytest.mark.parametrize("coding", ["counted", "chunked", "until the end"])
async def test_answer_of_n_and_n_plus_1_bytes(coding: str) -> None:
    """The cap holds in each framing."""
    for size in (MAX_ANSWER_BYTES, MAX_ANSWER_BYTES + 1):
        body = b"z" * size
        raw = {
            "counted": answer(body),
            "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (size, body),
            "until the end": b"HTTP/1.1 200 OK\r\n\r\n" + body,
        }[coding]
        async with scripted(Script([raw], keep=False)) as url, fetching() as ask:
            if size == MAX_ANSWER_BYTES:
                assert len((await ask("GET", url, timeout_s=10)).body) == size
            else:
                with pytest.raises(UpstreamBadResponse, match="larger than 1048576 bytes"):
                    await ask("GET", url, timeout_s=10)


def free_port() -> int:
    """A port where nothing listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@KINDS
def test_nothing_listens(kind: EventLoop) -> None:
    """The message names the place."""

    async def test() -> None:
        port = free_port()
        async with fetching(kind=kind) as ask:
            with pytest.raises(UpstreamDown, match=f"^nothing listens at 127.0.0.1:{port}$"):
                await ask("GET", f"http://127.0.0.1:{port}/", timeout_s=5)

    on(kind, test)


@KINDS
def test_a_name_that_does_not_resolve(kind: EventLoop) -> None:
    """.invalid never does (RFC 2606)."""

    async def test() -> None:
        async with fetching(kind=kind) as ask:
            with pytest.raises(UpstreamDown, match=r"^the name tts\.invalid does not resolve$"):
                await ask("GET", "https://tts.invalid/jwks", timeout_s=5)
            with pytest.raises(UpstreamDown, match="does not resolve"):
                await ask("GET", "http://" + "a" * 70 + "..b/", timeout_s=5)

    on(kind, test)


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
                    assert time.monotonic() - began < 2
                    await asyncio.sleep(0.05)
                    accepted, _ = listening.accept()
                    accepted.settimeout(2)
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


# ---- with an identity


@KINDS
def test_mtls_to_the_expected_workload(kind: EventLoop) -> None:
    """Our SVID is shown, theirs is checked, the body arrives; the second call finds the connection open."""

    async def test() -> None:
        async with mesh(kind) as made, fetching(made.store, kind) as ask:
            for _ in range(2):
                got = await ask("POST", made.url, body=b"a=b", timeout_s=5, expect=TTS)
                assert got.body == f"spiffe://{TD}/orders POST a=b".encode()
                assert made.connections() == 1

    on(kind, test)


@KINDS
def test_another_workload_answers(kind: EventLoop) -> None:
    """Valid, of our domain, and still not the one: nothing is sent to it."""

    async def test() -> None:
        heard: list[Request] = []

        async def thief(request: Request) -> Response:
            heard.append(request)
            return Response(200)

        ca = Authority.make(TD)
        contexts = TlsContexts(store_of(ca.svid(f"spiffe://{TD}/thief"), ca), TlsSettings())
        us = store_of(ca.svid(f"spiffe://{TD}/a"), ca)
        async with serving(thief, kind=kind, context=contexts.server) as (_, port), fetching(us, kind) as ask:
            message = f"^127.0.0.1:{port} showed spiffe://{TD}/thief, expected {TTS}$"
            with pytest.raises(UpstreamUntrusted, match=message):
                await ask("POST", f"https://127.0.0.1:{port}/token", body=b"secret", timeout_s=5, expect=TTS)
        assert heard == []

    on(kind, test)


@KINDS
def test_a_server_of_a_foreign_authority(kind: EventLoop) -> None:
    """The right name under the wrong root; and a federated domain that signs our name."""

    async def test() -> None:
        ours, evil, other = Authority.make(TD), Authority.make(TD), Authority.make("other.org")
        for signer, known in ((evil, (ours,)), (other, (ours, other))):
            liar = server_context(signer, str(TTS))
            us = store_of(ours.svid(f"spiffe://{TD}/a"), *known)
            async with serving(who, kind=kind, context=lambda liar=liar: liar) as (_, port), fetching(us, kind) as ask:
                with pytest.raises(UpstreamUntrusted, match=f"^127.0.0.1:{port}.*(bundle|authority|path)"):
                    await ask("GET", f"https://127.0.0.1:{port}/", timeout_s=5, expect=TTS)

    on(kind, test)


def server_context(ca: Authority, uri: str) -> ssl.SSLContext:
    """A server that shows that identity and asks for none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as file:
        svid = ca.svid(uri, dns=["localhost"])
        file.write(svid.chain_pem + svid.key_pem)
        file.flush()
        context.load_cert_chain(file.name)
    return context


@KINDS
def test_a_server_that_refuses_us(kind: EventLoop) -> None:
    """It trusts another root than ours (alert), or turns us away after the handshake (reset)."""

    async def test() -> None:
        ca, elsewhere = Authority.make(TD), Authority.make(TD)
        theirs = store_of(ca.svid(str(TTS)), ca)
        us = store_of(elsewhere.svid(f"spiffe://{TD}/a"), elsewhere)
        contexts = TlsContexts(theirs, TlsSettings())
        async with serving(who, kind=kind, context=contexts.server) as (_, port), fetching(us, kind) as ask:
            # we must believe it for it to be the one who refuses: the same SVID, and its root beside ours
            renew(us, elsewhere.svid(f"spiffe://{TD}/a"), both(elsewhere, ca))
            with pytest.raises((UpstreamRefusedUs, UpstreamReset), match=f"^127.0.0.1:{port}: "):
                await ask("GET", f"https://127.0.0.1:{port}/", timeout_s=5, expect=TTS)
        async with mesh(kind, refuse=True) as made, fetching(made.store, kind) as ask:
            with pytest.raises((UpstreamRefusedUs, UpstreamReset)):
                await ask("GET", made.url, timeout_s=5, expect=TTS)

    on(kind, test)


def both(one: Authority, other: Authority) -> Authority:
    """A domain whose bundle has two roots."""
    return replace(one, anchors=(*one.anchors, *other.anchors))


async def test_plain_http_can_prove_nothing() -> None:
    """An identity that is expected is never given up for a scheme."""
    async with fetching() as ask:
        with pytest.raises(UpstreamUntrusted, match="no SPIFFE ID over plain http"):
            await ask("GET", "http://127.0.0.1:1/", timeout_s=5, expect=TTS)


async def test_without_an_identity_of_ours() -> None:
    """No store, and a store that is still empty."""
    async with fetching() as ask:
        with pytest.raises(NotReady):
            await ask("GET", "https://127.0.0.1:1/", timeout_s=5, expect=TTS)
    async with fetching(IdentityStore()) as ask:
        with pytest.raises(NotReady):
            await ask("GET", "https://127.0.0.1:1/", timeout_s=5, expect=TTS)


# ---- by the Web PKI


@KINDS
def test_the_web(kind: EventLoop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's store and the host name; the mesh's own authority counts for nothing there, nor does our SVID go out."""

    async def test() -> None:
        ca = Authority.make("web.example")
        (tmp_path / "roots.pem").write_bytes(ca.bundle_pem)
        tls = server_context(ca, "spiffe://web.example/x")
        async with scripted(Script([answer(b"hi")], keep=False), tls) as url, fetching(kind=kind) as ask:
            monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "roots.pem"))
            assert (await ask("GET", url.replace("127.0.0.1", "localhost"), timeout_s=5)).body == b"hi"
        async with scripted(Script([answer(b"hi")]), tls) as url, fetching(kind=kind) as ask:
            with pytest.raises(UpstreamUntrusted):  # 127.0.0.1 is not in the certificate
                await ask("GET", url, timeout_s=5)
        monkeypatch.delenv("SSL_CERT_FILE")
        mesh_store = store_of(ca.svid("spiffe://web.example/me"), ca)
        async with scripted(Script([answer(b"hi")]), tls) as url, fetching(mesh_store, kind) as ask:
            with pytest.raises(UpstreamUntrusted):
                await ask("GET", url.replace("127.0.0.1", "localhost"), timeout_s=5)

    on(kind, test)


@KINDS
def test_a_server_that_speaks_no_tls(kind: EventLoop) -> None:
    """Https to an http port."""

    async def test() -> None:
        async with serving(kind=kind) as (_, port), fetching(kind=kind) as ask:
            with pytest.raises((UpstreamUntrusted, UpstreamDown), match=f"^127.0.0.1:{port}: "):
                await ask("GET", f"https://127.0.0.1:{port}/", timeout_s=5)

    on(kind, test)


# ---- kept connections


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


async def test_bytes_that_nobody_asked_for_end_a_kept_connection() -> None:
    """An answer in advance is an answer to somebody else's question."""
    script = Script([answer(b"1") + answer(b"poison"), answer(b"2")])
    async with scripted(script) as url, fetching() as ask:
        assert (await ask("GET", url, timeout_s=5)).body == b"1"
        assert (await ask("GET", url, timeout_s=5)).body == b"2"
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


async def test_an_address_that_does_not_answer_leaves_time_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name with a dead address and a good one: the good one is found within the time."""
    async with serving() as (_, port), fetching() as ask:
        loop = asyncio.get_running_loop()
        dead = socket.socket()
        dead.bind(("127.0.0.2", port))  # bound, and nothing listens

        async def two(*_: object, **__: object) -> list[tuple[object, ...]]:
            row = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
            return [(*row, ("127.0.0.2", port)), (*row, ("127.0.0.1", port))]

        monkeypatch.setattr(loop, "getaddrinfo", two)
        assert (await ask("GET", f"http://two.example:{port}/", timeout_s=5)).status == 200
        dead.close()
    assert dial.CONNECT_S < 5.0


async def until(true: Callable[[], bool]) -> None:
    """Wait for a condition, not for ever."""
    async with asyncio.timeout(5):
        while not true():
            await asyncio.sleep(0.01)
