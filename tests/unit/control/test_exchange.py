"""The client's side of one connection: answers of every kind, good and bad."""

import pytest
from support.fetching import (
    Script,
    answer,
    fetching,
    scripted,
)

from proxy.control.exchange import MAX_ANSWER_BYTES
from proxy.errors import (
    UpstreamBadResponse,
    UpstreamReset,
)


async def test_every_kind_of_body() -> None:
    """Counted, chunked, until the end, none; interim answers are passed over."""
    for raw, body in (
        (answer(b"counted"), b"counted"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nT: r\r\n\r\n", b"abcde"),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", b"until the end"),
        (b"HTTP/1.0 200 OK\r\n\r\n", b""),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + answer(b"final"), b"final"),
    ):
        async with scripted(Script([raw], keep=False)) as url, fetching() as ask:
            assert (await ask("POST", url, body=b"x", timeout_s=5)).body == body


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"SSH-2.0-OpenSSH_9.9\r\n", "does not begin with HTTP/1"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "Content-Length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\na", "Content-Length"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "hexadecimal"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", "changes the protocol"),
        (answer(b"", "X: " + "y" * 70000), "larger than"),
    ],
)
async def test_a_bad_answer(raw: bytes, message: str) -> None:
    """Whatever breaks the grammar is a bad response, with the place where it came from."""
    async with scripted(Script([raw])) as url, fetching() as ask:
        with pytest.raises(UpstreamBadResponse, match=rf"127\.0\.0\.1:\d+: .*{message}"):
            await ask("GET", url, timeout_s=5)


@pytest.mark.parametrize("raw", [b"", b"HTTP/1.1 200 O", answer(b"abc")[:-1], b"HTTP/1.1 100 Continue\r\n\r\n"])
async def test_an_answer_that_ends_early(raw: bytes) -> None:
    """Half an answer is none."""
    async with scripted(Script([raw], keep=False)) as url, fetching() as ask:
        with pytest.raises(UpstreamReset, match="before the answer was whole"):
            await ask("POST", url, timeout_s=5)


@pytest.mark.parametrize("coding", ["counted", "chunked", "until the end"])
async def test_answer_of_n_and_n_plus_1_bytes(coding: str) -> None:
    """The cap holds in each framing."""
    for size in (MAX_ANSWER_BYTES, MAX_ANSWER_BYTES + 1):
        body = b"z" * size
        raw = {
            "counted": answer(body),
            "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (size, body),
            "until the end": b"HTTP/1.1 200 OK\r\n\r\n" + body,
        }[coding]
        async with scripted(Script([raw], keep=False)) as url, fetching() as ask:
            if size == MAX_ANSWER_BYTES:
                assert len((await ask("GET", url, timeout_s=10)).body) == size
            else:
                with pytest.raises(UpstreamBadResponse, match="larger than 1048576 bytes"):
                    await ask("GET", url, timeout_s=10)


async def test_bytes_that_nobody_asked_for_end_a_kept_connection() -> None:
    """An answer in advance is an answer to somebody else's question."""
    script = Script([answer(b"1") + answer(b"poison"), answer(b"2")])
    async with scripted(script) as url, fetching() as ask:
        assert (await ask("GET", url, timeout_s=5)).body == b"1"
        assert (await ask("GET", url, timeout_s=5)).body == b"2"
    assert script.connections == 2
