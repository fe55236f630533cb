"""The key of our SVID as the one that signs the audit: whoever holds our bundle can tell who wrote it.

X509-SVID 4.3 demands digitalSignature of every leaf. What is signed begins with a name of its own (``audit/chain``),
which no TLS handshake can begin with.
"""

from cryptography.hazmat.primitives.serialization import Encoding

from proxy.identity.store import IdentityStore
from proxy.identity.svid import read_key_pem
from proxy.observe.audit.signer import KeySigner, Signer


class SvidSigner:
    """Gives a signer of the newest identity; called from the thread of the audit."""

    __slots__ = ("_generation", "_signer", "_store")

    def __init__(self, store: IdentityStore) -> None:
        self._store = store
        self._generation = 0
        self._signer: KeySigner | None = None

    def __call__(self) -> Signer | None:
        """Give it; None while there is no identity."""
        identity = self._store.current
        if identity is None:
            return None
        if self._signer is None or identity.generation != self._generation:
            svid = identity.svid
            chain = tuple(certificate.public_bytes(Encoding.DER) for certificate in svid.certificates)
            self._signer = KeySigner(read_key_pem(svid.key_pem), chain)
            self._generation = identity.generation
        return self._signer
