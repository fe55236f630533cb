r"""The cases of gunicorn: ``NNN.http`` holds the bytes with ``\r\n`` and others as escapes; its own newlines are none.

The folder is the verdict. What the valid ones hold is not published with them.
"""

import re
from dataclasses import dataclass
from pathlib import Path

HOST = b"Host: example.org\r\n"

_ESCAPE = re.compile(rb"\\(?:x([0-9A-Fa-f]{2})|([rnt0]))")
_LETTERS = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0"}
_REQUEST_LINE = re.compile(rb"[^\r\n ]{1,20}+ [^\r\n ]*+ HTTP/1\.1\r\n")


@dataclass(frozen=True, slots=True)
class Case:
    """One file."""

    name: str
    valid: bool
    wire: bytes

    def with_hosts(self) -> bytes:
        """The same bytes, with a Host put into every HTTP/1.1 request that has none."""

        def add(match: re.Match[bytes]) -> bytes:
            fields, end, _ = self.wire[match.end() - 2 :].partition(b"\r\n\r\n")
            return match[0] + (HOST if end and b"\nhost:" not in fields.lower() else b"")

        return _REQUEST_LINE.sub(add, self.wire)


def unescape(text: bytes) -> bytes:
    """Give the bytes of a file."""

    def octet(match: re.Match[bytes]) -> bytes:
        return bytes.fromhex(match[1].decode()) if match[1] else _LETTERS[match[2]]

    return _ESCAPE.sub(octet, text.replace(b"\n", b""))


def read(folder: Path) -> list[Case]:
    """Give every case below ``folder``, in order."""
    return [
        Case(f"{kind}/{path.stem}", kind == "valid", unescape(path.read_bytes()))
        for kind in ("valid", "invalid")
        for path in sorted((folder / kind).glob("*.http"))
    ]
