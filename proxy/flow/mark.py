"""The mark in ``tracestate`` by which an outbound request finds its inbound one (see ``tokens/passage.py``).

``tracestate`` is a list of ``key=value`` (W3C Trace Context section 3.3.1), also over several fields. Ours is put at
its beginning on the way to the app, and taken out on the way in and on the way out: nobody beyond the app sees it.
"""

from typing import Final

MAX_MEMBERS: Final = 32
"""Section 3.3.1.1; the rightmost is dropped for one more (section 3.5)."""

KEY: Final = b"svidecar"
_FIELD: Final = b"tracestate:"


def set_mark(lines: list[bytes], mark: bytes) -> list[bytes]:
    """Return the fields of a request with our mark, and no other of that name."""
    others, members, _ = _parted(lines)
    return [*others, b"tracestate: " + b",".join([KEY + b"=" + mark, *members[: MAX_MEMBERS - 1]])]


def take_mark(lines: list[bytes]) -> tuple[list[bytes], bytes | None]:
    """Return the fields of a request without the mark, and the mark.

    Several are none that can be used: empty, which no passage has.
    """
    others, members, marks = _parted(lines)
    if not marks:
        return lines, None
    if members:
        others.append(b"tracestate: " + b",".join(members))
    return others, marks[0] if len(marks) == 1 else b""


def _parted(lines: list[bytes]) -> tuple[list[bytes], list[bytes], list[bytes]]:
    """Part the fields into all others, the members of ``tracestate`` that are not ours, and our values."""
    others, members, marks = [], [], []
    for line in lines:
        if line[: len(_FIELD)].lower() != _FIELD:
            others.append(line)
            continue
        for member in line[len(_FIELD) :].split(b","):
            key, _, value = member.strip(b" \t").partition(b"=")
            if key.strip(b" \t").lower() == KEY:
                marks.append(value.strip(b" \t"))
            elif member.strip(b" \t"):
                members.append(member.strip(b" \t"))
    return others, members, marks
