"""What is taken back before its time: who may come in no more, and which tokens are believed no more.

Whatever told of it (a file, the operator, a feed), all of it stands in one set, by what it is looked up with, so that a
look-up costs the same for ten entries and for ten thousand. The set is asked when a peer comes in, when a token is
verified, and of all that is open when it has changed; never once for each request.

Comparisons are exact. What could be written in two ways (a SPIFFE ID, a serial number, a digest) has one form here,
which ``revocation_text`` makes of what people write.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from math import inf
from typing import Protocol

from proxy.errors import PeerRevoked, RevocationStale, RevocationUnknown, TokenRevoked
from proxy.identity.peer import Peer


class Kind(StrEnum):
    """What an entry names."""

    SPIFFE_ID = "spiffe_id"
    SERIAL = "serial"
    TXN = "txn"
    SUB = "sub"
    ACT = "act"
    TOKEN = "token_sha256"  # noqa: S105 - the name of a key
    ISSUED_BEFORE = "issued_before"


class Ending(StrEnum):
    """How what is open ends: with its answer, if that comes within the grace; or now."""

    DRAIN = "drain"
    CUT = "cut"


PEERS = frozenset({Kind.SPIFFE_ID, Kind.SERIAL})
"""The kinds that speak of peers; all others speak of tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing that is taken back. Times are Unix time.

    ``value`` is compared exactly; for a serial it is ``0x`` and lower-case digits without leading zeros. ``issuer``:
    for a serial the trust domain, or the SHA-256 of the public key, of whoever issued the certificate; for tokens
    ``iss``, and empty for any. ``before``: only tokens whose ``iat`` is earlier. ``expires``: when the entry itself is
    forgotten; ``told``: when its source said so.
    """

    kind: Kind
    value: str = ""
    issuer: str = ""
    before: float | None = None
    expires: float = inf
    ending: Ending | None = None
    because: str = ""
    told: float = 0.0
    _id: str = field(default="", init=False, repr=False, compare=False)

    @property
    def id(self) -> str:
        """Names what is taken back; two entries with one id differ in time or manner alone.

        All tokens of a subject and those issued before a moment are two things: who lifts the one leaves the other.
        """
        if not self._id:  # made once: a list of ten thousand is compared with the one before it
            extent = "all" if self.before is None else "before"
            made = sha256(f"{self.kind}\n{extent}\n{self.issuer}\n{self.value}".encode()).hexdigest()[:32]
            object.__setattr__(self, "_id", made)
        return self._id

    def joined(self, other: "Entry") -> "Entry":
        """Return the stronger of two that have one id, for the longer of their times: nothing is weakened by adding."""
        if self is other:
            return self
        strong, weak = (self, other) if _reach(self) >= _reach(other) else (other, self)
        expires = max(self.expires, other.expires)
        ending = Ending.CUT if Ending.CUT in {self.ending, other.ending} else strong.ending or weak.ending
        because = strong.because or weak.because
        return Entry(
            kind=strong.kind,
            value=strong.value,
            issuer=strong.issuer,
            before=strong.before,
            expires=expires,
            ending=ending,
            because=because,
            told=max(self.told, other.told),
        )


def _reach(entry: Entry) -> float:
    return inf if entry.before is None else entry.before


class Claims(Protocol):
    """What of a token is compared."""

    @property
    def txn(self) -> str: ...  # noqa: D102
    @property
    def sub(self) -> str: ...  # noqa: D102
    @property
    def iss(self) -> str | None: ...  # noqa: D102
    @property
    def iat(self) -> float: ...  # noqa: D102
    @property
    def actors(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def digest(self) -> str: ...  # noqa: D102


class Revoked:
    """The set. ``blind``: what was taken back is not known well enough, so nobody new and no token passes."""

    __slots__ = ("_by", "_count", "blind")

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._by: dict[Kind, dict[str, tuple[Entry, ...]]] = {kind: {} for kind in Kind}
        self._count = dict.fromkeys(Kind, 0)
        self.blind = False
        for entry in entries:
            self.add(entry)

    def __len__(self) -> int:
        return sum(self._count.values())

    def __iter__(self) -> Iterator[Entry]:
        for by_value in self._by.values():
            for entries in by_value.values():
                yield from entries

    def count(self, kind: Kind) -> int:
        """Entries of a kind."""
        return self._count[kind]

    @property
    def has_tokens(self) -> bool:
        """Whether a token could be refused."""
        return self.blind or any(self._count[kind] for kind in Kind if kind not in PEERS)

    def add(self, entry: Entry) -> None:
        """Take one in; the same one twice counts twice, for two sources may name it."""
        by_value = self._by[entry.kind]
        by_value[entry.value] = (*by_value.get(entry.value, ()), entry)
        self._count[entry.kind] += 1

    def discard(self, entry: Entry) -> None:
        """Take out one that was added."""
        by_value = self._by[entry.kind]
        entries = list(by_value.get(entry.value, ()))
        if entry not in entries:
            return
        entries.remove(entry)
        self._count[entry.kind] -= 1
        if entries:
            by_value[entry.value] = tuple(entries)
        else:
            del by_value[entry.value]

    # ---- peers

    def admit(self, peer: Peer) -> None:
        """Hold a peer that comes in to the set.

        Raises:
            PeerRevoked: it is named.
            RevocationUnknown: nobody can say.

        """
        if self.blind:
            raise RevocationUnknown("what was revoked is not known: its source has been silent for too long")
        self.recheck(peer)

    def recheck(self, peer: Peer) -> None:
        """Hold a peer whose connection is open to the set, however old that is. Raises PeerRevoked."""
        entry = self.of_peer(peer)
        if entry is not None:
            raise PeerRevoked(f"{entry.kind} is revoked")

    def of_peer(self, peer: Peer) -> Entry | None:
        """Return the entry that names a peer, or a certificate below its anchor."""
        named = self._by[Kind.SPIFFE_ID].get(peer.uri)
        if named is not None:
            return strictest(named)
        if self._count[Kind.SERIAL]:
            for issuer, serial in peer.issued:
                for entry in self._by[Kind.SERIAL].get(hex(serial), ()):
                    if entry.issuer in {peer.spiffe_id.trust_domain, issuer.hex()}:
                        return entry
        return None

    # ---- tokens

    def check(self, token: Claims) -> None:
        """Hold a verified token to the set.

        Raises:
            TokenRevoked: it is named.
            RevocationStale: nobody can say.

        """
        if self.blind:
            raise RevocationStale("what was revoked is not known: its source has been silent for too long")
        entry = self.of_token(token)
        if entry is not None:
            raise TokenRevoked(f"the token is revoked by its {_TOLD[entry.kind]}")

    def passes(self, token: Claims) -> bool:
        """Whether ``check`` would let it pass."""
        return not self.blind and self.of_token(token) is None

    def of_token(self, token: Claims) -> Entry | None:
        """Return the entry that names a token."""
        by = self._by
        for kind, value in ((Kind.TOKEN, token.digest), (Kind.TXN, token.txn), (Kind.SUB, token.sub)):
            for entry in by[kind].get(value, ()):
                if _meets(entry, token):
                    return entry
        if by[Kind.ACT]:
            for actor in token.actors:
                for entry in by[Kind.ACT].get(actor, ()):
                    if _meets(entry, token):
                        return entry
        for entry in by[Kind.ISSUED_BEFORE].get("", ()):
            if _meets(entry, token):
                return entry
        return None


_TOLD = {
    Kind.TOKEN: "digest",
    Kind.TXN: "transaction",
    Kind.SUB: "subject",
    Kind.ACT: "actor",
    Kind.ISSUED_BEFORE: "time of issue",
}


def strictest(entries: Sequence[Entry]) -> Entry:
    """Return the one that ends things at once, if one does."""
    return next((entry for entry in entries if entry.ending is Ending.CUT), entries[0])


def _meets(entry: Entry, token: Claims) -> bool:
    if entry.issuer and entry.issuer != token.iss:
        return False
    return entry.before is None or token.iat < entry.before
