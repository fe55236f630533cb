"""Both decoders: what they give, when they refuse, and how a connection goes on or ends."""

import pytest
from support.http1 import byte_by_byte, read_requests, read_responses

from proxy.errors import BadFraming, BadMessage, BadRequest, BadVersion, TargetTooLong, UpstreamBadResponse
from proxy.http1 import decoder as decoding
from proxy.http1.decoder import RequestDecoder, ResponseDecoder
from proxy.http1.limits import Limits
from proxy.http1.message import CHUNKED, END, UNTIL_CLOSE, EndOfMessage, RequestHead, ResponseHead

LIMITS = Limits()
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"
CHUNKS = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def decoder_of(wire: bytes) -> RequestDecoder:
    """A request decoder that has received something."""
    decoder = RequestDecoder(LIMITS)
    decoder.receive(wire)
    return decoder


def answer(wire: bytes, method: bytes = b"GET") -> ResponseDecoder:
    """A response decoder that expects an answer and has received something."""
    decoder = ResponseDecoder(LIMITS)
    decoder.expect(method)
    decoder.receive(wire)
    return decoder


class TestRequests:
    """RequestDecoder."""

    def test_a_request_without_body_is_its_head(self) -> None:
        """No end follows a head of length 0."""
        decoder = decoder_of(GET)
        assert isinstance(decoder.next_event(), RequestHead)
        assert decoder.next_event() is None
        assert decoder.buffered_bytes == 0

    @pytest.mark.parametrize("wire", [POST + b"hello", CHUNKS + b"5\r\nhello\r\n0\r\n\r\n"])
    def test_a_body_is_data_then_its_end(self, wire: bytes) -> None:
        """Counted and chunked alike; the next message begins behind it."""
        decoder = decoder_of(wire + GET)
        assert isinstance(decoder.next_event(), RequestHead)
        assert decoder.next_event() == b"hello"
        assert isinstance(decoder.next_event(), EndOfMessage)
        assert isinstance(decoder.next_event(), RequestHead)
        assert decoder.next_event() is None

    def test_requests_come_one_after_the_other(self) -> None:
        """Pipelined, in one buffer, each is given in its order."""
        wire = GET + POST + b"hello" + CHUNKS + b"0\r\n\r\n" + GET
        reading = read_requests([wire])
        assert reading.whole
        assert [message.body for message in reading.messages] == [b"", b"hello", b"", b""]

    @pytest.mark.parametrize("before", [b"\r\n", b""])
    def test_one_empty_line_may_come_before_a_request(self, before: bytes) -> None:
        """Before each, however it is cut (RFC 9112 section 2.2)."""
        wire = before + GET + before + POST + b"hello" + before + GET
        assert read_requests([wire]).whole
        assert len(read_requests(byte_by_byte(wire)).messages) == 3

    @pytest.mark.parametrize("before", [b"\r\n\r\n", b"\n", b"\r\r\n", b"\r", b" \r\n", b"\n\r\n", b"\r\n\n"])
    def test_anything_else_before_a_request_is_refused(self, before: bytes) -> None:
        """Two empty lines, a bare LF, a bare CR, a blank line that is not empty."""
        assert read_requests([before + GET]).reason == "bad_request"
        assert read_requests(byte_by_byte(before + GET)).reason == "bad_request"
        assert read_requests([GET + before + GET]).reason == "bad_request"

    @pytest.mark.parametrize(
        "last", [b"GET / HTTP/1.0\r\nHost: a\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"]
    )
    def test_nothing_is_read_behind_the_last_request(self, last: bytes) -> None:
        """Neither a message nor garbage: the answer comes, then the end (RFC 9112 section 9.6)."""
        for rest in (GET, b"garbage", b"\n"):
            decoder = decoder_of(last + rest)
            assert isinstance(decoder.next_event(), RequestHead)
            assert decoder.next_event() is None
            assert not decoder.in_head
            decoder.receive_eof()
            assert decoder.release() == rest

    def test_the_body_of_the_last_request_is_read(self) -> None:
        """Close says what comes after the message, not within it."""
        wire = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhelloGET /"
        reading = read_requests([wire])
        assert (len(reading.messages), reading.messages[0].body, reading.whole) == (1, b"hello", True)

    def test_in_head_tells_a_head_that_has_begun(self) -> None:
        """So that its deadline runs from then."""
        decoder = RequestDecoder(LIMITS)
        states = []
        for piece in (b"\r", b"\n", b"G", b"ET / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r", b"\n", b"o", b"k"):
            decoder.receive(piece)
            while decoder.next_event() is not None:
                pass
            states.append(decoder.in_head)
        assert states == [True, False, True, True, False, False, False]

    @pytest.mark.parametrize(
        ("begin", "refusal"),
        [
            (b"\x16\x03\x01\x02\x00", BadRequest),
            (b'{"a":', BadRequest),
            (b"GET\x00", BadRequest),
            (b"GET\r", BadRequest),
            (b" ", BadRequest),
            (b"A" * 33, BadRequest),
            (b"GET / HTTP/1.1\n", BadRequest),
            (b"GET / HTTP/1.1\r\nHost: a\n\n", BadRequest),
            (b"GET / FTP/1.1\r\n", BadRequest),
            (b"PRI * HTTP/2.0\r\n", BadVersion),
            (b"GET /" + b"a" * 8300, TargetTooLong),
        ],
    )
    def test_a_head_that_cannot_become_good_is_refused_at_once(self, begin: bytes, refusal: type[BadMessage]) -> None:
        """Garbage gets its answer without waiting for an end of the head that never comes."""
        with pytest.raises(refusal):
            decoder_of(begin).next_event()

    @pytest.mark.parametrize(
        "begin", [b"G", b"GET", b"A" * 32, b"GET /", b"GET / HTTP/1.1\r", b"GET / HTTP/1.1\r\nX: \r\n\r"]
    )
    def test_a_head_that_may_become_good_is_waited_for(self, begin: bytes) -> None:
        """No refusal, no event."""
        assert decoder_of(begin).next_event() is None

    def test_a_lone_lf_is_seen_wherever_the_bytes_are_cut(self) -> None:
        """The search goes on where it stopped, and a CRLF that was cut in two is none."""
        good, bad = b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\nZ: ", b"GET / HTTP/1.1\r\nHost: a\r\nX: y\nZ: "
        for at in range(1, len(bad)):
            decoder = decoder_of(good[:at])
            assert decoder.next_event() is None
            decoder.receive(good[at:])
            assert decoder.next_event() is None
            assert read_requests([bad[:at], bad[at:]]).reason == "bad_request"

    @pytest.mark.parametrize(
        ("wire", "refusal"),
        [
            (b"", None),
            (GET, None),
            (b"\r\n", None),
            (POST + b"hello", None),
            (b"\r", BadRequest),
            (b"GET", BadRequest),
            (GET[:-1], BadRequest),
            (POST, BadFraming),
            (POST + b"hell", BadFraming),
            (CHUNKS + b"5\r\nhello\r\n", BadFraming),
            (CHUNKS + b"0\r\n", BadFraming),
            (CHUNKS + b"0\r\nX: y\r\n", BadFraming),
        ],
    )
    def test_the_stream_ends_between_messages_or_is_refused(
        self, wire: bytes, refusal: type[BadMessage] | None
    ) -> None:
        """A short body is never taken for a whole one."""
        decoder = decoder_of(wire)
        while decoder.next_event() is not None:
            pass
        if refusal is None:
            decoder.receive_eof()
        else:
            with pytest.raises(refusal):
                decoder.receive_eof()

    def test_wants_more_tells_a_body_that_has_given_all_it_has(self) -> None:
        """Then, and only then, asking again is in vain; the end of a counted body needs no more bytes."""
        for wire, body in ((POST, b"hello"), (CHUNKS, b"5\r\nhello\r\n")):
            decoder = RequestDecoder(LIMITS)
            states = []
            for piece in (wire, body[:-3]):
                decoder.receive(piece)
                states.append(decoder.wants_more)
                assert decoder.next_event() is not None
                states.append(decoder.wants_more)
            assert states == [False, True, False, True]
        decoder = decoder_of(POST + b"hello")
        states = []
        while decoder.next_event() is not None:
            states.append(decoder.wants_more)
        assert states == [False, False, False]

    def test_release_gives_up_what_is_buffered(self) -> None:
        """Once, and the decoder holds nothing of it."""
        decoder = decoder_of(GET + b"\x81\x00")
        decoder.next_event()
        assert decoder.buffered_bytes == 2
        assert decoder.release() == b"\x81\x00"
        assert (decoder.buffered_bytes, decoder.release()) == (0, b"")

    def test_what_connection_names_is_no_trailer(self) -> None:
        """In a chunked request (RFC 9110 section 7.6.1)."""
        head = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: X-Hop\r\nTransfer-Encoding: chunked\r\n\r\n"
        reading = read_requests([head + b"0\r\nX-Hop: 1\r\nX-End: 2\r\n\r\n"])
        assert reading.messages[0].trailers == (b"X-End: 2",)


class TestResponses:
    """ResponseDecoder."""

    @pytest.mark.parametrize(
        ("wire", "method", "body"),
        [
            (OK, b"GET", b"ok"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", b"GET", b"ok"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"GET", b""),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", b"HEAD", b""),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"HEAD", b""),
            (b"HTTP/1.1 200 OK\r\n\r\n", b"HEAD", b""),
            (b"HTTP/1.1 204 No Content\r\n\r\n", b"GET", b""),
            (b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", b"GET", b""),
            (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", b"GET", b""),
            (b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", b"GET", b""),
            (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", b"GET", b"ok"),
        ],
    )
    def test_an_answer_ends_by_its_framing_and_the_connection_stays(
        self, wire: bytes, method: bytes, body: bytes
    ) -> None:
        """Whole or one byte at a time: the decoder is idle again behind the answer, and reads the next one."""
        for pieces in ([wire], byte_by_byte(wire), [wire + wire], byte_by_byte(wire * 3)):
            reading = read_responses(pieces, method)
            assert reading.whole
            assert {message.body for message in reading.messages} == {body}
            assert all(message.head.keep_alive for message in reading.messages)
        decoder = answer(wire, method)
        while decoder.next_event() is not None:
            pass
        assert decoder.idle
        assert decoder.receive_eof() is None

    @pytest.mark.parametrize("version", [b"HTTP/1.0", b"HTTP/1.1"])
    def test_an_answer_without_framing_ends_with_the_connection(self, version: bytes) -> None:
        """Its length says so, and the end comes with the end of the stream."""
        decoder = answer(version + b" 200 OK\r\n\r\n")
        head = decoder.next_event()
        assert isinstance(head, ResponseHead)
        assert (head.length, head.keep_alive) == (UNTIL_CLOSE, False)
        decoder.receive(b"anything\r\n\r\n")
        assert decoder.next_event() == b"anything\r\n\r\n"
        assert decoder.next_event() is None
        assert not decoder.idle
        assert decoder.receive_eof() is END
        assert decoder.idle

    def test_interim_answers_come_before_the_final_one(self) -> None:
        """Several, each without a body whatever it declares (specs 6.6)."""
        wire = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\nLink: x\r\n\r\n" + OK
        for pieces in ([wire], byte_by_byte(wire)):
            reading = read_responses(pieces)
            assert [message.facts[0] for message in reading.messages] == [100, 103, 200]
            assert reading.whole

    def test_an_interim_answer_is_not_the_answer(self) -> None:
        """The connection is not idle behind it, and its end is a failure."""
        decoder = answer(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert isinstance(decoder.next_event(), ResponseHead)
        assert not decoder.idle
        with pytest.raises(UpstreamBadResponse):
            decoder.receive_eof()

    def test_101_ends_http_on_the_connection(self) -> None:
        """What came behind it belongs to the tunnel."""
        decoder = answer(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\x81\x00"
        )
        head = decoder.next_event()
        assert isinstance(head, ResponseHead)
        assert (head.status, head.length) == (101, 0)
        assert decoder.release() == b"\x81\x00"

    @pytest.mark.parametrize("garbage", [b"x", b"\r\n", b"\n", OK, b"HTTP/1.1 100 Continue\r\n\r\n", b"0\r\n\r\n"])
    def test_bytes_that_no_request_asked_for_are_refused(self, garbage: bytes) -> None:
        """Before a request, and behind an answer: they are never delivered to the next (specs 6.8)."""
        decoder = ResponseDecoder(LIMITS)
        decoder.receive(garbage)
        assert not decoder.idle
        with pytest.raises(UpstreamBadResponse):
            decoder.next_event()
        decoder = answer(OK + garbage)
        for _ in range(3):
            decoder.next_event()
        assert not decoder.idle
        with pytest.raises(UpstreamBadResponse):
            decoder.next_event()

    @pytest.mark.parametrize(
        "wire",
        [
            *(
                b"x",
                b"HTTP/2",
                b"HTTP/1.1\n",
                b"\r\nHTTP/1.1 200 OK\r\n\r\n",
                b" HTTP/1.1 200 OK\r\n\r\n",
                b"SSH-2.0-x\r\n",
            ),
            *(
                b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
                b"HTTP/1.1 200 OK\r\nX : y\r\n\r\n",
                b"HTTP/1.1 200 OK\r\n X: y\r\n\r\n",
            ),
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"HTTP/1.1 204 No Content\r\nContent-Length: x\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nConnection: content-length\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 5\r\n\r\n",
        ],
    )
    def test_an_answer_that_breaks_a_rule_is_refused_as_the_upstream_s_fault(self, wire: bytes) -> None:
        """Every reason of the codec becomes the one that blames the right side."""
        for pieces in ([wire], byte_by_byte(wire)):
            reading = read_responses(pieces)
            assert reading.reason == "upstream_bad_response"
            assert isinstance(reading.error, UpstreamBadResponse)
            assert isinstance(reading.error.__cause__, BadMessage)

    @pytest.mark.parametrize(
        "wire",
        [
            *(
                b"",
                b"HTTP/1.1 200",
                OK[:-2],
                OK[:-1],
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
            ),
            *(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"),
        ],
    )
    def test_an_end_inside_an_answer_is_refused(self, wire: bytes) -> None:
        """Before it, in its head, in a counted body, in a chunked one, behind an interim answer."""
        reading = read_responses([wire], eof=True)
        assert reading.reason == "upstream_bad_response"

    def test_a_connection_that_was_idle_may_end(self) -> None:
        """Nobody waits for anything."""
        assert ResponseDecoder(LIMITS).receive_eof() is None

    def test_the_count_of_interim_answers_begins_anew_with_each_request(self) -> None:
        """A long life of a connection is no loop."""
        decoder = ResponseDecoder(Limits(interim_responses=1))
        for _ in range(3):
            decoder.expect(b"GET")
            decoder.receive(b"HTTP/1.1 100 Continue\r\n\r\n" + OK)
            events = [decoder.next_event() for _ in range(5)]
            assert [type(event) for event in events[:2]] == [ResponseHead, ResponseHead]
            assert decoder.idle

    @pytest.mark.parametrize(
        ("wire", "whole", "rest"),
        [
            (OK, b"ok", []),
            (OK[:-1], None, [b"o"]),
            (OK + b"!", None, [b"ok", END]),
            (OK[:-2], None, []),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", None, [b"ok", END]),
            (b"HTTP/1.1 200 OK\r\n\r\nok", None, [b"ok"]),
        ],
    )
    def test_a_small_answer_may_be_taken_at_once(self, wire: bytes, whole: bytes | None, rest: list[object]) -> None:
        """Only a counted body that is there to its last byte, and nothing behind it; else the events come as ever."""
        decoder = answer(wire)
        assert isinstance(decoder.next_event(), ResponseHead)
        assert decoder.whole_body() == whole
        assert decoder.idle is (whole is not None)
        assert decoder.whole_body() is None
        assert [decoder.next_event() for _ in rest] == rest

    def test_what_is_taken_at_once_is_never_nothing(self) -> None:
        """Behind the last byte there is the end, not an empty piece."""
        decoder = answer(OK)
        decoder.next_event()
        assert decoder.next_event() == b"ok"
        assert decoder.whole_body() is None
        assert decoder.next_event() is END
        assert ResponseDecoder(LIMITS).whole_body() is None

    def test_a_chunked_answer_keeps_its_trailers(self) -> None:
        """Those that may be forwarded, less what Connection names."""
        wire = b"HTTP/1.1 200 OK\r\nConnection: x-hop\r\nTransfer-Encoding: chunked\r\n\r\n0\r\ngrpc-status: 0\r\nX-Hop: 1\r\n\r\n"
        decoder = answer(wire)
        head = decoder.next_event()
        assert isinstance(head, ResponseHead)
        assert head.length is CHUNKED
        end = decoder.next_event()
        assert isinstance(end, EndOfMessage)
        assert end.trailers == (b"grpc-status: 0",)


@pytest.mark.parametrize("size", [decoding._SMALL_HEAD_BYTES + more for more in (-1, 0, 1)])
@pytest.mark.parametrize("tail", [b"", GET, GET + GET, b"\r\n\r\n"])
def test_a_head_is_read_alike_whatever_stands_behind_it(size: int, tail: bytes) -> None:
    """Split at once or searched for first: the same head, and nothing of the next one in it."""
    filler = size - len(GET) - len(b"X: \r\n")
    head = GET[:-2] + b"X: " + b"x" * filler + b"\r\n\r\n"
    assert len(head) == size
    decoder = decoder_of(head + tail)
    first = decoder.next_event()
    assert isinstance(first, RequestHead)
    assert first.lines == [b"X: " + b"x" * filler]
    assert decoder.buffered_bytes == len(tail)
