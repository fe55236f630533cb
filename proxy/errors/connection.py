"""Why a connection was refused, before a byte of it reached the app."""

from proxy.errors.reason import ProxyError


class ConnectionRefusal(ProxyError, group=True):
    """The connection is refused before a byte of it reaches the app."""


class Plaintext(ConnectionRefusal):
    """Bytes that are not TLS came to a TLS port."""


class HandshakeFailed(ConnectionRefusal):
    """The TLS handshake failed."""


class HandshakeTimeout(ConnectionRefusal):
    """The TLS handshake passed its deadline."""


class CertificateMissing(ConnectionRefusal):
    """The peer showed no certificate."""


class CertificateExpired(ConnectionRefusal):
    """The certificate is not valid now."""


class UntrustedChain(ConnectionRefusal):
    """The chain does not end in the bundle of the trust domain that the leaf claims."""


class NotAnSvid(ConnectionRefusal):
    """The certificate breaks a rule of X509-SVID (specs 2.2)."""


class UnknownTrustDomain(ConnectionRefusal):
    """No bundle is known for the trust domain that the leaf claims."""


class CertificateRevoked(ConnectionRefusal):
    """A CRL of its trust domain names a certificate of the chain."""


class RevocationUnknown(ConnectionRefusal):
    """What was revoked is not known: the CRL of its trust domain has passed its next update, or its feed is silent."""


class PeerRevoked(ConnectionRefusal):
    """Its SPIFFE ID, or a certificate of its chain, is named in what we were told is revoked."""


class PeerNotAllowed(ConnectionRefusal):
    """No policy admits this SPIFFE ID."""


class GrantEnded(ConnectionRefusal):
    """The grant of this connection has ended."""
