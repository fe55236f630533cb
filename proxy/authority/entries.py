"""Registration entries: which process is which workload, by what the kernel says of it. Pure.

Selectors are written as SPIRE writes them, and all of an entry must hold. Each names a user, whatever else: everybody
may run a program, and load his own code into it, so a path alone proves nothing.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Protocol, TypeVar

T = TypeVar("T")

MAX_ID = 2**32 - 2
"""The largest user or group; the next one means "none" to the kernel."""

_SELECTOR = re.compile(r"unix:(uid|gid|path):(.+)", re.DOTALL)
_NUMBER = re.compile(r"0|[1-9][0-9]{0,9}")


class InvalidSelector(ValueError):
    """Not a selector that is known; the message says what one looks like."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selectors:
    """What must hold of a caller, all of it."""

    uid: int
    gid: int | None = None
    path: str | None = None


class Facts(Protocol):
    """What the kernel says of a caller. ``runs``: whether the file that it executes is the one at this path."""

    @property
    def uid(self) -> int:
        """The user who made the connection."""
        ...

    @property
    def gid(self) -> int:
        """His group."""
        ...

    @property
    def runs(self) -> Callable[[str], bool]:
        """Whether the file that it executes is the one at this path."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One workload that is attested; ``name`` is the path of its SPIFFE ID without the first slash, and its hint.

    ``federates_with``: the foreign trust domains whose bundles it gets; None: of all that there are.
    """

    name: str
    selectors: Selectors = field()
    federates_with: frozenset[str] | None = None


def read_selectors(raws: Sequence[str]) -> Selectors:
    """Read ``unix:uid:1000``, ``unix:gid:1000`` and ``unix:path:/usr/bin/orders``. Raises InvalidSelector."""
    found: dict[str, str] = {}
    for raw in raws:
        match = _SELECTOR.fullmatch(raw)
        if match is None:
            raise InvalidSelector("a selector is unix:uid:NUMBER, unix:gid:NUMBER or unix:path:/PATH")
        if match[1] in found:
            raise InvalidSelector(f"there are two selectors unix:{match[1]}, and both would have to hold")
        found[match[1]] = match[2]
    if "uid" not in found:
        raise InvalidSelector("there must be a unix:uid: everybody may run a program, so its path alone proves nothing")
    path = found.get("path")
    if path is not None and not _is_shortest(path):
        raise InvalidSelector("unix:path must be an absolute path in its shortest form")
    gid = _id(found["gid"], "gid") if "gid" in found else None
    return Selectors(uid=_id(found["uid"], "uid"), gid=gid, path=path)


def matching(entries: Iterable[Entry], caller: Facts) -> list[Entry]:
    """Give the entries that this caller is, in their order."""
    return [entry for entry in entries if _holds(entry.selectors, caller)]


def federated(entries: Iterable[Entry], bundles: Mapping[str, T]) -> dict[str, T]:
    """Give those of ``bundles``, by trust domain, that at least one of these entries gets."""
    wanted = [entry.federates_with for entry in entries]
    return {name: one for name, one in bundles.items() if any(names is None or name in names for names in wanted)}


def _holds(selectors: Selectors, caller: Facts) -> bool:
    if caller.uid != selectors.uid or selectors.gid not in {None, caller.gid}:
        return False
    return selectors.path is None or caller.runs(selectors.path)


def _is_shortest(path: str) -> bool:
    is_normal = str(PurePosixPath(path)) == path and ".." not in path.split("/")
    return path.startswith("/") and is_normal and "\0" not in path


def _id(raw: str, name: str) -> int:
    if not _NUMBER.fullmatch(raw) or int(raw) > MAX_ID:
        raise InvalidSelector(f"unix:{name} must be a number from 0 to {MAX_ID}")
    return int(raw)
