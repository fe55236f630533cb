r"""The cases of llhttp: Markdown files of ``http`` blocks, each followed by the ``log`` of its parser's callbacks.

The unescaping is that of its ``test/md-test.ts``: the last newline goes, a newline after a backslash goes, every other
newline is CRLF, then ``\r \n \t \f \xHH`` and octal escapes are read. ``Case.spans`` gives every offset of the log with
its text, so that a test can prove that the bytes were unescaped as their authors meant.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

HOST = b"Host: example.org\r\n"

_BLOCK = re.compile(
    r"^#+ (?P<title>[^\n]+)$|<!-- meta=(?P<meta>\{.*?\}) -->|^```(?P<kind>\w+)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_SPAN = re.compile(r'off=(\d+) len=(\d+) span\[(\w+)\]=(?:"(.*)"|cr|lf)$')
_HEAD = re.compile(r"headers complete (?:method=\d+|status=(\d+))")
_ERROR = re.compile(r"off=\d+ error code=(\d+)")
_NOT_REFUSED = {21, 22, 23}  # paused, paused for CONNECT or an upgrade, paused for HTTP/2


@dataclass(slots=True)
class Message:
    """One message whose head was complete, as llhttp read it."""

    method: bytes = b""
    target: bytes = b""
    status: int = 0
    body: bytes = b""
    has_head: bool = False
    complete: bool = False
    needs_host_at: int = 0


@dataclass(frozen=True, slots=True)
class Case:
    """One block. ``wire`` is what is parsed, ``log`` what llhttp said of it."""

    name: str
    type: str
    wire: bytes
    log: tuple[str, ...]
    spans: tuple[tuple[int, int, str, str], ...] = field(repr=False)

    @property
    def refused(self) -> bool:
        """Whether llhttp found an error."""
        return any(int(code) not in _NOT_REFUSED for line in self.log for code in _ERROR.findall(line))

    @property
    def tunnelled(self) -> bool:
        """Whether llhttp stopped for CONNECT, an upgrade or HTTP/2: what follows is not HTTP/1.1."""
        return any(int(code) in {22, 23} for line in self.log for code in _ERROR.findall(line))

    @property
    def messages(self) -> tuple[Message, ...]:
        """The messages whose heads llhttp read to the end."""
        return tuple(message for message in self._messages() if message.has_head)

    def with_hosts(self) -> bytes:
        """The same bytes, with a Host put into every HTTP/1.1 request that has none."""
        wire = self.wire
        for at in sorted((m.needs_host_at for m in self._messages() if m.needs_host_at), reverse=True):
            wire = wire[:at] + HOST + wire[at:]
        return wire

    def _messages(self) -> list[Message]:
        messages: list[Message] = []
        for line in self.log:
            if line.endswith("message begin"):
                messages.append(Message())
            elif span := _SPAN.match(line):
                self._take_span(messages[-1], int(span[1]), int(span[1]) + int(span[2]), span[3])
            elif head := _HEAD.search(line):
                messages[-1].has_head = True
                messages[-1].status = int(head[1] or 0)
            elif line.endswith("message complete"):
                messages[-1].complete = True
        return messages

    def _take_span(self, message: Message, start: int, end: int, kind: str) -> None:
        text = self.wire[start:end]
        if kind == "method":
            message.method += text
        elif kind == "url":
            message.target += text
        elif kind == "body":
            message.body += text
        elif kind == "version" and text == b"1.1" and message.method and self.wire[end : end + 2] == b"\r\n":
            message.needs_host_at = end + 2
        elif kind == "header_field" and text.lower() == b"host":
            message.needs_host_at = 0


def unescape(text: str) -> bytes:
    """Give the bytes of an ``http`` block."""
    text = text.removesuffix("\n")
    text = text.replace("\\\n", "")
    text = text.replace("\n", "\r\n")
    for escape, character in (("\\r", "\r"), ("\\n", "\n"), ("\\t", "\t"), ("\\f", "\f")):
        text = text.replace(escape, character)
    text = re.sub(r"\\x([0-9a-fA-F]+)", lambda match: chr(int(match[1], 16)), text)
    text = re.sub(r"\\([0-7]{1,3})", lambda match: chr(int(match[1], 8)), text)
    if "${" in text:
        raise ValueError("inline JavaScript is not read here")
    return text.encode()


def read(folder: Path) -> Iterator[Case]:
    """Give every case below ``folder``, in order. A repeated title gets a number."""
    for path in sorted(folder.glob("r*/*.md")):
        title, meta, wire = "", {"type": ""}, b""
        seen: dict[str, int] = {}
        for block in _BLOCK.finditer(path.read_text()):
            if block["title"]:
                title = block["title"]
            elif block["meta"]:
                meta = json.loads(block["meta"])
            elif block["kind"] == "http":
                wire = unescape(block["text"])
            elif block["kind"] == "log":
                seen[title] = seen.get(title, 0) + 1
                name = f"{path.parent.name}/{path.stem}: {title}"
                log = tuple(block["text"].splitlines())
                spans = tuple((int(s[1]), int(s[2]), s[3], s[4] or "") for s in map(_SPAN.match, log) if s)
                yield Case(name + (f" #{seen[title]}" if seen[title] > 1 else ""), meta["type"], wire, log, spans)
