"""TLS contexts: what they demand, that nothing resumes, and that a generation ends with its last connection."""

import contextlib
import gc
import os
import socket
import ssl
import sys
import tempfile
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from support.mtls import Side, Wire, on_loop, store_of, take
from support.pki import Authority, Svid, ca_certificate

from proxy.errors import CertificateMissing, IdentityInvalid, NotReady, UntrustedChain
from proxy.identity.store import IdentityStore
from proxy.net.transport import EventLoop
from proxy.tls.contexts import TlsContexts, is_verifying, web_client_context
from proxy.tls.handshake import refusal, verified_chain
from proxy.tls.settings import TlsSettings

NOW = time.time()
CA = Authority.make("example.org")
ORDERS = CA.svid("spiffe://example.org/orders")
EDGE = CA.svid("spiffe://example.org/edge")
STRICT = TlsSettings()
LAX = TlsSettings(min_version="1.2")

LOOPS = pytest.mark.parametrize("kind", EventLoop)


def contexts(svid: Svid, settings: TlsSettings = STRICT) -> TlsContexts:
    """Contexts of a sidecar."""
    return TlsContexts(store_of(svid, CA, now=NOW), settings)


def test_before_the_first_identity() -> None:
    """Without an identity nothing is served and nothing is dialled."""
    ours = TlsContexts(IdentityStore(), STRICT)
    for make in (ours.server, ours.client):
        with pytest.raises(NotReady):
            make()
    assert ours.generations() == 0


@pytest.mark.parametrize("settings", [STRICT, LAX])
def test_what_a_context_demands(settings: TlsSettings) -> None:
    """The rules that hold for every connection of the mesh."""
    ours = contexts(ORDERS, settings)
    least = ssl.TLSVersion.TLSv1_3 if settings is STRICT else ssl.TLSVersion.TLSv1_2
    for context in (ours.server(), ours.client()):
        assert is_verifying(context)
        assert context.minimum_version == least
        assert not context.check_hostname
        for option in (ssl.OP_NO_TICKET, ssl.OP_NO_RENEGOTIATION, ssl.OP_NO_COMPRESSION):
            assert context.options & option
        assert context.verify_flags & ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
        assert not context.verify_flags & ssl.VerifyFlags.VERIFY_X509_STRICT
        # A body that ends with the connection is whole only with close_notify (RFC 9112 9.8).
        assert not context.options & getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 1 << 7)
    assert ours.server().num_tickets == 0


def test_ciphers_of_tls_1_2() -> None:
    """Only ECDHE with AEAD, where 1.2 is allowed at all."""
    names = [c["name"] for c in contexts(ORDERS, LAX).server().get_ciphers() if c["protocol"] == "TLSv1.2"]
    assert names
    assert all(name.startswith(("ECDHE-ECDSA-", "ECDHE-RSA-")) for name in names)
    assert all("GCM" in name or "CHACHA20" in name for name in names)


def open_files() -> int:
    """How many descriptors are open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def test_key_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The key passes through memory: no file is made, no descriptor stays open."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    before = open_files()
    ours = contexts(ORDERS)
    assert open_files() == before
    assert ours.server()


def pump(
    server: ssl.SSLContext, client: ssl.SSLContext, session: ssl.SSLSession | None
) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """A handshake in memory, with a session that the client wants to resume; a byte each way brings the tickets over."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = server.wrap_bio(to_server, to_client, server_side=True)
    theirs = client.wrap_bio(to_client, to_server, server_side=False, session=session)
    shaken: set[ssl.SSLObject] = set()
    for _ in range(4):
        for side in (theirs, ours):
            try:
                side.do_handshake()
                shaken.add(side)
            except ssl.SSLWantReadError:
                continue
    assert len(shaken) == 2
    ours.write(b"x")
    assert theirs.read(1) == b"x"
    return ours, theirs


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_nothing_to_resume(version: ssl.TLSVersion) -> None:
    """A client that offers the session of its last connection gets a full handshake: by ticket, by id, in either version."""
    ours = contexts(ORDERS, LAX)
    client = session_client(version)
    first, kept = pump(ours.server(), client, None)
    session = kept.session
    assert session is not None
    assert not session.has_ticket
    second, again = pump(ours.server(), client, session)
    assert not first.session_reused
    assert not second.session_reused
    assert not again.session_reused


def session_client(version: ssl.TLSVersion) -> ssl.SSLContext:
    """A client of another implementation, that keeps sessions."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.minimum_version = client.maximum_version = version
    client.load_verify_locations(cadata=CA.bundle_der)
    with tempfile.NamedTemporaryFile() as file:
        file.write(EDGE.chain_pem + EDGE.key_pem)
        file.flush()
        client.load_cert_chain(file.name)
    return client


def test_the_test_of_resumption_can_fail() -> None:
    """A context without our rules does resume, by id: so the test above would see it."""
    lax = session_server()
    client = session_client(ssl.TLSVersion.TLSv1_2)
    _, kept = pump(lax, client, None)
    second, _ = pump(lax, client, kept.session)
    assert second.session_reused


def session_server() -> ssl.SSLContext:
    """A server that sends no tickets and still resumes TLS 1.2 by session id, as OpenSSL does."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.options |= ssl.OP_NO_TICKET
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_verify_locations(cadata=CA.bundle_der)
    with tempfile.NamedTemporaryFile() as file:
        file.write(ORDERS.chain_pem + ORDERS.key_pem)
        file.flush()
        server.load_cert_chain(file.name)
    return server


@LOOPS
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_nothing_resumes_on_a_loop(kind: EventLoop, version: ssl.TLSVersion) -> None:
    """Two real connections of one client that keeps its session, through the transports that carry requests."""
    ours = contexts(ORDERS, LAX)
    client = session_client(version)

    async def test(wire: Wire) -> None:
        session: ssl.SSLSession | None = None
        for _ in range(2):
            near, far = wire.sockets()
            far.setblocking(True)
            calling = wire.transports.loop.run_in_executor(None, call, far, client, session)
            accepted = await wire.accept(near, ours.server())
            tls = accepted.transport.get_extra_info("ssl_object")
            assert not tls.session_reused
            assert len(verified_chain(accepted.transport)) == 2
            accepted.transport.write(b"x")
            session = await calling
            assert session is not None

    on_loop(kind, test)


def call(sock: socket.socket, context: ssl.SSLContext, session: ssl.SSLSession | None) -> ssl.SSLSession | None:
    """Connect with a session, read a byte, and return the session to go on with."""
    with context.wrap_socket(sock, session=session) as tls:
        assert tls.recv(1) == b"x"
        assert not tls.session_reused
        return tls.session


@LOOPS
def test_a_resumed_session_proves_nothing(kind: EventLoop) -> None:
    """Were a session resumed all the same, there is no chain to identify by."""
    lax = session_server()
    client = session_client(ssl.TLSVersion.TLSv1_2)

    async def connect(wire: Wire, session: ssl.SSLSession | None) -> tuple[Side, ssl.SSLSession | None]:
        near, far = wire.sockets()
        far.setblocking(True)
        calling = wire.transports.loop.run_in_executor(None, keep, far, client, session)
        accepted = await wire.accept(near, lax)
        if accepted.error is None:
            accepted.transport.write(b"x")
        return accepted, await calling

    async def test(wire: Wire) -> None:
        first, session = await connect(wire, None)
        assert len(verified_chain(first.transport)) == 2
        assert session is not None
        second, _ = await connect(wire, session)
        if kind is EventLoop.FAST and sys.version_info >= (3, 13):
            # Python sets the session id context for each connection there, which aiofastnet makes itself: none resumes.
            assert not second.transport.get_extra_info("ssl_object").session_reused
        else:
            with pytest.raises(UntrustedChain, match="resumed"):
                verified_chain(second.transport)

    on_loop(kind, test)


def keep(sock: socket.socket, context: ssl.SSLContext, session: ssl.SSLSession | None) -> ssl.SSLSession | None:
    """Connect by a session, if there is one, and return the session to go on with."""
    with contextlib.suppress(ssl.SSLError), context.wrap_socket(sock, session=session) as tls:
        assert tls.recv(1) == b"x"
        return tls.session
    return None


def test_newest_identity() -> None:
    """What the store takes is what the next connection begins with; what it refuses changes nothing."""
    store = store_of(ORDERS, CA, now=NOW)
    ours = TlsContexts(store, STRICT)
    first = ours.server(), ours.client()
    assert (ours.server(), ours.client()) == first
    with pytest.raises(IdentityInvalid):
        take(store, Authority.make("example.org").svid("spiffe://example.org/orders"), CA, now=NOW)
    assert (ours.server(), ours.client()) == first
    take(store, CA.svid("spiffe://example.org/orders"), CA, now=NOW)
    assert ours.server() not in first
    assert ours.client() not in first


def test_an_identity_that_openssl_refuses() -> None:
    """What OpenSSL does not take is not taken, and the last good goes on: here an intermediate with a short key."""
    store = store_of(ORDERS, CA, now=NOW)
    ours = TlsContexts(store, STRICT)
    before = ours.server()
    weak = weak_chain()
    current = store.current
    with pytest.raises(IdentityInvalid, match="OpenSSL refuses"):
        take(store, weak, CA, now=NOW)
    assert ours.server() is before
    assert store.current is current


def weak_chain() -> Svid:
    """A chain with one more certificate behind its leaf, which nothing needs, of an RSA key of 1024 bits."""
    extra = ca_certificate("example.org", rsa.generate_private_key(65537, 1024), CA)  # noqa: S505 - the fault
    return Svid(certificate=ORDERS.certificate, intermediates=(extra,), key=ORDERS.key)


@LOOPS
def test_generations(kind: EventLoop) -> None:
    """A connection keeps its generation over two rotations; with its end the generation is gone."""
    store = store_of(ORDERS, CA, now=NOW)
    ours = TlsContexts(store, STRICT)
    client = contexts(EDGE)

    async def one(wire: Wire) -> Side:
        accepted, connected = await wire.handshake(ours.server(), client.client())
        connected.transport.write(b"x")
        await accepted.end.received(1)
        return accepted

    async def test(wire: Wire) -> None:
        held = await one(wire)
        assert ours.generations() == 1
        for _ in range(2):
            take(store, CA.svid("spiffe://example.org/orders"), CA, now=NOW)
        newest = await one(wire)
        gc.collect()
        assert ours.generations() == 2
        serials = [
            x509.load_der_x509_certificate(verified_chain(side.transport)[0]).serial_number for side in (held, newest)
        ]
        assert serials == [EDGE.certificate.serial_number] * 2
        held.transport.abort()
        newest.transport.abort()
        await held.end.ended()
        await wire.close()
        del held, newest
        gc.collect()
        assert ours.generations() == 1

    on_loop(kind, test)


def test_a_thousand_rotations_leave_nothing_behind() -> None:
    """One generation, whatever came before, without waiting for the garbage collector; and memory does not grow."""
    store = store_of(ORDERS, CA, now=NOW)
    ours = TlsContexts(store, STRICT)
    svids = [CA.svid("spiffe://example.org/orders") for _ in range(4)]
    gc.disable()
    try:
        for number in range(200):
            take(store, svids[number % 4], CA, now=NOW)
        before = _resident_bytes()
        for number in range(800):
            take(store, svids[number % 4], CA, now=NOW)
            assert ours.generations() == 1
        grown = _resident_bytes() - before
    finally:
        gc.enable()
    assert store.require().generation == 1001
    assert grown < 8 * 1024 * 1024, "a context of its own each would be 80 MB"


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_generations_of_tls_1_2() -> None:
    """Contexts of one connection each end with it."""
    ours = contexts(ORDERS, LAX)
    first, second = ours.server(), ours.server()
    assert first is not second
    assert ours.generations() == 1


@LOOPS
def test_no_temporary_file(kind: EventLoop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A handshake writes no file: it works on a read-only root file system, and verifies all the same."""
    ours, edge = contexts(ORDERS), contexts(EDGE)
    foreign = Authority.make("example.org").svid("spiffe://example.org/edge")
    strange = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    strange.check_hostname = False
    strange.verify_mode = ssl.CERT_NONE
    with tempfile.NamedTemporaryFile() as file:
        file.write(foreign.chain_pem + foreign.key_pem)
        file.flush()
        strange.load_cert_chain(file.name)
    nameless = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    nameless.check_hostname = False
    nameless.verify_mode = ssl.CERT_NONE
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))

    async def test(wire: Wire) -> None:
        for client, reason in ((edge.client(), None), (strange, UntrustedChain), (nameless, CertificateMissing)):
            accepted, _ = await wire.handshake(ours.server(), client)
            assert (type(refusal(accepted.error)) if accepted.error else None) is reason

    on_loop(kind, test)


def test_web_client() -> None:
    """Outside the mesh the system's authorities and the host name decide."""
    context = web_client_context()
    assert is_verifying(context)
    assert context.check_hostname
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert contexts(ORDERS).client() is not context
