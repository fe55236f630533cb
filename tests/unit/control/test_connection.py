"""One connection of the control server: real bytes over loopback."""

import asyncio
import contextlib
import json
import random
import socket
import struct
from collections.abc import Callable

import h11
import pytest
from support.control import Caller, echo, get, post, serving

from proxy.control.connection import READ_AHEAD_BYTES, ControlLimits
from proxy.control.message import Request, Response

SHORT = ControlLimits(head_s=0.2, body_s=0.3, idle_s=0.25, linger_s=0.2)


def status(head: bytes) -> int:
    """The status of a head."""
    return int(head.split(b" ", 2)[1])


async def test_keep_alive_and_the_parts_of_a_request() -> None:
    """Two requests on one connection; path, query and body are told apart."""
    async with serving() as (_, port), Caller.to(port) as caller:
        assert (await caller.ask(get("/a/b?c=d&e?f")))[1] == b"GET /a/b?c=d&e?f 0"
        assert (await caller.ask(post(b"x" * 7, path="/p")))[1] == b"POST /p? 7"


async def test_fields_are_lower_case_joined_and_host_is_the_effective_one() -> None:
    """A handler has one reading of a field; in absolute-form the target's authority wins (RFC 9112 section 3.2.2)."""
    seen: list[Request] = []

    async def handler(request: Request) -> Response:
        seen.append(request)
        return Response(204)

    async with serving(handler) as (_, port), Caller.to(port) as caller:
        await caller.ask(get("http://Other:81/x", "X-One: a", "x-ONE: b", "Content-Type: text/plain"))
    assert seen[0].path == "/x"
    assert seen[0].fields == {"host": "Other:81", "x-one": "a, b", "content-type": "text/plain"}
    assert seen[0].peer is None


async def test_pipelined_requests_are_answered_in_order_one_at_a_time() -> None:
    """The first handler is the slowest, and still the first to answer; never two at once."""
    running = 0
    peak = 0

    async def handler(request: Request) -> Response:
        nonlocal running, peak
        running += 1
        peak = max(peak, running)
        await asyncio.sleep(0.05 if request.path == "/0" else 0)
        running -= 1
        return Response(200, request.path.encode() + request.body)

    async with serving(handler) as (_, port), Caller.to(port) as caller:
        await caller.say(get("/0") + post(b"body", path="/1") + get("/2") + b"\r\n" + get("/3"))
        assert [(await caller.hear())[1] for _ in range(4)] == [b"/0", b"/1body", b"/2", b"/3"]
    assert peak == 1


async def test_head_comes_as_get_and_has_no_body() -> None:
    """And the connection stays in step."""
    async with serving() as (_, port), Caller.to(port) as caller:
        await caller.say(get("/h", method="HEAD") + get("/next"))
        head = await caller.reader.readuntil(b"\r\n\r\n")
        assert b"Content-Length: 9\r\n" in head
        assert (await caller.hear())[1] == b"GET /next? 0"


async def test_byte_by_byte_and_chunked() -> None:
    """However it is cut, it is the same request."""
    wire = get("/c", "Transfer-Encoding: chunked", method="POST") + b"3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nT: v\r\n\r\n"
    async with serving() as (_, port), Caller.to(port) as caller:
        for at in range(len(wire)):
            await caller.say(wire[at : at + 1])
            if at % 16 == 0:
                await asyncio.sleep(0)
        assert (await caller.hear())[1] == b"POST /c? 7"


async def test_random_cuts_read_the_same_to_h11() -> None:
    """h11, as a client that did not write our codec, understands every answer."""
    rng = random.Random(7)
    wire = get("/1") + post(b"z" * 3000, path="/2") + get("/3", method="HEAD") + get("/4", "Connection: close")
    async with serving() as (_, port):
        for _ in range(20):
            async with Caller.to(port) as caller:
                rest = wire
                while rest:
                    cut = rng.randint(1, len(rest))
                    await caller.say(rest[:cut])
                    await asyncio.sleep(0)
                    rest = rest[cut:]
                assert judged(await caller.rest()) == [b"GET /1? 0", b"POST /2? 3000", b"", b"GET /4? 0"]


def judged(raw: bytes) -> list[bytes]:
    """What h11 reads from the answers to GET, POST, HEAD, GET."""
    judge = h11.Connection(h11.CLIENT)
    judge.receive_data(raw)
    bodies = []
    for method in ("GET", "POST", "HEAD", "GET"):
        judge.send(h11.Request(method=method, target="/", headers=[("Host", "test")]))
        judge.send(h11.EndOfMessage())
        body = b""
        while not isinstance(event := judge.next_event(), h11.EndOfMessage):
            assert not isinstance(event, type)
            body += bytes(event.data) if isinstance(event, h11.Data) else b""
        bodies.append(body)
        if method != "GET" or len(bodies) == 1:
            judge.start_next_cycle()
    return bodies


@pytest.mark.parametrize("chunked", [False, True])
async def test_body_of_n_and_n_plus_1_bytes(*, chunked: bool) -> None:
    """The limit is the last that is served; one more is 413 and the end, told before the rest has come."""
    limits = ControlLimits(max_body_bytes=1000, linger_s=0.2)
    for size, expected in ((1000, 200), (1001, 413)):
        body = b"y" * size
        wire = post(body)
        if chunked:
            wire = get("/", "Transfer-Encoding: chunked", method="POST") + b"%x\r\n%b\r\n0\r\n\r\n" % (size, body)
        async with serving(limits=limits) as (_, port), Caller.to(port) as caller:
            head, body = await caller.ask(wire)
            assert status(head) == expected
            assert (b"Connection: close" in head) == (expected == 413)


async def test_a_declared_length_beyond_the_limit_is_refused_at_once() -> None:
    """No byte of the body is waited for, and none of it is echoed."""
    async with serving(limits=ControlLimits(max_body_bytes=10)) as (_, port), Caller.to(port) as caller:
        head, body = await caller.ask(get("/", "Content-Length: 99999999999", "Expect: 100-continue", method="POST"))
        assert status(head) == 413
        assert json.loads(body)["detail"] == "the body is larger than 10 bytes"


async def test_the_answer_to_a_refused_body_is_not_eaten_by_a_reset() -> None:
    """The caller goes on sending what nobody wants, and still reads its 413 to the end."""
    async with serving(limits=ControlLimits(max_body_bytes=10)) as (_, port), Caller.to(port) as caller:
        await caller.say(get("/", "Content-Length: 5000000", method="POST"))
        for _ in range(50):
            await caller.say(b"z" * 10000)
            await asyncio.sleep(0)
        assert status((await caller.hear())[0]) == 413
        assert await caller.rest() == b""


async def test_expect_100_continue() -> None:
    """The caller that waits is told to go on; one that asks for anything else is refused."""
    async with serving() as (_, port):
        async with Caller.to(port) as caller:
            await caller.say(get("/", "Content-Length: 2", "Expect: 100-continue", method="POST"))
            assert await caller.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            assert (await caller.ask(b"ab"))[1] == b"POST /? 2"
        async with Caller.to(port) as caller:
            assert status((await caller.ask(get("/", "Expect: 200-ok")))[0]) == 417


@pytest.mark.parametrize(
    ("raw", "expected", "reason"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400, "bad_host"),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, "bad_version"),
        (get("/", "Content-Length: 1", "Transfer-Encoding: chunked", method="POST"), 400, "bad_framing"),
        (get("/", "Transfer-Encoding: gzip, chunked", method="POST"), 501, "coding_unknown"),
        (get("/" + "a" * 9000), 414, "target_too_long"),
        (get("/", *["A: b"] * 201), 431, "too_many_fields"),
        (get("/", "A: " + "b" * 70000), 431, "head_too_large"),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 501, "method_refused"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 40, 400, "bad_request"),
        (b"\x00" * 100, 400, "bad_request"),
    ],
)
async def test_what_the_codec_refuses_is_told_and_ends(raw: bytes, expected: int, reason: str) -> None:
    """A problem document with the reason, then the end; a request behind it is never served."""
    async with serving(limits=SHORT) as (_, port), Caller.to(port) as caller:
        head, body = await caller.ask(raw + get("/smuggled"))
        assert (status(head), json.loads(body)["reason"]) == (expected, reason)
        assert b"Connection: close" in head
        assert await caller.rest() == b""


async def test_http_1_0_is_answered_and_ends() -> None:
    """An old probe gets its answer."""
    async with serving(limits=ControlLimits(linger_s=30)) as (_, port), Caller.to(port) as caller:
        await caller.say(b"GET /old HTTP/1.0\r\n\r\n")
        assert (await caller.rest(3)).endswith(b"GET /old? 0")  # the end is told, not lingered out


async def test_a_handler_that_fails_is_500_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The caller learns nothing of the fault; the log has all of it."""

    async def handler(_: Request) -> Response:
        raise RuntimeError("the database burns")

    async with serving(handler, limits=SHORT) as (_, port), Caller.to(port) as caller:
        head, body = await caller.ask(get())
        assert status(head) == 500
        assert b"burns" not in body
        assert await caller.rest() == b""
    assert "the database burns" in caplog.text


async def test_a_handler_that_makes_an_unsendable_answer_is_500() -> None:
    """A response is checked before its first byte goes out."""

    async def handler(_: Request) -> Response:
        return Response(200, b"x", fields=(("X", "a\r\nSet-Cookie: b"),))

    async with serving(handler, limits=SHORT) as (_, port), Caller.to(port) as caller:
        head, _ = await caller.ask(get())
        assert status(head) == 500
        assert b"Set-Cookie" not in head


@pytest.mark.parametrize(
    ("begun", "answer"),
    [
        (b"", b""),
        (b"GET / HTTP/1.1\r\nHo", b"HTTP/1.1 408 "),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab", b"HTTP/1.1 408 "),
    ],
)
async def test_each_wait_has_its_deadline(begun: bytes, answer: bytes) -> None:
    """Silence ends; a head or a body that does not come is told so first."""
    async with serving(limits=SHORT) as (server, port), Caller.to(port) as caller:
        await caller.say(begun)
        assert (await caller.rest())[:13] == answer
        await until(lambda: len(server) == 0)


@pytest.mark.parametrize(
    "begun",
    [b"GET / HTTP/1.1\r\nHost: a\r\nX: ", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 500\r\n\r\n"],
)
async def test_dripping_does_not_move_a_deadline(begun: bytes) -> None:
    """One byte every 50 ms: the head is due as a whole (slow loris), and so is the body."""
    async with serving(limits=SHORT) as (_, port), Caller.to(port) as caller:
        await caller.say(begun)
        heard = b""
        for _ in range(30):
            caller.writer.write(b"a")
            with contextlib.suppress(TimeoutError):
                heard += await asyncio.wait_for(caller.reader.read(100), 0.05)
            if heard:
                break
        assert heard.startswith(b"HTTP/1.1 408 ")


async def test_the_idle_deadline_begins_anew_after_an_answer() -> None:
    """A connection that is used is kept."""
    async with serving(limits=ControlLimits(idle_s=1)) as (_, port), Caller.to(port) as caller:
        for _ in range(4):
            assert status((await caller.ask(get()))[0]) == 200
            await asyncio.sleep(0.4)


class Sleeper:
    """A handler that never answers, and knows when it began and ended."""

    def __init__(self) -> None:
        self.began, self.ended = asyncio.Event(), asyncio.Event()

    async def __call__(self, _: Request) -> Response:
        """Sleep."""
        self.began.set()
        try:
            await asyncio.sleep(60)
        finally:
            self.ended.set()
        return Response(200)


async def test_a_handler_ends_with_its_connection() -> None:
    """Nobody waits for an answer: nothing goes on working at it."""
    sleeper = Sleeper()
    async with serving(sleeper) as (_, port):
        async with Caller.to(port) as caller:
            await caller.say(get())
            await sleeper.began.wait()
            sock = caller.writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            caller.writer.transport.abort()
        async with asyncio.timeout(20):
            await sleeper.ended.wait()


async def test_a_handler_that_never_answers_ends(caplog: pytest.LogCaptureFixture) -> None:
    """It must not hold a connection for ever, nor a caller that has half closed."""
    sleeper = Sleeper()
    async with serving(sleeper, limits=ControlLimits(answer_s=0.2)) as (server, port), Caller.to(port) as caller:
        await caller.say(get())
        caller.writer.write_eof()
        with contextlib.suppress(ConnectionResetError):
            assert await caller.rest() == b""
        await until(lambda: len(server) == 0 and sleeper.ended.is_set())
    assert "did not answer in 0.2 s" in caplog.text


async def test_half_close_is_answered_first() -> None:
    """``printf ... | nc``: the caller says that it will send no more, and gets all that it asked for."""
    async with serving() as (_, port), Caller.to(port) as caller:
        await caller.say(get("/1") + get("/2"))
        caller.writer.write_eof()
        raw = await caller.rest()
        assert raw.count(b"HTTP/1.1 200 OK") == 2
        assert raw.endswith(b"GET /2? 0")


async def test_end_in_the_middle_of_a_request_is_just_the_end() -> None:
    """No answer to half a request, no leftover."""
    for begun in (b"GET / HT", get("/", "Content-Length: 5", method="POST") + b"a"):
        async with serving() as (server, port), Caller.to(port) as caller:
            await caller.say(begun)
            caller.writer.write_eof()
            assert await caller.rest() == b""
            await until(lambda: len(server) == 0)


async def test_a_caller_that_does_not_read_holds_one_answer_and_then_ends() -> None:
    """Pipelining 100 requests for 1 MB each must not put 100 MB in memory."""
    served = 0

    async def handler(_: Request) -> Response:
        nonlocal served
        served += 1
        return Response(200, b"m" * 4_000_000)

    async with serving(handler, limits=SHORT) as (server, port), Caller.to(port) as caller:
        caller.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await caller.say(get() * 100)
        await until(lambda: len(server) == 0)
    assert served <= 3


async def test_nothing_is_done_for_a_caller_that_does_not_read() -> None:
    """Also not for what it asks later; when it reads again, all of it is answered."""
    served = 0

    async def handler(_: Request) -> Response:
        nonlocal served
        served += 1
        return Response(200, b"m" * 8_000_000)

    async with serving(handler) as (_, port), Caller.to(port) as caller:
        caller.writer.transport.pause_reading()  # type: ignore[attr-defined]
        for _ in range(3):
            await caller.say(get())
            await asyncio.sleep(0.05)
        assert served == 1
        caller.writer.transport.resume_reading()  # type: ignore[attr-defined]
        for _ in range(3):
            assert len((await caller.hear())[1]) == 8_000_000


async def test_pipelined_bytes_wait_in_the_kernel() -> None:
    """While a handler runs, what is read ahead is bounded; afterwards all of it is served."""
    gate = asyncio.Event()

    async def handler(request: Request) -> Response:
        await gate.wait()
        return await echo(request)

    padded = get("/", "X: " + "p" * 8000)
    count = 40 * READ_AHEAD_BYTES // len(padded)
    async with serving(handler) as (server, port), Caller.to(port) as caller:
        caller.writer.write(padded * count)
        await asyncio.sleep(0.3)
        (connection,) = server._serving.connections
        assert connection._decoder.buffered_bytes < READ_AHEAD_BYTES * 6
        gate.set()
        for _ in range(count):
            assert status((await caller.hear())[0]) == 200


async def until(true: Callable[[], bool]) -> None:
    """Wait for a condition, not for ever."""
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.01)
