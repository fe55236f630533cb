"""What the sidecars of a fleet have told each other, and the law by which they come to agree. Pure.

Each thing that is taken back, and by which kind of source, is one field: the word of it is that it is revoked, or that
it is lifted. Of two words the later holds; of one moment, the one that revokes; of two that revoke, the stronger. Only
a word lifts: a field that is missing says nothing, so what was emptied is filled again by whoever remembers. A word of
either kind ends with the entry that it speaks of, and so all of it ends.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from proxy.policy.revocation import Entry
from proxy.policy.revocation_text import InvalidEntry, read_entry, write_entry
from proxy.tokens.encoding import read_json_object

MAX_AHEAD_S: Final = 3600.0
"""How far another sidecar's clock may be ahead. With more than that no certificate would be believed either."""

STEP_S: Final = 0.001
"""By how much a word is later than the one that it answers, where the clock does not say so."""

MAX_LIFTED_S: Final = 7 * 86_400.0
"""How long that something is lifted is remembered: longer than any entry without an end of its own lasts."""

_FIELD: Final = re.compile(r"(admin|feed)/([0-9a-f]{32})")


@dataclass(frozen=True, slots=True)
class Word:
    """What was said of one field, and when: it is revoked; or, without an entry, lifted."""

    at: float
    expires: float
    entry: Entry | None


Bounded = Callable[[Entry, float], Entry]
"""Gives an entry an end, counted from when it was told."""


def field_of(source: str, key: str) -> str:
    """Name the field of an entry's id."""
    return f"{source}/{key}"


def read_word(field: str, raw: bytes, now: float, bounded: Bounded) -> Word:
    """Read one word. Raises InvalidEntry, which repeats nothing of it."""
    found = _FIELD.fullmatch(field)
    if found is None:
        raise InvalidEntry("stands under a name that is not <source>/<id>")
    try:
        members = read_json_object(raw)
    except ValueError:
        raise InvalidEntry("is not a JSON object, or can be read in two ways") from None
    at = _date(members, "at")
    if at > now + MAX_AHEAD_S:
        raise InvalidEntry("was told in the future: compare the clocks")
    if set(members) == {"at", "lifted_until"}:
        return Word(at, min(_date(members, "lifted_until"), at + MAX_LIFTED_S), None)
    if set(members) != {"at", "revoked"} or type(members["revoked"]) is not dict:
        raise InvalidEntry("has other members than at, and revoked or lifted_until")
    entry = replace(bounded(read_entry(members["revoked"], max(now, at)), at), told=at)
    if entry.id != found[2]:
        raise InvalidEntry("stands under the id of another entry")
    return Word(at, entry.expires, entry)


def write_word(word: Word) -> bytes:
    """Return what ``read_word`` would read it from."""
    members: dict[str, Any] = {"at": word.at}
    if word.entry is None:
        members["lifted_until"] = word.expires
    else:
        members["revoked"] = write_entry(word.entry)
    return json.dumps(members, separators=(",", ":")).encode()


def merged(one: Word, other: Word) -> Word:
    """Return what holds of two words; in whatever order they come."""
    if one.entry is None and other.entry is None:
        return Word(max(one.at, other.at), max(one.expires, other.expires), None)
    if one.entry is not None and other.entry is not None:
        because = max(one.entry.because, other.entry.because)
        entry = replace(one.entry.joined(other.entry), because=because, told=max(one.at, other.at))
        return Word(entry.told, entry.expires, entry)
    revoked, lifted = (one, other) if one.entry is not None else (other, one)
    if revoked.at >= lifted.at:
        return revoked
    return replace(lifted, expires=max(lifted.expires, revoked.expires))


class Replica:
    """What we know of it. ``told`` and ``lifted``: what is said here, and is to be written there."""

    __slots__ = ("_words", "unwritten")

    def __init__(self) -> None:
        self._words: dict[str, Word] = {}
        self.unwritten: set[str] = set()

    def __len__(self) -> int:
        return len(self._words)

    def word(self, field: str) -> Word | None:
        """What holds of a field."""
        return self._words.get(field)

    @property
    def revoked(self) -> Iterator[Entry]:
        """All that is revoked."""
        return (word.entry for word in self._words.values() if word.entry is not None)

    @property
    def fields(self) -> Mapping[str, Word]:
        """All words."""
        return self._words

    def told(self, source: str, entry: Entry) -> None:
        """Take what is revoked here, now: it is later than every word of before."""
        field = field_of(source, entry.id)
        known = self._words.get(field)
        at = entry.told
        if known is not None and known.entry is None:
            at = max(at, known.at + STEP_S)
        self._take(field, Word(at, entry.expires, replace(entry, told=at)))
        self.unwritten.add(field)

    def kept(self, source: str, entry: Entry) -> None:
        """Take what was revoked here some time, perhaps before a restart: a later word may have lifted it."""
        field = field_of(source, entry.id)
        known = self._words.get(field)
        if known is None or known.entry != entry:
            self._take(field, Word(entry.told, entry.expires, entry))

    def lifted(self, source: str, key: str, now: float, until: float) -> bool:
        """Take what is lifted here; whether it was revoked. ``until``: when it would have ended."""
        field = field_of(source, key)
        known = self._words.get(field)
        if known is not None and known.entry is None:
            return False
        at = now if known is None else max(now, known.at + STEP_S)
        self._take(field, Word(at, until, None))
        self.unwritten.add(field)
        return True

    def heard(self, field: str, word: Word) -> bool:
        """Take a word that stands there; whether ours holds instead, and is to be written."""
        known = self._words.get(field)
        if known is word or known == word:
            self._words[field] = word  # so that the next comparison ends with the first half
            return False
        if known is not None and known.entry is not None and word.entry is None and field in self.unwritten:
            # It was revoked here after that was lifted there: nobody has read it yet, whatever the clocks say.
            at = max(known.at, word.at + STEP_S)
            self._words[field] = Word(at, known.expires, replace(known.entry, told=at))
        self._take(field, word)
        return self._words[field] != word

    def count_with(self, words: Mapping[str, Word]) -> int:
        """How much would be revoked with these."""
        count = sum(word.entry is not None for field, word in self._words.items() if field not in words)
        for field, word in words.items():
            known = self._words.get(field)
            joined = word if known is None or known is word or known == word else merged(known, word)
            count += joined.entry is not None
        return count

    def forget(self, now: float) -> None:
        """Drop what has had its time."""
        for field in [field for field, word in self._words.items() if word.expires <= now]:
            del self._words[field]
        self.unwritten.intersection_update(self._words)

    def _take(self, field: str, word: Word) -> None:
        known = self._words.get(field)
        self._words[field] = word if known is None else merged(known, word)


def _date(members: Mapping[str, Any], name: str) -> float:
    value = members.get(name)
    if (type(value) is not int and type(value) is not float) or not 0 < value < 1e11:
        raise InvalidEntry(f"has no {name}, or one that is no date in seconds")
    return float(value)
