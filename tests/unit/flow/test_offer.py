"""The head as it goes to the other side."""

import h11
import pytest
from support.flow import PSEUDONYM, Caller, Clock, exchange_of, get, head_of, make_runtime

from proxy.errors import LoopDetected, MethodRefused
from proxy.flow.exchange import Exchange
from proxy.flow.offer import is_websocket, offer, trace
from proxy.http1.message import RequestHead


def _exchange(head: RequestHead) -> Exchange:
    return exchange_of(make_runtime(Clock()), Caller(), head)


def _offer(head: RequestHead, *own: bytes) -> list[tuple[str, str]]:
    """The fields of the offer, as h11 reads them."""
    written = offer(_exchange(head), b"app", list(own))
    judge = h11.Connection(h11.SERVER)
    judge.receive_data(written)
    request = judge.next_event()
    assert isinstance(request, h11.Request)
    assert judge.trailing_data[0] == b""
    assert request.method == head.method
    assert written.startswith(head.method + b" " + head.target + b" HTTP/1.1\r\nHost: app\r\n")
    return [(name.decode(), value.decode()) for name, value in request.headers]


async def test_ordinary_fields_pass_in_order_and_ours_are_added() -> None:
    """Between Host, which comes first, and Via."""
    fields = _offer(get("X-A: 1", "Cookie: c", "X-A: 2", "Txn-Token: theirs"), b"Txn-Token: ours")
    assert fields == [
        ("host", "app"),
        ("x-a", "1"),
        ("cookie", "c"),
        ("x-a", "2"),
        ("txn-token", "ours"),
        ("via", f"1.1 {PSEUDONYM.decode()}"),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "Connection: close",
        "Keep-Alive: timeout=5",
        "Proxy-Connection: close",
        "TE: gzip",
        "Trailer: X-A",
        "Upgrade: websocket",
        "Connection: Upgrade\r\nUpgrade: h2c",
        "Connection: X-A\r\nX-A: 1",
        "X-Forwarded-Client-Cert: x",
        "Client-Cert: x",
        "Client-Cert-Chain: x",
        "Txn-Token: x",
    ],
)
async def test_what_is_of_one_hop_or_ours_does_not_pass(line: str) -> None:
    """Nothing of it is left."""
    assert _offer(get(line)) == [("host", "app"), ("via", f"1.1 {PSEUDONYM.decode()}")]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["Content-Length: 0"], {"content-length": "0"}),
        (["Content-Length: 5"], {"content-length": "5"}),
        (["Content-Length: 005"], {"content-length": "5"}),
        (["Transfer-Encoding: Chunked"], {"transfer-encoding": "chunked"}),
        (["Content-Length: 5", "Expect: 100-Continue"], {"content-length": "5", "expect": "100-continue"}),
        (["TE: deflate, trailers"], {"te": "trailers", "connection": "TE"}),
        (["Connection: upgrade", "Upgrade: WebSocket"], {"upgrade": "websocket", "connection": "Upgrade"}),
        (
            ["Connection: upgrade, te", "Upgrade: websocket", "TE: trailers"],
            {"upgrade": "websocket", "te": "trailers", "connection": "TE, Upgrade"},
        ),
    ],
)
async def test_what_we_say_anew(lines: list[str], expected: dict[str, str]) -> None:
    """Framing, expectation, TE and Upgrade, each in one spelling."""
    found = dict(_offer(get(*lines)))
    del found["host"], found["via"]
    assert found == expected


@pytest.mark.parametrize(
    ("hops", "method", "sent"), [("5", "OPTIONS", "4"), ("1", "OPTIONS", "0"), ("5", "GET", "5"), ("0", "GET", "0")]
)
async def test_max_forwards(hops: str, method: str, sent: str) -> None:
    """Counted down for OPTIONS alone (RFC 9110 section 7.6.2)."""
    assert dict(_offer(get(f"Max-Forwards: {hops}", method=method)))["max-forwards"] == sent


async def test_max_forwards_that_is_no_number_is_dropped() -> None:
    """It would be another number for another reader."""
    assert "max-forwards" not in dict(_offer(get("Max-Forwards: +1", method="OPTIONS")))


@pytest.mark.parametrize(
    "head", [get(method="TRACE"), get("Max-Forwards: 0", method="OPTIONS")], ids=["TRACE", "no hops left"]
)
async def test_methods_that_go_no_further(head: RequestHead) -> None:
    """TRACE would send the token back; OPTIONS with no hop left would have to be answered here."""
    with pytest.raises(MethodRefused):
        offer(_exchange(head), b"app", [])


@pytest.mark.parametrize(
    "via",
    [
        ["1.1 " + PSEUDONYM.decode()],
        ["1.0 a, 1.1 " + PSEUDONYM.decode() + ", 1.1 b"],
        ["1.1 a", "1.1 " + PSEUDONYM.decode() + " (x)"],
    ],
)
async def test_a_loop(via: list[str]) -> None:
    """Our name in any Via, wherever it stands."""
    with pytest.raises(LoopDetected):
        offer(_exchange(get(*(f"Via: {value}" for value in via))), b"app", [])


async def test_via_grows() -> None:
    """In one line, ours last."""
    fields = [value for name, value in _offer(get("Via: 1.0 a", "Via: 1.1 b")) if name == "via"]
    assert fields == ["1.0 a, 1.1 b, 1.1 " + PSEUDONYM.decode()]


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (get("Connection: Upgrade", "Upgrade: websocket"), True),
        (get("Connection: Upgrade", "Upgrade: WEBSOCKET"), True),
        (get("Upgrade: websocket"), False),
        (get("Connection: Upgrade", "Upgrade: websocket, h2c"), False),
        (get("Connection: Upgrade", "Upgrade: websocket", "Upgrade: websocket"), False),
        (get("Connection: Upgrade", "Upgrade: websocket/13"), False),
        (get("Connection: Upgrade", "Upgrade: websocket", method="POST"), False),
        (get("Connection: Upgrade", "Upgrade: websocket", "Content-Length: 1"), False),
        (get("Connection: Upgrade", "Upgrade: websocket", version="1.0"), False),
        (get(), False),
    ],
)
def test_is_websocket(head: RequestHead, expected: bool) -> None:  # noqa: FBT001 - the expected verdict
    """In the one form that RFC 6455 has."""
    assert is_websocket(head) is expected


async def test_tracestate_goes_with_its_traceparent() -> None:
    """Kept beside a valid one, dropped where we make a new one, in whatever case it is written."""
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    kept = _exchange(get(f"traceparent: {parent}", "tracestate: a=1", "X-A: 1"))
    assert trace(kept) == f"traceparent: {parent}".encode()
    assert kept.head.lines == [b"tracestate: a=1", b"X-A: 1"]
    made = _exchange(get("traceparent: x", "TraceState: a=1", "X-A: 1"))
    assert trace(made) != b"traceparent: x"
    assert made.head.lines == [b"X-A: 1"]
    assert made.trace_id is not None


async def test_absolute_form_becomes_origin_form() -> None:
    """With the authority of the target, whatever Host said."""
    head = head_of(b"GET http://real/x?y HTTP/1.1\r\nHost: other\r\n\r\n")
    written = offer(_exchange(head), head.authority, [])
    assert written.startswith(b"GET /x?y HTTP/1.1\r\nHost: real\r\n")
    assert b"other" not in written
