"""The known attacks on framing and on what a sidecar says of a caller, one by one, by name.

Each is sent in front of a second request, as an attacker would: either the whole is refused, or exactly one request is
found in it and the second follows as itself.
"""

import pytest
from support.attacks import SMUGGLED
from support.http1 import byte_by_byte, read_requests
from support.odd_http1 import ODD_CHUNKS

from proxy.http1.grammar import OWNED
from proxy.http1.message import RequestHead

HOST = b"Host: victim\r\n"
POST = b"POST / HTTP/1.1\r\n" + HOST
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
BODY = b"5\r\nhello\r\n0\r\n\r\n"

REFUSED: dict[str, tuple[bytes, str]] = {
    "CL.TE": (POST + b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG", "bad_framing"),
    "TE.CL": (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n" + BODY, "bad_framing"),
    "TE.TE, one of them unknown": (
        POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n\r\n" + BODY,
        "bad_framing",
    ),
    "TE.TE, two lines": (
        POST + b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n" + BODY,
        "coding_unknown",
    ),
    "TE xchunked": (POST + b"Transfer-Encoding: xchunked\r\n\r\n" + BODY, "bad_framing"),
    "TE with a vertical tab": (POST + b"Transfer-Encoding: chunked\x0b\r\n\r\n" + BODY, "bad_request"),
    "TE behind a vertical tab": (POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n" + BODY, "bad_request"),
    "TE with obs-text": (POST + b"Transfer-Encoding: chunked\xa0\r\n\r\n" + BODY, "bad_framing"),
    "TE in quotes": (POST + b'Transfer-Encoding: "chunked"\r\n\r\n' + BODY, "bad_framing"),
    "TE with a parameter": (POST + b"Transfer-Encoding: chunked;a=b\r\n\r\n" + BODY, "bad_framing"),
    "TE on a folded line": (POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n" + BODY, "bad_request"),
    "TE behind a blank": (POST + b" Transfer-Encoding: chunked\r\n\r\n" + BODY, "bad_request"),
    "TE with a blank before the colon": (POST + b"Transfer-Encoding : chunked\r\n\r\n" + BODY, "bad_request"),
    "TE with a tab before the colon": (POST + b"Transfer-Encoding\t: chunked\r\n\r\n" + BODY, "bad_request"),
    "TE behind a lone LF": (POST + b"X: y\nTransfer-Encoding: chunked\r\n\r\n" + BODY, "bad_request"),
    "TE behind a lone CR": (POST + b"X: y\rTransfer-Encoding: chunked\r\n\r\n" + BODY, "bad_request"),
    "TE between a lone CR and a lone LF": (POST + b"X: y\rz\nTransfer-Encoding: chunked\r\n\r\n" + BODY, "bad_request"),
    "TE behind a NUL": (POST + b"X: y\0Transfer-Encoding: chunked\r\n\r\n" + BODY, "bad_request"),
    "TE in HTTP/1.0": (b"POST / HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n" + BODY, "bad_framing"),
    "TE with an underscore": (POST + b"Transfer_Encoding: chunked\r\n\r\n" + BODY, "owned_field"),
    "TE empty": (POST + b"Transfer-Encoding:\r\nContent-Length: 5\r\n\r\nhello", "bad_framing"),
    "CL twice": (POST + b"Content-Length: 5\r\nContent-Length: 0\r\n\r\nhello", "bad_framing"),
    "CL twice, equal": (POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", "bad_framing"),
    "CL as a list": (POST + b"Content-Length: 5, 5\r\n\r\nhello", "bad_framing"),
    "CL with a sign": (POST + b"Content-Length: +5\r\n\r\nhello", "bad_framing"),
    "CL below zero": (POST + b"Content-Length: -5\r\n\r\nhello", "bad_framing"),
    "CL with an underscore between": (POST + b"Content-Length: 1_0\r\n\r\nhellohello", "bad_framing"),
    "CL in hexadecimal": (POST + b"Content-Length: 0x5\r\n\r\nhello", "bad_framing"),
    "CL in other digits": (POST + "Content-Length: \u0665\r\n\r\nhello".encode(), "bad_framing"),
    "CL with a form feed": (POST + b"Content-Length: 5\x0c\r\n\r\nhello", "bad_request"),
    "CL of nothing": (POST + b"Content-Length:\r\n\r\nhello", "bad_framing"),
    "CL beyond 64 bits": (POST + b"Content-Length: 18446744073709551621\r\n\r\nhello", "bad_framing"),
    "CL with an underscore in its name": (POST + b"Content_Length: 5\r\n\r\nhello", "owned_field"),
    "Host twice": (b"GET / HTTP/1.1\r\n" + HOST + b"Host: other\r\n\r\n", "bad_host"),
    "Host behind a blank": (b"GET / HTTP/1.1\r\n Host: other\r\n" + HOST + b"\r\n", "bad_request"),
    "Host missing": (b"GET / HTTP/1.1\r\n\r\n", "bad_host"),
    "Host with a path": (b"GET / HTTP/1.1\r\nHost: victim/x\r\n\r\n", "bad_host"),
    "Host with userinfo": (b"GET / HTTP/1.1\r\nHost: victim@other\r\n\r\n", "bad_host"),
    "absolute-form with userinfo": (b"GET http://victim@other/ HTTP/1.1\r\n" + HOST + b"\r\n", "bad_host"),
    "absolute-form with a backslash": (b"GET http://victim\\@other/ HTTP/1.1\r\n" + HOST + b"\r\n", "bad_host"),
    "CONNECT in origin-form": (b"CONNECT / HTTP/1.1\r\n" + HOST + b"\r\n", "method_refused"),
    "a request line with two blanks": (b"GET / x HTTP/1.1\r\n" + HOST + b"\r\n", "bad_request"),
    "a request line in tabs": (b"GET\t/\tHTTP/1.1\r\n" + HOST + b"\r\n", "bad_request"),
    "HTTP/0.9": (b"GET /\r\n" + HOST + b"\r\n", "bad_request"),
    "HTTP/2 by prior knowledge": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "bad_version"),
    "Connection drops the token": (
        b"GET / HTTP/1.1\r\n" + HOST + b"Txn-Token: a\r\nConnection: Txn-Token\r\n\r\n",
        "owned_field",
    ),
    "Connection drops the caller": (
        b"GET / HTTP/1.1\r\n" + HOST + b"Connection: close, x-forwarded-client-cert\r\n\r\n",
        "owned_field",
    ),
    "Connection drops Host": (b"GET / HTTP/1.1\r\n" + HOST + b"Connection: host\r\n\r\n", "owned_field"),
    "Connection drops the length": (
        POST + b"Content-Length: 5\r\nConnection: Content-Length\r\n\r\nhello",
        "owned_field",
    ),
    "Connection is no list of tokens": (b"GET / HTTP/1.1\r\n" + HOST + b"Connection: close\xa0\r\n\r\n", "bad_request"),
    "a token with an underscore": (b"GET / HTTP/1.1\r\n" + HOST + b"Txn_Token: evil\r\n\r\n", "owned_field"),
    "a caller with underscores": (
        b"GET / HTTP/1.1\r\n" + HOST + b"X_Forwarded_Client_Cert: evil\r\n\r\n",
        "owned_field",
    ),
    "a caller with one underscore": (
        b"GET / HTTP/1.1\r\n" + HOST + b"X-Forwarded-Client_Cert: evil\r\n\r\n",
        "owned_field",
    ),
    "a token with a dot": (b"GET / HTTP/1.1\r\n" + HOST + b"Txn.Token: evil\r\n\r\n", "owned_field"),
    "a token behind CR and LF apart": (
        b"GET / HTTP/1.1\r\n" + HOST + b"X: a\rb\nTxn-Token: evil\r\n\r\n",
        "bad_request",
    ),
    "a chunk size with a sign": (CHUNKED + b"+5\r\nhello\r\n0\r\n\r\n", "bad_framing"),
    "a chunk size with 0x": (CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n", "bad_framing"),
    "a chunk size with an underscore": (CHUNKED + b"0_5\r\nhello\r\n0\r\n\r\n", "bad_framing"),
    "a chunk size beyond 64 bits": (CHUNKED + b"10000000000000005\r\nhello\r\n0\r\n\r\n", "bad_framing"),
    "a chunk line that ends in LF": (CHUNKED + b"5\nhello\r\n0\r\n\r\n", "bad_framing"),
    "a chunk extension that ends in LF": (CHUNKED + b"5;a\nhello\r\n0\r\n\r\n", "bad_framing"),
    "a chunk extension with a lone CR": (CHUNKED + b"5;a\rb\r\nhello\r\n0\r\n\r\n", "bad_framing"),
    "a chunk extension with an open quote": (CHUNKED + b'5;a="\r\nhello\r\n0\r\n\r\n', "bad_framing"),
    "a chunk that ends in LF": (CHUNKED + b"5\r\nhello\n0\r\n\r\n", "bad_framing"),
    "a chunk that is too long": (CHUNKED + b"5\r\nhello!\r\n0\r\n\r\n", "bad_framing"),
    "a last chunk that ends in LF": (CHUNKED + b"5\r\nhello\r\n0\n\r\n", "bad_framing"),
    "a trailer of framing": (CHUNKED + b"0\r\nContent-Length: 40\r\n\r\n", "bad_framing"),
    "a trailer that imitates the token": (CHUNKED + b"0\r\nTxn_Token: evil\r\n\r\n", "owned_field"),
    "trailers that end in LF": (CHUNKED + b"0\r\nX: y\n\n", "bad_request"),
}

ONE_REQUEST: dict[str, bytes] = {
    "GET with a body": b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello",
    "GET in chunks": b"GET / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n" + BODY,
    "a request in a body": POST + b"Content-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED,
    "a request in a chunk": CHUNKED + b"%x\r\n" % len(SMUGGLED) + SMUGGLED + b"\r\n0\r\n\r\n",
    "a length with leading zeros": POST + b"Content-Length: 0005\r\n\r\nhello",
    "a length within tabs": POST + b"Content-Length: \t5\t \r\n\r\nhello",
    "chunked in capitals": POST + b"TRANSFER-ENCODING: CHUNKED\r\n\r\n" + BODY,
    "a last chunk of many zeros": CHUNKED + b"5\r\nhello\r\n00000\r\n\r\n",
    "an extension with a quoted CRLF in words": CHUNKED + b'5;a="\\r\\n0"\r\nhello\r\n0\r\n\r\n',
    "absolute-form against Host": b"GET http://other/a HTTP/1.1\r\n" + HOST + b"\r\n",
    "a trailer with the token": CHUNKED + b"0\r\nTxn-Token: evil\r\nX-Forwarded-Client-Cert: evil\r\n\r\n",
    "Connection names a field": b"GET / HTTP/1.1\r\n" + HOST + b"X-A: b\r\nConnection: x-a, transfer-encoding\r\n\r\n",
    "HTTP/2 by upgrade": b"GET / HTTP/1.1\r\n" + HOST + b"Upgrade: h2c\r\nHTTP2-Settings: AAA\r\n\r\n",
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_attack_is_refused(name: str) -> None:
    """With its reason, whole and one byte at a time, and nothing behind it is read."""
    wire, reason = REFUSED[name]
    for pieces in ([wire + SMUGGLED], byte_by_byte(wire + SMUGGLED)):
        reading = read_requests(pieces)
        assert reading.reason == reason
        assert not any(message.complete for message in reading.messages)


@pytest.mark.parametrize("name", ONE_REQUEST)
def test_what_is_allowed_is_one_request(name: str) -> None:
    """And the next one follows as itself."""
    wire = ONE_REQUEST[name]
    for pieces in ([wire + SMUGGLED], byte_by_byte(wire + SMUGGLED)):
        reading = read_requests(pieces)
        assert reading.whole
        assert [isinstance(message.head, RequestHead) and message.head.target for message in reading.messages][1:] == [
            b"/smuggled"
        ]
        assert len(reading.messages) == 2
        names = {
            line.partition(b":")[0].lower() for line in (*reading.messages[0].head.lines, *reading.messages[0].trailers)
        }
        assert not names & OWNED


def test_what_absolute_form_says_wins_over_host() -> None:
    """The effective authority is the one that is decided on, and the one that is sent."""
    head = read_requests([ONE_REQUEST["absolute-form against Host"]]).messages[0].head
    assert isinstance(head, RequestHead)
    assert (head.target, head.authority) == (b"/a", b"other")
    assert not any(line.lower().startswith(b"host:") for line in head.lines)


def test_what_connection_names_is_gone() -> None:
    """Before anybody decides on the fields."""
    head = read_requests([ONE_REQUEST["Connection names a field"]]).messages[0].head
    assert head.lines == []


def test_a_chunk_with_a_trick_never_changes_where_the_message_ends() -> None:
    """Either the body is refused, or the request behind it is found."""
    for chunk in ODD_CHUNKS:
        reading = read_requests([CHUNKED + chunk + b"0\r\n\r\n" + SMUGGLED])
        if reading.whole:
            targets = [message.head.target for message in reading.messages if isinstance(message.head, RequestHead)]
            assert targets == [b"/", b"/smuggled"], chunk
