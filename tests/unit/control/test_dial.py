"""Connections: the name, the addresses, the handshake, and who answered."""

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest
from support.control import renew, serving, store_of
from support.fetching import (
    KINDS,
    TD,
    TTS,
    Script,
    answer,
    both,
    fetching,
    mesh,
    on,
    scripted,
    server_context,
    who,
)
from support.pki import Authority
from support.ports import refused_port

from proxy.control import dial
from proxy.control.server import Request, Response
from proxy.errors import (
    NotReady,
    UpstreamDown,
    UpstreamRefusedUs,
    UpstreamReset,
    UpstreamUntrusted,
)
from proxy.identity.store import IdentityStore
from proxy.net.transport import EventLoop, Transports
from proxy.tls.contexts import TlsContexts
from proxy.tls.settings import TlsSettings


@KINDS
def test_nothing_listens(kind: EventLoop) -> None:
    """The message names the place."""

    async def test() -> None:
        with refused_port() as port:
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
def test_an_identity_that_is_taken_away_during_the_handshake(kind: EventLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is sent in its name, and the connection that was made in it does not stay."""
    connected = Transports.connected

    async def test() -> None:
        async with mesh(kind) as made, fetching(made.store, kind) as ask:

            async def late(*arguments: Any) -> Any:
                found = await connected(*arguments)
                while not made.connections():
                    await asyncio.sleep(0.01)
                made.store.withdraw()
                return found

            monkeypatch.setattr(Transports, "connected", late)
            with pytest.raises(NotReady):
                await ask("POST", made.url, body=b"a=b", timeout_s=5, expect=TTS)
            async with asyncio.timeout(5):
                while made.connections():
                    await asyncio.sleep(0.01)

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


async def test_without_an_identity_of_ours() -> None:
    """No store, and a store that is still empty."""
    async with fetching() as ask:
        with pytest.raises(NotReady):
            await ask("GET", "https://127.0.0.1:1/", timeout_s=5, expect=TTS)
    async with fetching(IdentityStore()) as ask:
        with pytest.raises(NotReady):
            await ask("GET", "https://127.0.0.1:1/", timeout_s=5, expect=TTS)


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
