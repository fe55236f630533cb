"""Requests that were made to be read in two ways: good ones with none, one or two tricks put in."""

from collections.abc import Callable
from dataclasses import dataclass, field

from hypothesis import strategies as st

from support.odd_http1 import (
    ODD_CHUNKS,
    ODD_ENDS,
    ODD_FIELDS,
    ODD_METHODS,
    ODD_TARGETS,
    ODD_TRAILERS,
    ODD_VERSIONS,
)

CRLF = b"\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: victim\r\nTxn-Token: stolen\r\n\r\n"

METHODS = [b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"DELETE", b"PATCH"]
TARGETS = [b"/", b"/a?b=c", b"/%2e%2e/x", b"/a;b=1", b"/a//b"]
FIELDS = [b"Accept: */*", b"X-B:  c\t", b"Cookie: a=b", b"x-c: \xe4"]
OCTETS = [b"\r", b"\n", b"\r\n", b" ", b"\t", b":", b"\0", b"\x0b", b"\xff", b",", b";", b"_", b"0", b""]


@dataclass(slots=True)
class Plan:
    """The parts of a request, before they are put together."""

    method: bytes = b"GET"
    target: bytes = b"/"
    version: bytes = b"HTTP/1.1"
    fields: list[bytes] = field(default_factory=list)
    ends: dict[int, bytes] = field(default_factory=dict)
    chunks: list[bytes] | None = None
    trailers: bytes = b""
    body: bytes = b""

    def build(self) -> bytes:
        """Put the parts together."""
        lines = [b"%b %b %b" % (self.method, self.target, self.version), *self.fields, b""]
        head = b"".join(line + self.ends.get(at, CRLF) for at, line in enumerate(lines))
        if self.chunks is None:
            return head + self.body
        return head + b"".join(self.chunks) + b"0\r\n" + self.trailers + CRLF


def _insert(draw: st.DrawFn, into: list[bytes], what: list[bytes]) -> None:
    into.insert(draw(st.integers(0, len(into))), draw(st.sampled_from(what)))


def _trick(draw: st.DrawFn, plan: Plan) -> None:
    tricks: list[Callable[[], None]] = [
        lambda: setattr(plan, "method", draw(st.sampled_from(ODD_METHODS))),
        lambda: setattr(plan, "target", draw(st.sampled_from(ODD_TARGETS))),
        lambda: setattr(plan, "version", draw(st.sampled_from(ODD_VERSIONS))),
        lambda: plan.ends.update({draw(st.integers(0, len(plan.fields) + 1)): draw(st.sampled_from(ODD_ENDS))}),
        lambda: setattr(plan, "trailers", draw(st.sampled_from(ODD_TRAILERS))),
        lambda: _insert(draw, plan.chunks, ODD_CHUNKS) if plan.chunks is not None else None,
        lambda: _insert(draw, plan.fields, ODD_FIELDS),
        lambda: _insert(draw, plan.fields, ODD_FIELDS),
    ]
    draw(st.sampled_from(tricks))()


@st.composite
def one_request(draw: st.DrawFn) -> bytes:
    """One request, good or with up to two tricks."""
    plan = Plan(method=draw(st.sampled_from(METHODS)), target=draw(st.sampled_from(TARGETS)))
    plan.fields = [b"Host: victim", *draw(st.lists(st.sampled_from(FIELDS), max_size=2))]
    body = draw(st.sampled_from([b"hello", b"x", SMUGGLED, b"0\r\n\r\n", b"\r\n"]))
    framing = draw(st.sampled_from(["none", "counted", "chunked"]))
    if framing == "counted":
        plan.fields.append(b"Content-Length: %d" % len(body))
        plan.body = body
    elif framing == "chunked":
        plan.fields.append(b"Transfer-Encoding: chunked")
        plan.chunks = [b"%x\r\n%b\r\n" % (len(body), body)]
    for _ in range(draw(st.integers(0, 2))):
        _trick(draw, plan)
    return plan.build()


@st.composite
def spoiled(draw: st.DrawFn, wires: st.SearchStrategy[bytes]) -> bytes:
    """The same bytes with one place changed, by an octet that means something."""
    wire = draw(wires)
    at = draw(st.integers(0, len(wire)))
    return wire[:at] + draw(st.sampled_from(OCTETS)) + wire[at + draw(st.integers(0, 2)) :]


def streams() -> st.SearchStrategy[bytes]:
    """One to three requests on one connection, perhaps with one place spoiled, or an empty line before."""
    whole = st.lists(one_request(), min_size=1, max_size=3).map(b"".join)
    return st.one_of(
        whole, spoiled(whole), whole.map(lambda wire: CRLF + wire), whole.map(lambda wire: wire + SMUGGLED)
    )
