"""What a handshake proved, and why one failed.

The three loops raise different shapes for the same fault (tests/unit/tls/test_handshake.py has them all): here they
become one reason each.
"""

import asyncio
import ssl

from proxy.errors import (
    CertificateExpired,
    CertificateMissing,
    ConnectionRefusal,
    HandshakeFailed,
    HandshakeTimeout,
    NotAnSvid,
    Plaintext,
    UntrustedChain,
    UpstreamDown,
    UpstreamFailure,
    UpstreamRefusedUs,
    UpstreamTimeout,
    UpstreamUntrusted,
)

_PLAINTEXT = frozenset({"HTTP_REQUEST", "HTTPS_PROXY_REQUEST", "WRONG_VERSION_NUMBER"})
"""What OpenSSL says of a first record that is not TLS."""

_NO_CERTIFICATE = "PEER_DID_NOT_RETURN_A_CERTIFICATE"

_DER = 2
"""``_ssl.ENCODING_DER``."""

# X509_V_ERR_* of x509_vfy.h.
_NOT_YET_VALID, _EXPIRED, _INVALID_PURPOSE = 9, 10, 26

_ABOUT_OUR_CERTIFICATE = frozenset(
    {
        "BAD_CERTIFICATE",
        "UNSUPPORTED_CERTIFICATE",
        "CERTIFICATE_REVOKED",
        "CERTIFICATE_EXPIRED",
        "CERTIFICATE_UNKNOWN",
        "CERTIFICATE_REQUIRED",
        "UNKNOWN_CA",
        "ACCESS_DENIED",
        "DECRYPT_ERROR",
        "HANDSHAKE_FAILURE",  # what TLS 1.2 has for a certificate that is missing
    }
)
"""Alerts (RFC 8446 6.2) by which the other side says that it does not accept who we are."""


def verified_chain(transport: asyncio.BaseTransport) -> list[bytes]:
    """Return the chain that TLS has verified, as DER: leaf first, anchor last.

    Raises CertificateMissing when there is none, UntrustedChain when the session was resumed, for nothing was verified.
    """
    tls = transport.get_extra_info("ssl_object")
    if tls is None:
        raise CertificateMissing("the connection is not TLS")
    if tls.session_reused:
        raise UntrustedChain("the TLS session was resumed past verification")
    chain = _chain(tls)
    if not chain:
        raise CertificateMissing("the peer showed no certificate")
    return chain


def _chain(tls: ssl.SSLObject) -> list[bytes]:
    if hasattr(tls, "get_verified_chain"):  # aiofastnet's, and the standard one from Python 3.13 on
        return list(tls.get_verified_chain())
    found = tls._sslobj.get_verified_chain()  # type: ignore[attr-defined]  # noqa: SLF001 - Python 3.11 and 3.12
    return [certificate.public_bytes(_DER) for certificate in found or ()]


def is_cut(transport: asyncio.BaseTransport) -> bool:
    """Say whether the end that was received is that of TCP alone: without close_notify, anybody could have sent it.

    Stock asyncio reports such an end as if it were one of TLS; the other loops end the connection.
    """
    return bool(getattr(getattr(transport, "_ssl_protocol", None), "_eof_received", False))


def refusal(error: BaseException) -> ConnectionRefusal:
    """Name what a handshake as server, or what followed it, raised."""
    if isinstance(error, ConnectionRefusal):
        return error
    if _is_timeout(error):
        return HandshakeTimeout("the TLS handshake took too long")
    if isinstance(error, ssl.SSLCertVerificationError):
        return _verification(error)
    if isinstance(error, ssl.SSLError):
        return _refusal_of_tls(_reason(error))
    return HandshakeFailed("the connection ended during the TLS handshake")


def dial_failure(error: BaseException) -> UpstreamFailure:
    """Name what a connection or a handshake as client, or what followed it, raised."""
    if isinstance(error, UpstreamFailure):
        return error
    if isinstance(error, ConnectionRefusal):
        return UpstreamUntrusted(error.detail)
    if _is_timeout(error):
        return UpstreamTimeout("the upstream did not answer in time")
    if isinstance(error, ssl.SSLCertVerificationError):
        return UpstreamUntrusted(_verification(error).detail)
    if isinstance(error, ssl.SSLError):
        return _failure_of_tls(_reason(error))
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        # No loop of Python sends the alert of a handshake that failed: a sidecar that refuses us merely ends.
        return UpstreamDown("the upstream ended the connection; it may not accept our certificate, and its log has why")
    return UpstreamDown("no connection to the upstream could be made")


def _is_timeout(error: BaseException) -> bool:
    # asyncio, uvloop and aiofastnet all tell of their own deadline by a ConnectionAbortedError without a number.
    return isinstance(error, TimeoutError) or (isinstance(error, ConnectionAbortedError) and error.errno is None)


def _verification(error: ssl.SSLCertVerificationError) -> ConnectionRefusal:
    if error.verify_code in {_NOT_YET_VALID, _EXPIRED}:
        return CertificateExpired("a certificate of the chain is not valid now")
    if error.verify_code == _INVALID_PURPOSE:
        return NotAnSvid("extended key usage must hold serverAuth and clientAuth (X509-SVID 4.4)")
    return UntrustedChain("the chain does not end in an authority of any bundle")


def _refusal_of_tls(reason: str) -> ConnectionRefusal:
    if reason in _PLAINTEXT:
        return Plaintext("the peer does not speak TLS; this port takes nothing else")
    if reason == _NO_CERTIFICATE:
        return CertificateMissing("the peer showed no certificate")
    if _alert(reason) in _ABOUT_OUR_CERTIFICATE:
        return HandshakeFailed("the peer does not accept our certificate")
    return HandshakeFailed("the TLS handshake failed")


def _failure_of_tls(reason: str) -> UpstreamFailure:
    if reason in _PLAINTEXT:
        return UpstreamUntrusted("the upstream does not speak TLS on this port")
    if _alert(reason) in _ABOUT_OUR_CERTIFICATE:
        return UpstreamRefusedUs("the upstream does not accept our certificate")
    return UpstreamDown("the TLS handshake with the upstream failed")


def _reason(error: ssl.SSLError) -> str:
    return getattr(error, "reason", None) or ""  # an SSLError that Python itself makes has no such attribute


def _alert(reason: str) -> str:
    # OpenSSL's prefixes differ by version: SSLV3_ALERT_x, TLSV1_ALERT_x, TLSV13_ALERT_x, SSL/TLS_ALERT_x.
    return reason.rpartition("_ALERT_")[2] if "_ALERT_" in reason else ""
