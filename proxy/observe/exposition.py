"""The answer to a scrape, in pieces, so that the loop may do other work between two of them.

The two formats (Prometheus, "Exposition formats", text format 0.0.4; OpenMetrics 1.0.0, "Text format") share their
lines (``lines``) and differ in the header of a metric and in the end.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from proxy.observe.lines import escape

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_EOF = b"# EOF\n"


def choose(accept: str) -> str:
    """Give the content type for an Accept field (RFC 9110 section 12.5.1): OpenMetrics if it is liked best, else text.

    The answer is one of two constants: nothing of the field comes back in it, and no field makes an error.
    """
    best = {"application/openmetrics-text": 0.0, "text/plain": 0.0}
    for option in accept.lower().split(","):
        kind, *rest = (part.strip() for part in option.split(";"))
        parameters = dict(part.split("=", 1) for part in rest if "=" in part)
        if kind in best and parameters.get("version", "1.0.0") in _VERSIONS[kind]:
            best[kind] = max(best[kind], _quality(parameters.get("q", "1")))
    liked = best["application/openmetrics-text"]
    return OPENMETRICS if liked > 0 and liked >= best["text/plain"] else TEXT


_VERSIONS = {"application/openmetrics-text": ("1.0.0",), "text/plain": ("0.0.4", "1.0.0")}


def _quality(raw: str) -> float:
    """RFC 9110 section 12.4.2; what is not a weight counts as 0."""
    digits = raw.replace(".", "", 1)
    return float(raw) if len(raw) <= 5 and digits.isascii() and digits.isdigit() else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Some samples of one metric, as lines. ``name`` is that of the samples, without what a histogram adds to it."""

    name: str
    kind: str
    help: str
    lines: str


def render(pieces: Iterable[Piece], content_type: str) -> Iterator[bytes]:
    """Render piece after piece; pieces of one metric stand side by side, and only the first brings its header."""
    header = _openmetrics if content_type == OPENMETRICS else _text
    before = ""
    for piece in pieces:
        lines = piece.lines if piece.name == before else header(piece) + piece.lines
        before = piece.name
        yield lines.encode()
    if content_type == OPENMETRICS:
        yield _EOF


def _text(piece: Piece) -> str:
    """Text format 0.0.4: a help escapes backslash and line feed; the type ``info`` is not known."""
    shown = piece.help.replace("\\", "\\\\").replace("\n", "\\n")
    kind = "gauge" if piece.kind == "info" else piece.kind
    return f"# HELP {piece.name} {shown}\n# TYPE {piece.name} {kind}\n"


def _openmetrics(piece: Piece) -> str:
    """OpenMetrics 1.0: a help escapes as a label does, and the suffix of a counter or info is no part of the name."""
    name = piece.name.removesuffix(_SUFFIXES.get(piece.kind, ""))
    return f"# HELP {name} {escape(piece.help)}\n# TYPE {name} {piece.kind}\n"


_SUFFIXES = {"counter": "_total", "info": "_info"}
