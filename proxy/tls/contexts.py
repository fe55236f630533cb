"""TLS contexts of the newest identity, built aside and swapped whole.

A connection keeps the context that it began with; the next one takes the newest. A generation is gone when its last
connection ends, and with it the key that OpenSSL held.

To read an authority takes OpenSSL 3.0 0.15 ms, and a rotation reads all of them twice. So they are given to it as a
file in memory: then it lets go of the interpreter while it reads, and the store has a rotation built in a thread.

One store holds the authorities of all trust domains, for TLS knows no other way: that somebody known signed is all that
it proves. Which domain's authority it was, and every rule of X509-SVID, is the law of ``identity.peer.identify``, which
must follow every handshake.
"""

import contextlib
import os
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from proxy.errors import IdentityInvalid, NotReady
from proxy.identity.bundle import Bundle
from proxy.identity.store import Identity, IdentityStore
from proxy.tls.anchors import tls_anchors
from proxy.tls.settings import TlsSettings

ALPN = ["http/1.1"]

TLS12_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:!aPSK"
"""Forward secrecy and AEAD only (RFC 9325 4.2). TLS 1.3 has nothing else."""

_OPTIONS = (
    ssl.OP_NO_TICKET  # resumption skips verification, and bundles change (law 2)
    | ssl.OP_NO_RENEGOTIATION
    | ssl.OP_NO_COMPRESSION
    | ssl.OP_CIPHER_SERVER_PREFERENCE
)

# PARTIAL_CHAIN: an anchor need not be self-signed (X509-SVID 6.1). STRICT stays out: it demands key identifiers, which
# X509-SVID does not.
_VERIFY = ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN | ssl.VerifyFlags.VERIFY_X509_TRUSTED_FIRST


_SERVER, _CLIENT = ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT


class MeshContext(ssl.SSLContext):
    """A context that verifies, but whose ``verify_mode`` reads CERT_NONE.

    After each handshake aiofastnet decodes the peer's certificate for ``get_extra_info("peercert")``, which nobody here
    asks for, by writing it to a temporary file: 0.4 ms, and on a read-only root file system the end of the connection.
    It leaves that out where ``verify_mode`` reads CERT_NONE. What OpenSSL does was set once, and is not read from here;
    ``is_verifying`` tells it truly.
    """

    @property  # type: ignore[override]  # typeshed's own base says int
    def verify_mode(self) -> ssl.VerifyMode:
        """CERT_NONE, whatever OpenSSL holds."""
        return ssl.CERT_NONE

    @verify_mode.setter
    def verify_mode(self, value: ssl.VerifyMode) -> None:
        _VERIFY_MODE.__set__(self, value)


_VERIFY_MODE: Any = vars(ssl.SSLContext)["verify_mode"]


def is_verifying(context: ssl.SSLContext) -> bool:
    """Say whether OpenSSL demands a certificate of the peer and verifies it."""
    return bool(_VERIFY_MODE.__get__(context) == ssl.CERT_REQUIRED)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Generation:
    identity: Identity
    server: ssl.SSLContext
    client: ssl.SSLContext


class TlsContexts:
    """The contexts of the newest identity of a store. An identity that OpenSSL refuses is not taken."""

    __slots__ = ("_alive", "_current", "_settings")

    def __init__(self, store: IdentityStore, settings: TlsSettings) -> None:
        self._settings = settings
        self._current: _Generation | None = None
        self._alive: WeakKeyDictionary[ssl.SSLContext, int] = WeakKeyDictionary()
        store.prepare(self._prepare)
        store.on_withdrawal(self._drop)
        if store.current is not None:
            self._prepare(store.current)()

    def server(self) -> ssl.SSLContext:
        """Return the context to accept the next connection with. Raises NotReady."""
        generation = self._require()
        if self._settings.min_version == "1.2":
            # OpenSSL keeps TLS 1.2 sessions by id in the context, and Python has no call to turn that off: OP_NO_TICKET
            # is about tickets alone. A context of its own for each connection has nothing to resume, at about 1.5 ms.
            return self._alive_as(generation.identity, _build(generation.identity, _SERVER, self._settings))
        return generation.server

    def client(self) -> ssl.SSLContext:
        """Return the context to make the next connection with. Raises NotReady."""
        return self._require().client

    def generations(self) -> int:
        """Return how many identities are held still, by us or by a connection."""
        return len(set(self._alive.values()))

    def _require(self) -> _Generation:
        if self._current is None:
            raise NotReady("there is no SVID")
        return self._current

    def _drop(self) -> None:
        self._current = None

    def _prepare(self, identity: Identity) -> Callable[[], None]:
        """Build both contexts, perhaps in a thread; what is given takes them into use, in the loop's."""
        server, client = (_build(identity, side, self._settings) for side in (_SERVER, _CLIENT))
        return partial(self._swap, _Generation(identity=identity, server=server, client=client))

    def _swap(self, generation: _Generation) -> None:
        self._current = generation
        for context in (generation.server, generation.client):
            self._alive_as(generation.identity, context)

    def _alive_as(self, identity: Identity, context: ssl.SSLContext) -> ssl.SSLContext:
        self._alive[context] = identity.generation
        return context


def web_client_context() -> ssl.SSLContext:
    """Return a context for servers outside the mesh: the system's authorities, and the host name is checked."""
    context = _plain_context(ssl.PROTOCOL_TLS_CLIENT)
    context.load_default_certs()
    return context


def endpoint_client_context(bundle: Bundle) -> ssl.SSLContext:
    """Return a context to reach a workload of ``bundle`` without an SVID of ours: a bundle endpoint (Federation 5.2).

    The law of ``identify()`` holds here too. Raises IdentityInvalid.
    """
    context = _plain_context(ssl.PROTOCOL_TLS_CLIENT)
    _verify_by_spiffe(context)
    try:
        if bundle.authorities:
            context.load_verify_locations(cadata=b"".join(bundle.by_der))
    except ssl.SSLError as error:
        raise IdentityInvalid(f"OpenSSL refuses the bundle: {error.reason}") from error
    return context


def endpoint_server_context(chain_pem: bytes, key_pem: bytes) -> ssl.SSLContext:
    """Return a context that shows a certificate and asks for none: everybody may read a bundle. Raises IdentityInvalid.

    An SVID of ours (https_spiffe), or a certificate of the Web PKI (https_web).
    """
    context = _plain_context(ssl.PROTOCOL_TLS_SERVER)
    try:
        _load_key(context, chain_pem + key_pem)
    except ssl.SSLError as error:
        raise IdentityInvalid(f"OpenSSL refuses the certificate or its key: {error.reason}") from error
    return context


def _build(identity: Identity, side: int, settings: TlsSettings) -> ssl.SSLContext:
    try:
        return _mesh_context(identity, side, settings)
    except ssl.SSLError as error:
        raise IdentityInvalid(f"OpenSSL refuses the SVID, its key or a bundle: {error.reason}") from error


def _mesh_context(identity: Identity, side: int, settings: TlsSettings) -> ssl.SSLContext:
    context = _plain_context(side)
    _verify_by_spiffe(context)
    context.minimum_version = ssl.TLSVersion.TLSv1_2 if settings.min_version == "1.2" else ssl.TLSVersion.TLSv1_3
    _load_anchors(context, tls_anchors(identity))
    _load_key(context, identity.svid.chain_pem + identity.svid.key_pem)
    return context


def _plain_context(side: int) -> ssl.SSLContext:
    context = MeshContext(side)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= _OPTIONS
    context.set_ciphers(TLS12_CIPHERS)
    context.set_alpn_protocols(ALPN)
    if side == ssl.PROTOCOL_TLS_SERVER:
        context.num_tickets = 0
    return context


def _verify_by_spiffe(context: ssl.SSLContext) -> None:
    context.check_hostname = False  # SPIFFE names workloads, not hosts: identify() compares the SPIFFE ID
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags = _VERIFY


def _load_anchors(context: ssl.SSLContext, anchors: list[bytes]) -> None:
    with _in_memory("".join(map(ssl.DER_cert_to_PEM_cert, anchors)).encode()) as path:
        context.load_verify_locations(path)
    if context.cert_store_stats()["x509"] != len(anchors):
        raise IdentityInvalid("OpenSSL has not taken every authority of the bundles")


def _load_key(context: ssl.SSLContext, chain_and_key: bytes) -> None:
    with _in_memory(chain_and_key) as path:
        context.load_cert_chain(path)


@contextlib.contextmanager
def _in_memory(content: bytes) -> Iterator[str]:
    """Python loads a key from a path alone: this one is in memory, and ends with the block (law 9)."""
    memory = os.memfd_create("svid")
    try:
        with os.fdopen(memory, "wb", closefd=False) as file:
            file.write(content)
        yield f"/proc/self/fd/{memory}"
    finally:
        os.close(memory)
