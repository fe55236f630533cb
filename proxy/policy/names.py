"""Names of subjects and hosts by pattern: written out, or a beginning (``users/*``), or an end (``*.example.org``)."""

import re
from dataclasses import dataclass

from proxy.policy.authority import InvalidAuthority, parse_authority

_HOST_END = re.compile(r"\*(\.[^*:]+)(?::([0-9]{1,5}))?")


class InvalidName(ValueError):
    """Not a pattern; the message says what would be right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subjects:
    """The subjects of one rule: ``alice`` exactly, ``users/*`` every one whose name begins so."""

    names: frozenset[str]
    prefixes: tuple[str, ...]

    def have(self, subject: str) -> bool:
        """Whether the rule speaks of this subject; compared with its case."""
        return subject in self.names or subject.startswith(self.prefixes)


def parse_subjects(patterns: tuple[str, ...]) -> Subjects:
    """Read the patterns. Raises InvalidName."""
    for pattern in patterns:
        if not pattern or not pattern.isprintable() or pattern != pattern.strip() or "*" in pattern[:-1]:
            raise InvalidName("write the name of a subject, or the beginning of names with * at its end")
    return Subjects(
        names=frozenset(pattern for pattern in patterns if not pattern.endswith("*")),
        prefixes=tuple(pattern[:-1] for pattern in patterns if pattern.endswith("*")),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Hosts:
    """The hosts of one rule, each with its port, or None for any; ``ends`` begin with their dot."""

    exact: frozenset[tuple[str, int | None]]
    ends: tuple[tuple[str, int | None], ...]

    def have(self, authority: bytes) -> bool | None:
        """Whether the rule speaks of what the request is sent to; None if it says none that has one reading."""
        try:
            called = parse_authority(authority.decode("ascii"))
        except (UnicodeDecodeError, InvalidAuthority):
            return None
        host, port = called.host, called.port
        if (host, None) in self.exact or (host, port) in self.exact:
            return True
        return any(host.endswith(end) and wanted in {None, port} for end, wanted in self.ends)


def parse_hosts(patterns: tuple[str, ...]) -> Hosts:
    """Read ``orders``, ``orders:8080`` and ``*.example.org``. Raises InvalidName."""
    exact, ends = set(), []
    for pattern in patterns:
        wild = _HOST_END.fullmatch(pattern)
        try:
            known = parse_authority(pattern if wild is None else "x" + pattern[1:])
        except InvalidAuthority as error:
            raise InvalidName(f"{error}; *.example.org is every host below that name") from None
        if wild is None:
            exact.add((known.host, known.port))
        else:
            ends.append((known.host[1:], known.port))
    return Hosts(exact=frozenset(exact), ends=tuple(ends))
