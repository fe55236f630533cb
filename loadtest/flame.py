"""A flame graph as one SVG: width is time, what calls is below what it calls. Pure.

Nothing in it needs a script: a browser shows each frame's name and share under the pointer.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from html import escape

WIDTH, ROW, MARGIN, HEAD = 1400, 17, 10, 46
LEAST = 0.001  # of all samples: what is narrower cannot be seen
LETTER = 6.6  # pixels of a letter at the size below
LEGEND = "orange: svidecar; blue: kernel, TLS, libraries; hold the pointer over a frame"
OURS = ("proxy/", "proxy.", "CPyDef_", "CPyPy_")
"""Frames of this project: as Python, and as mypyc names what it compiles."""


@dataclass(slots=True)
class Frame:
    """A function in one place of the stack, with the samples in which it stood there."""

    name: str
    samples: int = 0
    callees: dict[str, "Frame"] = field(default_factory=dict)


def fold(lines: Iterable[str]) -> Frame:
    """The tree of ``outer;inner;innermost COUNT`` lines, as stackcollapse and ``py-spy --format raw`` write them."""
    root = Frame("all")
    for line in lines:
        stack, _, count = line.strip().rpartition(" ")
        if not stack or not count.isdigit():
            continue
        root.samples += int(count)
        at = root
        for name in stack.split(";"):
            at = at.callees.setdefault(name, Frame(name))
            at.samples += int(count)
    return root


def collapse(script: str) -> list[str]:
    """``perf script`` as such lines: a paragraph a sample, the innermost frame first, an address before each name."""
    counts: dict[str, int] = {}
    for paragraph in script.split("\n\n"):
        frames = [line.split(None, 1)[1] for line in paragraph.splitlines()[1:] if len(line.split(None, 1)) == 2]
        names = [_name(frame) for frame in reversed(frames)]
        if names:
            stack = ";".join(names)
            counts[stack] = counts.get(stack, 0) + 1
    return [f"{stack} {count}" for stack, count in counts.items()]


def _name(frame: str) -> str:
    """``function+0x12 (/path/to/library.so)`` as ``function``; an unknown one by its library."""
    symbol, _, where = frame.rpartition(" (")
    name = symbol.rpartition("+0x")[0] or symbol
    library = where.rstrip(")").rpartition("/")[2]
    return f"[{library}]" if name == "[unknown]" else name.replace(";", ":")


def svg(root: Frame, title: str) -> str:
    """The drawing."""
    depth = _depth(root, max(root.samples * LEAST, 1))
    height = HEAD + (depth + 1) * ROW + MARGIN
    style = "font:11px ui-monospace,Menlo,'DejaVu Sans Mono',monospace"
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" style="{style}">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="{MARGIN}" y="20" font-size="15">{escape(title)}</text>',
        f'<text x="{MARGIN}" y="37" fill="#666">{root.samples} samples; {LEGEND}</text>',
    ]
    scale = (WIDTH - 2 * MARGIN) / max(root.samples, 1)
    drawn += _drawn(root, root.samples, scale, float(MARGIN), height - MARGIN - ROW)
    return "".join([*drawn, "</svg>\n"])


def _drawn(frame: Frame, total: int, scale: float, x: float, y: float) -> Iterator[str]:
    width = frame.samples * scale
    if frame.samples < total * LEAST:
        return
    share = frame.samples / max(total, 1)
    fill = _colour(frame.name)
    shape = f'x="{x:.1f}" y="{y}" width="{max(width - 0.5, 0.5):.1f}" height="{ROW - 1}" fill="{fill}"'
    label = escape(f"{frame.name}: {share:.1%}, {frame.samples} samples")
    yield f"<g><title>{label}</title><rect {shape}/>"
    if (letters := int((width - 6) / LETTER)) >= 3:
        name = frame.name if len(frame.name) <= letters else f"{frame.name[: letters - 1]}\u2026"
        yield f'<text x="{x + 3:.1f}" y="{y + 12}">{escape(name)}</text>'
    yield "</g>"
    for callee in sorted(frame.callees.values(), key=lambda each: each.name):
        yield from _drawn(callee, total, scale, x, y - ROW)
        x += callee.samples * scale


def _depth(frame: Frame, least: float) -> int:
    return 1 + max((_depth(each, least) for each in frame.callees.values() if each.samples >= least), default=0)


def _colour(name: str) -> str:
    """Ours stand out; neighbours differ a little, the same name is the same everywhere."""
    shade = sum(name.encode()) % 5 * 6
    if any(mark in name for mark in OURS):
        return f"hsl({24 + shade / 2:.0f},90%,{62 + shade / 2:.0f}%)"
    return f"hsl(205,{35 + shade}%,{74 + shade / 3:.0f}%)"


def heaviest(root: Frame, count: int) -> list[tuple[str, float]]:
    """Frames by their own time, without what they call, as shares of all."""
    own: dict[str, int] = {}
    waiting = [root]
    while waiting:
        frame = waiting.pop()
        waiting += frame.callees.values()
        rest = frame.samples - sum(each.samples for each in frame.callees.values())
        own[frame.name] = own.get(frame.name, 0) + rest
    by_time = sorted(own.items(), key=lambda item: -item[1])[:count]
    return [(name, samples / max(root.samples, 1)) for name, samples in by_time]
