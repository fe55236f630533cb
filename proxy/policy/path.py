r"""The path law: what of a request target is matched, and which targets are refused (specs 6.4, RFC 3986).

We forward the target byte for byte, so the app reads it again, with a reader that we do not know: it may decode
``%2f`` before or after it splits at ``/``, merge ``//``, resolve ``..``, drop ``;parameters``. A policy that reads
otherwise than the app is a policy that can be walked around. Hence two laws:

1. *Refuse what can be read twice.* Every ``Ambiguity`` is looked for in the finest reading: decoded as often as any
   reader might, split at every byte that any reader might take for a separator, parameters cut off. So ``..;x``,
   ``..%5c`` and ``%252e%252e`` are dot segments too. A path passes only if every ambiguity that it holds is allowed.
2. *Every reading must be permitted.* ``readings`` gives all ways in which an app may read what is left, and the Grant
   asks for a route, and for that route's scopes, for each. To allow an ambiguity by its name therefore lets a path
   through where the difference does not matter, or where rules are written for both readings; it never opens a way
   around a rule. (One chosen reading would: with ``encoded_slash`` read as data, ``/files/a%2Fsecret`` passes by
   ``/files/{name}`` and reaches ``/files/{name}/secret`` of every app whose server decodes first, as WSGI's do.)

The readings of each, all combined with each other:

================== ==============================================================================================
always             ``%40`` for ``@``, and for the other characters that may stand unencoded but have a meaning in
                   RFC 3986 (``! $ & ' ( ) * + , = :``): as written, and decoded. Clients encode them by habit.
empty_segment      kept (only ``/**`` matches an empty segment), and merged
dot_segment        kept, and resolved
encoded_slash      data within its segment, and a separator
backslash          data within its segment, and a separator; ``\`` and ``%5c`` each for itself
semicolon          data within its segment, and dropped to the end of the segment; ``%3b`` with ``;``, or not
encoded_nul        data within its segment, and the end of the path
encoded_unreserved as written, decoded alone (RFC 3986 6.2.2.2), and decoded with the characters above
double_encoding    decoded once, and decoded twice
bad_encoding       the ``%`` as data
================== ==============================================================================================

Never allowed, under no name: an empty path or one that does not begin with ``/``; a byte that RFC 3986 does not know
in a path (controls, blanks, ``#``, ``"<>[]^`{|}``, non-ASCII); an encoded control other than NUL (``/admin%0a`` is
``/admin`` to a careless ``$``); what is not UTF-8 once decoded (overlong forms of ``/`` and ``.``); triple encoding.

Paths are compared with their case, the case of hexadecimal digits excepted, and ``/orders/`` is not ``/orders``. An
app that folds case, trailing slashes, trailing dots or Unicode forms needs rules without a catch-all beside them.
The query, from the first ``?``, takes no part; it is checked for bytes that no query has, and forwarded as it is.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import unquote_to_bytes

from proxy.errors import AmbiguousPath
from proxy.policy.settings import Ambiguity

MAX_AMBIGUOUS_BYTES = 1024
"""The longest path that is read in several ways by allowance: each reading costs a pass over it."""

MAX_AMBIGUITIES = 3
"""Kinds in one path: an encoded URL in a path has three (%2F, %2F%2F, %2520). Each kind doubles the readings."""

UNRESERVED = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
"""RFC 3986 2.3: encoded or not, the same character."""

MEANINGFUL = b"!$&'()*+,=:@"
"""What else may stand in a segment as it is (pchar, RFC 3986 3.3), without ``;``, which has a name of its own."""

_SEGMENT = re.escape(UNRESERVED + MEANINGFUL)
_QUERY = rb"[\x21\x22\x24-\x7e]*+"  # what is visible in ASCII, without "#"

PLAIN = re.compile(rb"((?:/(?!\.{1,2}(?:[/?]|\Z))[%b]++)++/?+|/)(?:\?%b)?" % (_SEGMENT, _QUERY))
"""A target that has one reading, its path as group 1: one pass at C speed for nearly every request."""

_SIMPLE: Final = bytes(octet if octet in UNRESERVED + b"/" else 0x2F for octet in range(0x100))


def is_simple(target: bytes) -> bool:
    """Whether ``target`` is a path of unreserved characters alone, which ``PLAIN`` takes: said sooner than by it."""
    return (
        target.startswith(b"/")
        and target.translate(_SIMPLE) == target
        and target.find(b"//") < 0
        and target.find(b"/.") < 0
    )


_TARGET = re.compile(rb"(/[%b/%%;\\]*+)(?:\?%b)?" % (_SEGMENT, _QUERY))
_TRIPLET = re.compile(rb"%([0-9A-Fa-f]{2})")
_LONE_PERCENT = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_CONTROL = re.compile(rb"[\x01-\x1f\x7f]")
_CUT_SHORT = re.compile(rb"[;\0][^/]*")
_PARAMETERS = re.compile(rb";[^/]*")
_DECODED_PARAMETERS = re.compile(rb"(?:;|%3B)[^/]*")
_SLASHES = re.compile(rb"/{2,}")

_KIND_OF_BYTE = dict.fromkeys(UNRESERVED, Ambiguity.ENCODED_UNRESERVED) | {
    0x00: Ambiguity.ENCODED_NUL,
    0x2F: Ambiguity.ENCODED_SLASH,
    0x3B: Ambiguity.SEMICOLON,
    0x5C: Ambiguity.BACKSLASH,
}
_ENCODED_KINDS = {b"%02X" % byte: kind for byte, kind in _KIND_OF_BYTE.items()}

# An encoding in capitals -> what it stands for, where it need not be one.
_NORMALIZED = {b"%%%02X" % byte: bytes((byte,)) for byte in UNRESERVED}
_DECODED = {b"%%%02X" % byte: bytes((byte,)) for byte in UNRESERVED + MEANINGFUL}


def readings(target: bytes, allow: frozenset[Ambiguity]) -> list[list[bytes]]:
    """Return every way to read the path of ``target``, each as its segments (``/a/`` is ``[b"a", b""]``).

    Segments are spelled as in a template: encoded, with capitals, only where RFC 3986 demands it. The reading of one
    who changes nothing comes first.

    Raises:
        AmbiguousPath: the path holds an ambiguity that is not in ``allow``, or breaks a rule that has no exception.

    """
    parts = _TARGET.fullmatch(target)
    if parts is None:
        raise AmbiguousPath("the target has a byte that no path or query has, or does not begin with /")
    path = parts[1]
    found = ambiguities(path)
    if not found <= allow:
        raise AmbiguousPath(f"the path holds {', '.join(sorted(found - allow))}")
    if found and len(path) > MAX_AMBIGUOUS_BYTES:
        raise AmbiguousPath(f"a path with {', '.join(sorted(found))} may have {MAX_AMBIGUOUS_BYTES} bytes")
    if len(found) > MAX_AMBIGUITIES:
        raise AmbiguousPath(f"a path may hold {MAX_AMBIGUITIES} kinds of ambiguity, even of those allowed")
    return [text[1:].split(b"/") for text in _texts(path, found)]


def ambiguities(path: bytes) -> set[Ambiguity]:
    """Return what can be read twice in ``path``, whose bytes RFC 3986 knows.

    Raises:
        AmbiguousPath: it breaks a rule that has no exception.

    """
    found = _encoded_kinds(path)
    if _LONE_PERCENT.search(path):
        found.add(Ambiguity.BAD_ENCODING)
    decoded = unquote_to_bytes(path)
    if _TRIPLET.search(decoded):
        if Ambiguity.BAD_ENCODING in found:
            raise AmbiguousPath("a % without two hexadecimal digits, beside a double encoding")
        found |= {Ambiguity.DOUBLE_ENCODING} | _encoded_kinds(decoded)
        _check_decoded(decoded)
        decoded = unquote_to_bytes(decoded)
        if _TRIPLET.search(decoded):
            raise AmbiguousPath("encoded more than twice")
    _check_decoded(decoded)
    return found | _structural_kinds(decoded)


def _encoded_kinds(text: bytes) -> set[Ambiguity]:
    return {_ENCODED_KINDS[digits] for digits in set(_TRIPLET.findall(text.upper())) if digits in _ENCODED_KINDS}


def _check_decoded(decoded: bytes) -> None:
    if _CONTROL.search(decoded):
        raise AmbiguousPath("an encoded control character")
    try:
        decoded.decode()
    except UnicodeDecodeError:
        raise AmbiguousPath("not UTF-8 once it is decoded") from None


def _structural_kinds(decoded: bytes) -> set[Ambiguity]:
    found: set[Ambiguity] = set()
    if b"\\" in decoded:
        found.add(Ambiguity.BACKSLASH)
    if b";" in decoded:
        found.add(Ambiguity.SEMICOLON)
    segments = _CUT_SHORT.sub(b"", decoded.replace(b"\\", b"/"))[1:].split(b"/")
    if b"" in segments[:-1]:
        found.add(Ambiguity.EMPTY_SEGMENT)
    if b"." in segments or b".." in segments:
        found.add(Ambiguity.DOT_SEGMENT)
    return found


def _texts(path: bytes, found: set[Ambiguity]) -> dict[bytes, None]:
    decoded = spell(path)
    texts = dict.fromkeys([in_capitals(path)])
    if Ambiguity.ENCODED_UNRESERVED in found:
        texts[_spell(path, _NORMALIZED)] = None
    texts[decoded] = None
    if Ambiguity.DOUBLE_ENCODING in found:
        texts[spell(decoded.replace(b"%25", b"%"))] = None
    for kind, act in _READERS:
        if kind in found:
            texts |= dict.fromkeys([act(text) for text in texts])
    return texts


def spell(text: bytes) -> bytes:
    """Return ``text`` encoded only where RFC 3986 demands it, with capitals: as the segments of a template are."""
    return _spell(text, _DECODED)


def in_capitals(text: bytes) -> bytes:
    """Return ``text`` as it is, the hexadecimal digits of its encodings in capitals."""
    return _spell(text, {})


def _spell(text: bytes, table: Mapping[bytes, bytes]) -> bytes:
    def respell(triplet: re.Match[bytes]) -> bytes:
        capitals = triplet[0].upper()
        return table.get(capitals, capitals)

    return _TRIPLET.sub(respell, text)


def _resolve(text: bytes) -> bytes:
    """RFC 3986 5.2.4."""
    kept: list[bytes] = []
    *above, last = text[1:].split(b"/")
    for segment in above:
        if segment == b"..":
            del kept[-1:]
        elif segment != b".":
            kept.append(segment)
    if last == b"..":
        del kept[-1:]
    return b"/" + b"/".join([*kept, b"" if last in {b".", b".."} else last])


_READERS: tuple[tuple[Ambiguity, Callable[[bytes], bytes]], ...] = (
    (Ambiguity.ENCODED_SLASH, lambda text: text.replace(b"%2F", b"/")),
    (Ambiguity.BACKSLASH, lambda text: text.replace(b"\\", b"/")),
    (Ambiguity.BACKSLASH, lambda text: text.replace(b"%5C", b"/")),
    (Ambiguity.ENCODED_NUL, lambda text: text.partition(b"%00")[0]),
    (Ambiguity.SEMICOLON, lambda text: _PARAMETERS.sub(b"", text)),
    (Ambiguity.SEMICOLON, lambda text: _DECODED_PARAMETERS.sub(b"", text)),
    (Ambiguity.EMPTY_SEGMENT, lambda text: _SLASHES.sub(b"/", text)),
    (Ambiguity.DOT_SEGMENT, _resolve),
)
"""What a reader may do beyond decoding, in the order in which readers do it; each is done, and is left undone."""
