"""SPIFFE IDs, read strictly (SPIFFE-ID 2.1 to 2.3).

Read by hand, never by a URL parser: those lower-case, decode and drop, and two readings of one identity are an
attack. Lower case only: section 2.1 says that the trust domain MUST be lower case, section 2.4 that it compares
without case; a reader that folds case makes two names for one workload.
"""

import re
from dataclasses import dataclass

MAX_BYTES = 2048
"""SPIFFE-ID 2.3: 2048 bytes MUST be supported, and more SHOULD NOT be made."""

MAX_TRUST_DOMAIN_BYTES = 255
"""SPIFFE-ID 2.3: the limit of a host in RFC 3986."""

_SCHEME = "spiffe://"
_TRUST_DOMAIN = re.compile(r"[a-z0-9._-]+")
_SEGMENT = re.compile(r"[A-Za-z0-9._-]+")


class InvalidSpiffeId(ValueError):
    """Not a SPIFFE ID; the message says which rule it breaks and never repeats the input."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpiffeId:
    """A valid SPIFFE ID. ``path`` begins with ``/``, or is empty for the trust domain itself."""

    trust_domain: str
    path: str

    def __post_init__(self) -> None:
        parse_trust_domain(self.trust_domain)
        _check_path(self.path)
        # The grammar is ASCII, so characters are bytes.
        if len(_SCHEME) + len(self.trust_domain) + len(self.path) > MAX_BYTES:
            raise InvalidSpiffeId(f"longer than {MAX_BYTES} bytes")

    def __str__(self) -> str:
        return f"{_SCHEME}{self.trust_domain}{self.path}"

    @classmethod
    def parse(cls, raw: str) -> "SpiffeId":
        """Read ``spiffe://trust-domain/path``. Raises InvalidSpiffeId."""
        if not raw.startswith(_SCHEME):
            raise InvalidSpiffeId("must begin with spiffe://, in lower case")
        trust_domain, slash, path = raw.removeprefix(_SCHEME).partition("/")
        return cls(trust_domain=trust_domain, path=slash + path)


def parse_trust_domain(raw: str) -> str:
    """Return the bare name of a trust domain (``example.org``) unchanged. Raises InvalidSpiffeId."""
    if not raw:
        raise InvalidSpiffeId("the trust domain is empty")
    if not _TRUST_DOMAIN.fullmatch(raw):
        raise InvalidSpiffeId("a trust domain has only a-z, 0-9, '.', '-' and '_', in lower case, and no port")
    if len(raw) > MAX_TRUST_DOMAIN_BYTES:
        raise InvalidSpiffeId(f"the trust domain is longer than {MAX_TRUST_DOMAIN_BYTES} bytes")
    return raw


def _check_path(path: str) -> None:
    if not path:
        return
    empty, *segments = path.split("/")
    if empty:
        raise InvalidSpiffeId("a path begins with /")
    for segment in segments:
        if not segment:
            raise InvalidSpiffeId("a path has no empty segment and does not end with /")
        if segment in {".", ".."}:
            raise InvalidSpiffeId("a path has no . or .. segment")
        if not _SEGMENT.fullmatch(segment):
            raise InvalidSpiffeId("a path segment has only A-Z, a-z, 0-9, '.', '-' and '_'")
