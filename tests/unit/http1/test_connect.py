"""The one CONNECT of a connection: read whole, cut anywhere, and nothing behind it."""

import pytest

from proxy.errors import BadMessage, HeadTooLarge, TargetTooLong
from proxy.http1.connect import ConnectDecoder
from proxy.http1.limits import Limits
from proxy.http1.message import RequestHead

GOOD = b"CONNECT db:5432 HTTP/1.1\r\nHost: db:5432\r\nTxn-Token: a.b.c\r\nX: y\r\n\r\n"


def read(*pieces: bytes, limits: Limits | None = None) -> RequestHead | None:
    """Feed pieces; give the head."""
    decoder = ConnectDecoder(limits or Limits())
    found = None
    for piece in pieces:
        decoder.receive(piece)
        found = decoder.next_event() or found
    return found


def test_cut_anywhere() -> None:
    """Byte by byte and in two at every place, it is the same head."""
    heads = [read(GOOD[:at], GOOD[at:]) for at in range(len(GOOD))] + [read(*(bytes([one]) for one in GOOD))]
    for head in heads:
        assert head is not None
        assert (head.method, head.target, head.authority, head.length) == (b"CONNECT", b"db:5432", b"db:5432", 0)
        assert head.held[b"txn-token"] == [b"a.b.c"]


@pytest.mark.parametrize("behind", [b"\r\n", b"x", GOOD])
def test_nothing_behind(behind: bytes) -> None:
    """Neither in the same piece nor in the next."""
    with pytest.raises(BadMessage, match="before CONNECT was answered"):
        read(GOOD + behind)
    with pytest.raises(BadMessage, match="before CONNECT was answered"):
        read(GOOD, behind)


@pytest.mark.parametrize(
    ("begin", "reason"),
    [
        (b"GET / HTTP/1.1\r\n", "method_refused"),
        (b"G", "method_refused"),
        (b"CONNECTX", "method_refused"),
        (b"CONNECT,", "bad_request"),
        (b"\x00", "bad_request"),
        (b"\r\n", "bad_request"),
        (b" ", "bad_request"),
        (b"x" * 40, "bad_request"),
        (b"CONNECT a:1\n", "bad_request"),
    ],
)
def test_garbage_gets_its_answer_at_once(begin: bytes, reason: str) -> None:
    """Without the rest of the head."""
    with pytest.raises(BadMessage) as caught:
        read(begin)
    assert caught.value.reason == reason


@pytest.mark.parametrize("begin", [b"C", b"CONN", b"CONNECT", b"CONNECT ", b"CONNECT db:5432 HT"])
def test_what_may_become_good_is_waited_for(begin: bytes) -> None:
    """No verdict yet."""
    assert read(begin) is None


@pytest.mark.parametrize(("size", "good"), [(0, True), (1, False)])
def test_limits(size: int, good: bool) -> None:  # noqa: FBT001 - n and n + 1
    """Of the head and of the target."""
    limits = Limits(head_bytes=len(GOOD) - size)
    if good:
        assert read(GOOD, limits=limits)
    else:
        with pytest.raises(HeadTooLarge):
            read(GOOD, limits=limits)
    name = b"a" * (250 + size) + b":5432"
    raw = b"CONNECT " + name + b" HTTP/1.1\r\nHost: " + name + b"\r\n\r\n"
    if good:
        assert read(raw, limits=Limits(target_bytes=255))
    else:
        with pytest.raises(TargetTooLong):
            read(raw, limits=Limits(target_bytes=255))


def test_fields_may_be_longer_than_the_target() -> None:
    """Also while the head is not whole."""
    rest = GOOD.partition(b"\r\n")[2].replace(b"X: y", b"X: " + b"y" * 600)
    assert read(b"CONNECT db:5432 HTTP/1.1\r\n" + rest[:-2], rest[-2:], limits=Limits(target_bytes=256))


def test_a_target_without_an_end() -> None:
    """It is refused before the whole head would be too large."""
    with pytest.raises(TargetTooLong):
        read(b"CONNECT " + b"a" * 300, limits=Limits(target_bytes=256))


TARGETS = [
    b"db",
    b"db:",
    b"db:0",
    b"db:65536",
    b"db:+1",
    b":5432",
    b"me@db:5432",
    b"db:5432/",
    b"http://db:5432",
    b"[::1]",
]


@pytest.mark.parametrize(
    "raw",
    [
        GOOD.replace(b"Host: db:5432\r\n", b""),
        GOOD.replace(b"Host: db:5432", b"Host: DB:5432"),
        GOOD.replace(b"Host: db:5432", b"Host: db:5432, db:5432"),
        GOOD.replace(b"X: y", b"Host: db:5432"),
        GOOD.replace(b"X: y", b"Content-Length: 0"),
        GOOD.replace(b"X: y", b"Transfer-Encoding: identity"),
        GOOD.replace(b"X: y", b"Upgrade: websocket"),
        GOOD.replace(b"X: y", b"Expect: x"),
        GOOD.replace(b"X: y", b"Content_Length: 5"),
        GOOD.replace(b"X: y", b"X : y"),
        GOOD.replace(b"X: y", b"Connection: Host"),
        GOOD.replace(b"HTTP/1.1", b"HTTP/1.0"),
        GOOD.replace(b"HTTP/1.1", b"http/1.1"),
        GOOD.replace(b" db", b"\tdb"),
        GOOD.replace(b"CONNECT db:5432", b"CONNECT db:5432\x0b"),
        GOOD.replace(b"HTTP/1.1", b"HTTP/1.1 HTTP/1.1"),
        GOOD.replace(b"CONNECT", b"OPTIONS"),
        *(GOOD.replace(b"db:5432", target) for target in TARGETS),
    ],
)
def test_every_other_reading_is_refused(raw: bytes) -> None:
    """One way to write it."""
    with pytest.raises(BadMessage):
        read(raw)
