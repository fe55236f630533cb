"""An app whose answers do not end."""

import asyncio

import pytest

from loadtest import holder


@pytest.mark.parametrize(("target", "ends"), [(holder.HELD, False), ("/orders/1", True)])
async def test_one_path_is_held(target: str, ends: bool) -> None:  # noqa: FBT001 - what is expected
    """Its answer has begun; every other is whole."""
    server = await asyncio.get_running_loop().create_server(holder.Holder, "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(f"GET {target} HTTP/1.1\r\n".encode())
        await asyncio.sleep(0)
        writer.write(b"Host: orders\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert (b"Content-Length: 130" in head) is ends
        await reader.readexactly(130 if ends else len(b"5\r\nbegun\r\n"))
        writer.close()
        await writer.wait_closed()
