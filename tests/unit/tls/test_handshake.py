"""Real handshakes, good and bad, on each loop: one reason for each fault, whatever shape the loop gives it."""

import asyncio
import contextlib
import socket
import ssl
import tempfile
import time
from collections.abc import Awaitable, Callable

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from support.mtls import Side, Wire, on_loop, store_of
from support.pki import Authority, Svid

from proxy.errors import (
    CertificateExpired,
    CertificateMissing,
    ConnectionRefusal,
    HandshakeFailed,
    HandshakeTimeout,
    NotAnSvid,
    PeerNotAllowed,
    Plaintext,
    UntrustedChain,
    UpstreamDown,
    UpstreamFailure,
    UpstreamRefusedUs,
    UpstreamReset,
    UpstreamTimeout,
    UpstreamUntrusted,
)
from proxy.identity.peer import identify
from proxy.net.transport import EventLoop
from proxy.tls.contexts import TlsContexts
from proxy.tls.handshake import dial_failure, refusal, verified_chain
from proxy.tls.settings import TlsSettings

NOW = time.time()
CA = Authority.make("example.org")
OTHER = Authority.make("other.org")
FOREIGN = Authority.make("example.org")
ORDERS = CA.svid("spiffe://example.org/orders")
EDGE = CA.svid("spiffe://example.org/edge")

LOOPS = pytest.mark.parametrize("kind", EventLoop)
VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])

Test = Callable[[Wire], Awaitable[None]]


def contexts(svid: Svid, *authorities: Authority, min_version: str = "1.2") -> TlsContexts:
    """Contexts of a sidecar."""
    settings = TlsSettings(min_version="1.3" if min_version == "1.3" else "1.2")
    return TlsContexts(store_of(svid, *authorities, now=NOW), settings)


def stranger(
    svid: Svid | None, *trusted: Authority, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3, server: bool = False
) -> ssl.SSLContext:
    """The context of somebody who holds to no rule of ours."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED if trusted else ssl.CERT_NONE
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    context.maximum_version = context.minimum_version = version
    for authority in trusted:
        context.load_verify_locations(cadata=authority.bundle_der)
    if svid is not None:
        load(context, svid)
    return context


def load(context: ssl.SSLContext, svid: Svid) -> None:
    """Give a context an SVID, without the rules of ours."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(svid.chain_pem + svid.key_pem)
        file.flush()
        context.load_cert_chain(file.name)


SERVER = contexts(ORDERS, CA)
CLIENT = contexts(EDGE, CA)
BUNDLES = store_of(ORDERS, CA, OTHER, now=NOW).require().bundles


@LOOPS
@VERSIONS
def test_both_sides_know_each_other(kind: EventLoop, version: ssl.TLSVersion) -> None:
    """Each side has the chain that TLS verified, its anchor behind it, and identifies the other."""

    async def test(wire: Wire) -> None:
        client = CLIENT.client()
        client.maximum_version = version
        try:
            accepted, connected = await wire.handshake(SERVER.server(), client)
        finally:
            client.maximum_version = ssl.TLSVersion.MAXIMUM_SUPPORTED
        assert identify(verified_chain(accepted.transport), BUNDLES, NOW).uri == "spiffe://example.org/edge"
        assert identify(verified_chain(connected.transport), BUNDLES, NOW).uri == "spiffe://example.org/orders"
        assert len(verified_chain(accepted.transport)) == 2
        tls = accepted.transport.get_extra_info("ssl_object")
        assert (tls.version(), tls.selected_alpn_protocol()) == (
            "TLSv1.2" if version == 0x303 else "TLSv1.3",
            "http/1.1",
        )
        connected.transport.write(b"hello")
        assert await accepted.end.received(5) == b"hello"

    on_loop(kind, test)


@LOOPS
def test_chain_with_an_intermediate(kind: EventLoop) -> None:
    """Intermediates are part of the chain; the anchor is the bundle's own copy."""
    below = CA.intermediate()

    async def test(wire: Wire) -> None:
        client = contexts(below.svid("spiffe://example.org/edge"), CA)
        accepted, _ = await wire.handshake(SERVER.server(), client.client())
        chain = verified_chain(accepted.transport)
        assert len(chain) == 3
        assert identify(chain, BUNDLES, NOW).uri == "spiffe://example.org/edge"

    on_loop(kind, test)


@LOOPS
def test_anchor_that_is_not_self_signed(kind: EventLoop) -> None:
    """A bundle may hold an intermediate: the chain ends there."""
    anchor = OTHER.intermediate("example.org").as_anchor()

    async def test(wire: Wire) -> None:
        server, client = (contexts(anchor.svid(f"spiffe://example.org/{name}"), anchor) for name in ("orders", "edge"))
        accepted, connected = await wire.handshake(server.server(), client.client())
        known = store_of(anchor.svid("spiffe://example.org/x"), anchor, now=NOW).require().bundles
        for side in (accepted, connected):
            assert identify(verified_chain(side.transport), known, NOW).spiffe_id.trust_domain == "example.org"

    on_loop(kind, test)


@LOOPS
def test_legal_certificates_without_identifiers(kind: EventLoop) -> None:
    """What X509-SVID leaves open, TLS does not demand: key identifiers, subject, extended key usage."""
    bare = Authority.make("example.org", identifiers=False)
    svid = bare.svid("spiffe://example.org/edge", identifiers=False, subject="", san_critical=True, extended=None)

    async def test(wire: Wire) -> None:
        both = contexts(svid, bare)
        accepted, connected = await wire.handshake(both.server(), both.client())
        assert verified_chain(accepted.transport) == verified_chain(connected.transport)

    on_loop(kind, test)


@LOOPS
def test_foreign_authority_signs_our_domain(kind: EventLoop) -> None:
    """Both domains are known, other.org signs an ID of example.org: TLS verifies it, identify refuses, on both sides."""
    forged = OTHER.svid("spiffe://example.org/edge")

    async def test(wire: Wire) -> None:
        ours = contexts(ORDERS, CA, OTHER)
        accepted, _ = await wire.handshake(ours.server(), stranger(forged, CA))
        with pytest.raises(UntrustedChain):
            identify(verified_chain(accepted.transport), BUNDLES, NOW)
        _, connected = await wire.handshake(stranger(forged, CA, server=True), ours.client())
        with pytest.raises(UntrustedChain) as caught:
            identify(verified_chain(connected.transport), BUNDLES, NOW)
        assert isinstance(dial_failure(caught.value), UpstreamUntrusted)

    on_loop(kind, test)


@LOOPS
def test_foreign_leaf_with_our_root_behind_it(kind: EventLoop) -> None:
    """The exact bytes of our root behind a leaf that it did not sign: TLS refuses, on both sides."""
    real = FOREIGN.svid("spiffe://example.org/edge")
    forged = Svid(certificate=real.certificate, intermediates=(CA.certificate,), key=real.key)

    async def test(wire: Wire) -> None:
        accepted, _ = await wire.handshake(SERVER.server(), stranger(forged, CA))
        assert isinstance(refusal(failed(accepted)), UntrustedChain)
        _, connected = await wire.handshake(stranger(forged, CA, server=True), CLIENT.client())
        assert isinstance(dial_failure(failed(connected)), UpstreamUntrusted)

    on_loop(kind, test)


def failed(side: Side) -> BaseException:
    """What this side raised."""
    assert side.error is not None
    return side.error


BAD_CLIENTS: dict[str, tuple[Svid | None, type[ConnectionRefusal]]] = {
    "no certificate": (None, CertificateMissing),
    "foreign authority": (FOREIGN.svid("spiffe://example.org/edge"), UntrustedChain),
    "its intermediate is missing": (
        Svid(
            certificate=(lost := CA.intermediate().svid("spiffe://example.org/edge")).certificate,
            intermediates=(),
            key=lost.key,
        ),
        UntrustedChain,
    ),
    "an intermediate that may not sign": (
        CA.intermediate(is_ca=False).svid("spiffe://example.org/edge"),
        UntrustedChain,
    ),
    "expired": (CA.svid("spiffe://example.org/edge", lifetime_s=-1800.0), CertificateExpired),
    "not valid yet": (CA.svid("spiffe://example.org/edge", now=NOW + 3600), CertificateExpired),
    "serverAuth alone": (
        CA.svid("spiffe://example.org/edge", extended=[ExtendedKeyUsageOID.SERVER_AUTH]),
        NotAnSvid,
    ),
}


@LOOPS
@VERSIONS
@pytest.mark.parametrize("fault", BAD_CLIENTS)
def test_refusals_of_clients(kind: EventLoop, version: ssl.TLSVersion, fault: str) -> None:
    """As server: the reason is told for each; no transport comes out of it."""
    svid, reason = BAD_CLIENTS[fault]

    async def test(wire: Wire) -> None:
        accepted, connected = await wire.handshake(SERVER.server(), stranger(svid, CA, version=version))
        assert type(refusal(failed(accepted))) is reason
        if version is ssl.TLSVersion.TLSv1_3:  # the client is through before the server has looked
            await connected.end.ended()
            assert connected.end.data == b""
        else:
            assert type(dial_failure(failed(connected))) is UpstreamDown

    on_loop(kind, test)


def serve(sock: socket.socket, context: ssl.SSLContext) -> None:
    """Be another implementation's server: one that sends an alert when it refuses."""
    sock.setblocking(True)
    with contextlib.suppress(OSError), context.wrap_socket(sock, server_side=True) as tls:
        tls.recv(1)


def call(sock: socket.socket, context: ssl.SSLContext) -> None:
    """Be another implementation's client."""
    sock.setblocking(True)
    with contextlib.suppress(OSError), context.wrap_socket(sock) as tls:
        tls.recv(1)


@LOOPS
@VERSIONS
@pytest.mark.parametrize("fault", [fault for fault in BAD_CLIENTS if fault != "not valid yet"])
def test_alerts_about_our_certificate(kind: EventLoop, version: ssl.TLSVersion, fault: str) -> None:
    """As client: an upstream that refuses our certificate by an alert has refused us, during the handshake or after it."""
    svid, _ = BAD_CLIENTS[fault]

    async def test(wire: Wire) -> None:
        ours, theirs = wire.sockets()
        upstream = asyncio.get_running_loop().run_in_executor(
            None, serve, theirs, stranger(ORDERS, CA, version=version, server=True)
        )
        connected = await wire.connect(ours, stranger(svid, CA, version=version))
        error = connected.error or await connected.end.ended()
        assert error is not None
        assert type(dial_failure(error)) is UpstreamRefusedUs
        await upstream

    on_loop(kind, test)


PLAINTEXT = [
    b"GET / HTTP/1.1\r\nHost: orders\r\n\r\n",
    b"POST /orders HTTP/1.1\r\nHost: orders\r\n\r\n",
    b"DELETE /orders HTTP/1.1\r\nHost: orders\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: orders\r\n\r\n",
    b"CONNECT orders:443 HTTP/1.1\r\nHost: orders\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"SSH-2.0-OpenSSH_9.6\r\n",
    b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n",
]


@LOOPS
@pytest.mark.parametrize("words", PLAINTEXT)
def test_plaintext(kind: EventLoop, words: bytes) -> None:
    """Whatever is not TLS is told as plaintext, and no byte of it is read as data."""

    async def test(wire: Wire) -> None:
        ours, theirs = wire.sockets()
        theirs.send(words)
        assert type(refusal(failed(await wire.accept(ours, SERVER.server())))) is Plaintext

    on_loop(kind, test)


def end_in_the_middle(sock: socket.socket) -> None:
    """Send the beginning of a record, and end."""
    sock.send(b"\x16\x03\x01\x02\x00\x01\x00\x01")
    sock.close()


BROKEN: dict[str, Callable[[socket.socket], object]] = {
    "closed at once": lambda sock: sock.close(),
    "closed in the middle": end_in_the_middle,
    "half-closed": lambda sock: sock.shutdown(socket.SHUT_WR),
    "garbage in a record": lambda sock: sock.send(b"\x16\x03\x01\x00\x05hello" * 3),
    "an alert": lambda sock: sock.send(b"\x15\x03\x01\x00\x02\x02\x28"),
    "data before the handshake": lambda sock: sock.send(b"\x17\x03\x03\x00\x05hello"),
}


@LOOPS
@pytest.mark.parametrize("fault", BROKEN)
def test_broken_handshakes(kind: EventLoop, fault: str) -> None:
    """Anything else that ends a handshake is a failed handshake; as client it is an upstream that is down."""

    async def test(wire: Wire) -> None:
        ours, theirs = wire.sockets()
        BROKEN[fault](theirs)
        assert type(refusal(failed(await wire.accept(ours, SERVER.server())))) is HandshakeFailed
        ours, theirs = wire.sockets()
        BROKEN[fault](theirs)
        down = dial_failure(failed(await wire.connect(ours, CLIENT.client(), timeout_s=0.3)))
        # aiofastnet may not see a reset that comes together with data; then the deadline does (see net/loop.py).
        may_be_late = kind is EventLoop.FAST and fault == "closed in the middle"
        if may_be_late and type(down) is UpstreamTimeout:
            return
        assert type(down) is (UpstreamRefusedUs if fault == "an alert" else UpstreamDown)

    on_loop(kind, test)


@LOOPS
def test_silence(kind: EventLoop) -> None:
    """A peer that says nothing runs into the deadline, on both sides."""

    async def test(wire: Wire) -> None:
        (one, _), (two, _) = wire.sockets(), wire.sockets()
        accepted, connected = await asyncio.gather(
            wire.accept(one, SERVER.server(), timeout_s=0.05), wire.connect(two, CLIENT.client(), timeout_s=0.05)
        )
        assert type(refusal(failed(accepted))) is HandshakeTimeout
        assert type(dial_failure(failed(connected))) is UpstreamTimeout

    on_loop(kind, test)


@LOOPS
def test_old_versions(kind: EventLoop) -> None:
    """TLS 1.2 is refused unless it is allowed, on both sides."""

    async def test(wire: Wire) -> None:
        strict = contexts(ORDERS, CA, min_version="1.3")
        old = stranger(EDGE, CA, version=ssl.TLSVersion.TLSv1_2)
        accepted, _ = await wire.handshake(strict.server(), old)
        assert type(refusal(failed(accepted))) is HandshakeFailed
        _, connected = await wire.handshake(
            stranger(EDGE, CA, version=ssl.TLSVersion.TLSv1_2, server=True), strict.client()
        )
        assert type(dial_failure(failed(connected))) is UpstreamDown

    on_loop(kind, test)


@LOOPS
def test_peer_that_does_not_accept_us(kind: EventLoop) -> None:
    """A client that does not trust our certificate says so by an alert: our handshake failed, and the detail says why."""

    async def test(wire: Wire) -> None:
        ours, theirs = wire.sockets()
        peer = asyncio.get_running_loop().run_in_executor(None, call, theirs, stranger(EDGE, OTHER))
        refused = refusal(failed(await wire.accept(ours, SERVER.server())))
        assert type(refused) is HandshakeFailed
        assert "does not accept our certificate" in refused.detail
        await peer

    on_loop(kind, test)


@LOOPS
@pytest.mark.parametrize(
    "svid",
    [
        FOREIGN.svid("spiffe://example.org/orders"),
        CA.svid("spiffe://example.org/orders", lifetime_s=-1800.0),
        CA.svid("spiffe://example.org/orders", extended=[ExtendedKeyUsageOID.CLIENT_AUTH]),
    ],
)
def test_untrusted_servers(kind: EventLoop, svid: Svid) -> None:
    """As client: an upstream that cannot prove itself is untrusted, and hears nothing from us."""

    async def test(wire: Wire) -> None:
        _, connected = await wire.handshake(stranger(svid, server=True), CLIENT.client())
        assert type(dial_failure(failed(connected))) is UpstreamUntrusted

    on_loop(kind, test)


@LOOPS
def test_plaintext_upstream(kind: EventLoop) -> None:
    """An upstream that answers in plaintext cannot prove itself either."""

    async def test(wire: Wire) -> None:
        ours, theirs = wire.sockets()
        theirs.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        assert type(dial_failure(failed(await wire.connect(ours, CLIENT.client())))) is UpstreamUntrusted

    on_loop(kind, test)


@LOOPS
def test_chain_of_a_server_without_mutual_tls(kind: EventLoop) -> None:
    """A connection on which the peer showed nothing has no chain."""

    async def test(wire: Wire) -> None:
        lax = stranger(ORDERS, server=True)
        accepted, _ = await wire.handshake(lax, stranger(None, CA))
        with pytest.raises(CertificateMissing):
            verified_chain(accepted.transport)

    on_loop(kind, test)


async def test_chain_of_plaintext() -> None:
    """A connection without TLS has no chain."""
    ours, theirs = socket.socketpair()
    with theirs:
        transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=ours)
        with pytest.raises(CertificateMissing):
            verified_chain(transport)
        transport.abort()


def test_what_is_named_already_keeps_its_name() -> None:
    """A refusal passes through; a refusal of an upstream's chain makes the upstream untrusted, with its detail."""
    refused = PeerNotAllowed("not the ledger")
    assert refusal(refused) is refused
    failure = UpstreamReset()
    assert dial_failure(failure) is failure
    untrusted = dial_failure(refused)
    assert (type(untrusted), untrusted.detail) == (UpstreamUntrusted, "not the ledger")


@pytest.mark.parametrize(
    ("error", "reason", "failure"),
    [
        (TimeoutError(), HandshakeTimeout, UpstreamTimeout),
        (ConnectionAbortedError("SSL handshake is taking longer"), HandshakeTimeout, UpstreamTimeout),
        (ConnectionAbortedError(103, "Software caused connection abort"), HandshakeFailed, UpstreamDown),
        (ConnectionRefusedError(111, "Connection refused"), HandshakeFailed, UpstreamDown),
        (ConnectionResetError(), HandshakeFailed, UpstreamDown),
        (OSError(113, "No route to host"), HandshakeFailed, UpstreamDown),
        (ssl.SSLError(), HandshakeFailed, UpstreamDown),
        (ValueError(), HandshakeFailed, UpstreamDown),
    ],
)
def test_names(error: BaseException, reason: type[ConnectionRefusal], failure: type[UpstreamFailure]) -> None:
    """What has no handshake of its own here."""
    assert type(refusal(error)) is reason
    assert type(dial_failure(error)) is failure


@pytest.mark.parametrize("prefix", ["SSLV3_ALERT_", "TLSV1_ALERT_", "TLSV13_ALERT_", "SSL/TLS_ALERT_"])
def test_alerts_of_every_openssl(prefix: str) -> None:
    """OpenSSL names alerts by the version that introduced them, from 3.2 on otherwise."""
    error = ssl.SSLError()
    error.reason = prefix + "CERTIFICATE_EXPIRED"
    assert type(dial_failure(error)) is UpstreamRefusedUs
    error.reason = prefix + "INTERNAL_ERROR"
    assert type(dial_failure(error)) is UpstreamDown
