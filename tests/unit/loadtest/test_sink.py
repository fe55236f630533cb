"""Where uploads end."""

import asyncio

import pytest

from loadtest import sink


@pytest.mark.parametrize("piece", [1, 7, 1000])
async def test_a_body_is_counted_however_it_is_cut(piece: int) -> None:
    """Two requests on one connection, the head in any number of pieces."""
    request = b"POST /uploads/large HTTP/1.1\r\ncontent-LENGTH: 40\r\n\r\n" + b"x" * 40
    assert await ask([request[at : at + piece] for at in range(0, len(request), piece)], 2) == [b"40\n", b"40\n"]


async def test_a_length_is_demanded() -> None:
    """Chunked uploads are not for the sink."""
    assert await ask([b"POST /uploads/large HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"], 1) == [b""]


async def ask(pieces: list[bytes], times: int) -> list[bytes]:
    """The bodies of the answers."""
    server = await asyncio.get_running_loop().create_server(sink.Sink, "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        answers = []
        for _ in range(times):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            head = await reader.readuntil(b"\r\n\r\n")
            answers.append(await reader.readexactly(int(head.rstrip().rpartition(b" ")[2])))
        writer.close()
        await writer.wait_closed()
        return answers
