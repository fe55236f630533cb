"""One connection to Redis: opened, proven who we are, one question after the other, each before its deadline."""

import asyncio
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from proxy.errors import RevocationsInvalid
from proxy.revocation.resp import Decoder, ErrorReply, Reply, write_command
from proxy.revocation.settings import RedisSettings
from proxy.tls.contexts import web_client_context

CONNECT_S: Final = 3.0
"""With its TLS handshake."""

ANSWER_S: Final = 3.0
"""For each question; a Redis that takes longer holds up a fleet."""

MAX_ANSWER_BYTES: Final = 8 * 1024 * 1024
"""As for a file: ten thousand entries with their notes are 2 MB."""

MAX_PASSWORD_BYTES: Final = 4096
READ_BYTES: Final = 65536

_ADVICE: Final = {
    "NOAUTH": "it wants a password: write revocation.redis.password_file",
    "WRONGPASS": "it refuses the user or the password",
    "NOPERM": "the user may not do this: it needs HGET, HGETALL, HSET and HDEL of the key",
    "READONLY": "it is a replica that takes no writes: name the primary",
    "WRONGTYPE": "the key holds something else: choose another revocation.redis.key",
    "LOADING": "it is still reading its own file",
    "OOM": "it has no memory left",
    "MOVED": "it is a part of a cluster that does not hold the key: name the one that does",
}


class Link:
    """Use ``opened`` to make one, and ``close`` it whatever happens; after any failure it is of no use."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, max_items: int) -> None:
        self._reader = reader
        self._writer = writer
        self._decoder = Decoder(MAX_ANSWER_BYTES, max_items)

    @classmethod
    async def opened(cls, settings: RedisSettings, max_items: int) -> "Link":
        """Connect, and say who we are. Raises OSError, EOFError, RevocationsInvalid."""
        async with asyncio.timeout(CONNECT_S):
            link = cls(*await _connect(settings), max_items)
        try:
            if settings.password_file is not None:
                await link.ask([[b"AUTH", *_credentials(settings)]])
        except BaseException:
            link.close()
            raise
        return link

    async def ask(self, commands: Sequence[Sequence[bytes]]) -> list[Reply]:
        """Send these, and give an answer to each.

        Raises:
            OSError, EOFError: it has gone, or does not answer.
            RevocationsInvalid: it refuses, or answers what is no answer.

        """
        async with asyncio.timeout(ANSWER_S):
            self._writer.write(b"".join(map(write_command, commands)))
            await self._writer.drain()
            replies: list[Reply] = []
            while len(replies) < len(commands):
                data = await self._reader.read(READ_BYTES)
                if not data:
                    raise EOFError("it has closed the connection")
                replies += self._decoder.receive(data)
        if len(replies) > len(commands):
            raise RevocationsInvalid("it answers what was not asked")
        for reply in replies:
            if isinstance(reply, ErrorReply):
                raise RevocationsInvalid(_ADVICE.get(reply.code, f"it answers with an error {reply.code}".rstrip()))
        return replies

    def close(self) -> None:
        """End it now."""
        self._writer.transport.abort()


async def _connect(settings: RedisSettings) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if settings.address.startswith("/"):
        return await asyncio.open_unix_connection(settings.address)
    host, _, port = settings.address.rpartition(":")
    host = host.strip("[]")
    context: ssl.SSLContext | None = web_client_context() if settings.tls else None
    name = host if settings.tls else None
    return await asyncio.open_connection(host, int(port), ssl=context, server_hostname=name)


def _credentials(settings: RedisSettings) -> list[bytes]:
    """Read anew for each connection: a password that was changed is taken with the next."""
    try:
        with Path(settings.password_file or "").open("rb") as file:
            password = file.read(MAX_PASSWORD_BYTES + 1).removesuffix(b"\n")
    except OSError as error:
        raise RevocationsInvalid(f"revocation.redis.password_file cannot be read: {error.strerror}") from error
    if not 0 < len(password) <= MAX_PASSWORD_BYTES:
        raise RevocationsInvalid(f"revocation.redis.password_file is empty, or longer than {MAX_PASSWORD_BYTES} bytes")
    return [*([settings.username.encode()] if settings.username else []), password]
