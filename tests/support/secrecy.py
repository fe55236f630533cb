"""What no log line, metric or record may hold: a token, or what could be one."""

import re

_JWS = re.compile(r"eyJ[A-Za-z0-9_-]{10,}")
"""The beginning of a JOSE header, or of claims: base64url of an object. No hash and no name of ours looks like it."""


def leaks(text: str) -> list[str]:
    """Return the lines in which something like a token stands, cut short before it."""
    return [line[: match.start()][-200:] for line in text.splitlines() if (match := _JWS.search(line))]
