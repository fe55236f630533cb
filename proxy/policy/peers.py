"""Which SPIFFE IDs a rule speaks of: three patterns, and no others.

========================== ===============================================================================
``spiffe://td/path``       exactly this ID
``spiffe://td/path/*``     every ID strictly below that path: whole segments, never ``/path`` nor ``/pathology``
``spiffe://td/*``          every workload of the trust domain
========================== ===============================================================================

So a peer is looked up, not searched: it can match its own ID and one pattern for each segment of its path, and
nothing else in a policy of any size.
"""

from collections.abc import Iterator

from proxy.identity.spiffe_id import InvalidSpiffeId, SpiffeId

_ALLOWED = "write spiffe://td/path, spiffe://td/path/* (all below it) or spiffe://td/* (the whole trust domain)"


class InvalidPattern(ValueError):
    """Not a pattern of peers; the message says what would be right."""


def parse_pattern(raw: str) -> str:
    """Return a pattern of peers as it was written. Raises InvalidPattern."""
    base = raw.removesuffix("/*")
    if "*" in base:
        raise InvalidPattern(f"* stands only for the whole end of a path: {_ALLOWED}")
    try:
        spiffe_id = SpiffeId.parse(base)
    except InvalidSpiffeId as error:
        raise InvalidPattern(f"{error}: {_ALLOWED}") from error
    if base == raw and not spiffe_id.path:
        raise InvalidPattern(f"this names a trust domain, not a workload: {_ALLOWED}")
    return raw


def patterns_of(spiffe_id: SpiffeId) -> Iterator[str]:
    """Yield every pattern that this workload matches. A trust domain itself is no workload and matches none."""
    if not spiffe_id.path:
        return
    base = str(spiffe_id)
    yield base
    for _ in range(spiffe_id.path.count("/")):
        base = base[: base.rindex("/")]
        yield f"{base}/*"
