"""``application/x-www-form-urlencoded``, read strictly (RFC 6749 section 3.2 and appendix B).

``urllib.parse.parse_qsl`` takes half an escape, bytes that are not UTF-8, a name without ``=``; each is a way to tell
two parsers two things.
"""

import re

MAX_PARAMETERS = 32
"""RFC 8693 has eleven; client authentication and the draft add four."""

_PAIR = re.compile(rb"((?:[A-Za-z0-9*._+~-]|%[0-9A-Fa-f]{2})+)=((?:[^%&=\x00-\x20\x7f-\xff]|=|%[0-9A-Fa-f]{2})*)")
"""A name, and a value in which visible ASCII may stand unescaped: browsers, curl and urlencode differ there."""

_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")


class InvalidForm(ValueError):
    """The body can be read in two ways; the message is the rule."""


def read_form(raw: bytes) -> dict[str, str]:
    """Read the parameters; one without a value counts as omitted.

    Raises:
        InvalidForm: malformed, a parameter twice, or more than ``MAX_PARAMETERS``.

    """
    pairs = raw.split(b"&") if raw else []
    if len(pairs) > MAX_PARAMETERS:
        raise InvalidForm(f"more than {MAX_PARAMETERS} parameters")
    parameters: dict[str, str] = {}
    for pair in pairs:
        match = _PAIR.fullmatch(pair)
        if match is None:
            raise InvalidForm("a parameter is not name=value in form encoding")
        name, value = _decoded(match[1]), _decoded(match[2])
        if name in parameters:
            raise InvalidForm("a parameter stands twice")
        parameters[name] = value
    return {name: value for name, value in parameters.items() if value}


def _decoded(raw: bytes) -> str:
    octets = _ESCAPE.sub(lambda match: bytes.fromhex(match[1].decode("ascii")), raw.replace(b"+", b" "))
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidForm("a parameter is not UTF-8") from None
