"""A JWS in compact serialization (RFC 7515 section 7.1): split, and its signature verified with one of our keys.

Nothing that the token says decides how it is verified: the key set names the algorithm of each key, and the header
may only agree. A header that carries a key or points to one is refused rather than ignored: we would never use it,
but the token goes on to the app byte for byte, and the app's library might. The same for what changes how the rest
is read (``crit``, ``b64``, and the marks of a JWE).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from cryptography.exceptions import InvalidSignature

from proxy.errors import TokenAlgorithmRefused, TokenBadSignature, TokenMalformed
from proxy.tokens.encoding import decode_base64url, read_json_object
from proxy.tokens.keys import KeySet
from proxy.tokens.signature import ALGORITHM_OF

MAX_HEADER_CHARS: Final = 2048
"""It is read before the signature holds, so anyone can make us read it; alg, typ, kid and a thumbprint need 300."""

MAX_SIGNATURE_CHARS: Final = 1366
"""1024 bytes: the signature of the longest RSA key that we take."""

MAX_KNOWN_HEADERS: Final = 64
"""An issuer writes one for each of its keys. Only those of tokens that verified are kept: nobody else can fill it."""

_REFUSED_PARAMETERS: Final = frozenset({"crit", "b64", "jwk", "jku", "x5u", "x5c", "enc", "zip"})


@dataclass(frozen=True, slots=True)
class Header:
    """A JOSE header that was read: its parameters, the algorithm that ``alg`` means, and ``kid``."""

    parameters: Mapping[str, Any]
    algorithm: str
    kid: str | None


_KNOWN: Final[dict[bytes, Header]] = {}


@dataclass(frozen=True, slots=True)
class UnverifiedJws:
    """The parts of a JWS whose signature nobody has looked at; ``verified`` gives the payload."""

    _header: Header
    _raw_header: bytes = field(repr=False)
    _signing_input: bytes = field(repr=False)
    _signature: bytes = field(repr=False)

    @property
    def header(self) -> Mapping[str, Any]:
        """The parameters of the JOSE header."""
        return self._header.parameters

    @property
    def kid(self) -> str | None:
        """Which key is said to have signed it."""
        return self._header.kid

    def verified(self, keys: KeySet) -> bytes:
        """Return the payload, once a key of ours says so.

        Raises:
            TokenUnknownKey, TokenAlgorithmRefused, TokenBadSignature, TokenMalformed: as their docstrings say.

        """
        key = keys.find(self._header.kid)
        if key.algorithm != self._header.algorithm:
            raise TokenAlgorithmRefused("alg is not the one of the key")
        try:
            key.check(self._signature, self._signing_input)
        except InvalidSignature:
            raise TokenBadSignature from None
        if self._raw_header not in _KNOWN:
            if len(_KNOWN) >= MAX_KNOWN_HEADERS:
                _KNOWN.clear()
            _KNOWN[self._raw_header] = self._header
        return _decode(self._signing_input[len(self._raw_header) + 1 :])


def read_jws(raw: bytes) -> UnverifiedJws:
    """Split a compact JWS and read its header; believe nothing of it yet.

    Raises:
        TokenMalformed, TokenAlgorithmRefused: as their docstrings say.

    """
    if raw.count(b".") != 2:
        raise TokenMalformed("a compact JWS has three parts")
    signing_input, _, raw_signature = raw.rpartition(b".")
    raw_header = signing_input[: signing_input.index(b".")]
    header = _KNOWN.get(raw_header)
    if header is None:
        header = _read_header(raw_header)
    if len(raw_signature) > MAX_SIGNATURE_CHARS:
        raise TokenMalformed(f"the signature is longer than {MAX_SIGNATURE_CHARS} characters")
    return UnverifiedJws(header, raw_header, signing_input, _decode(raw_signature))


def _read_header(raw_header: bytes) -> Header:
    if len(raw_header) > MAX_HEADER_CHARS:
        raise TokenMalformed(f"the header is longer than {MAX_HEADER_CHARS} characters")
    try:
        parameters = read_json_object(decode_base64url(raw_header))
    except ValueError as error:
        raise TokenMalformed("the header is not JSON in base64url, or can be read in two ways") from error
    if not _REFUSED_PARAMETERS.isdisjoint(parameters):
        raise TokenMalformed("the header has a parameter that is refused: crit, b64, a key, or the marks of a JWE")
    algorithm, kid = parameters.get("alg"), parameters.get("kid")
    if not isinstance(algorithm, str) or not (isinstance(kid, str) or "kid" not in parameters):
        raise TokenMalformed("alg is missing, or alg or kid is not a string")
    meant = ALGORITHM_OF.get(algorithm)
    if meant is None:
        raise TokenAlgorithmRefused("alg is not a signature that we verify")
    return Header(MappingProxyType(parameters), meant, kid)


def _decode(raw_part: bytes) -> bytes:
    try:
        return decode_base64url(raw_part)
    except ValueError as error:
        raise TokenMalformed("a part is not base64url without padding") from error
