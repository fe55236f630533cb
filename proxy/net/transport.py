"""Transports by choice of loop: uvloop with aiofastnet (the fast one), uvloop alone, or stock asyncio.

A loop that aiofastnet has patched still has uvloop's own ``connect_accepted_socket``, so the two calls that make
transports are here and nowhere else. Both take an already connected socket, and the TLS context by name, so that each
connection starts with the newest one.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from enum import StrEnum
from typing import Any, TypeVar

import uvloop

from proxy.net.loop import FastLoop
from proxy.net.reads import aiofastnet

SHUTDOWN_S = 2.0
"""How long a closing TLS connection waits for the other side's close_notify."""

_RECORD_BYTES = 16 * 1024 + 64
INCOMING_BYTES = 8 * _RECORD_BYTES
OUTGOING_BYTES = 4 * _RECORD_BYTES
"""What aiofastnet takes from and gives to the kernel at once, in whole TLS records.

Its own default is 16 both ways. Measured with ``python -m loadtest compare --scenarios streams`` as CPU per GB beside
Envoy's in the same run: 16/16 1.21, 8/4 1.01, 4/2 1.11. What is encrypted should still be in the cache when it is sent.
"""


P = TypeVar("P")
"""What has the methods of an ``asyncio.Protocol``; the loops ask for no more than that."""


class EventLoop(StrEnum):
    """The values of ``event_loop:`` in the YAML."""

    FAST = "uvloop+aiofastnet"
    UVLOOP = "uvloop"
    ASYNCIO = "asyncio"


def new_loop(kind: EventLoop) -> asyncio.AbstractEventLoop:
    """Make a loop of that kind."""
    if kind is EventLoop.ASYNCIO:
        return asyncio.SelectorEventLoop()
    loop: asyncio.AbstractEventLoop = FastLoop() if kind is EventLoop.FAST else uvloop.new_event_loop()
    return loop


class Transports:
    """Makes the transports of one loop."""

    __slots__ = ("_fast", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop, kind: EventLoop) -> None:
        self.loop = loop
        self._fast = kind is EventLoop.FAST

    async def accepted(
        self,
        factory: Callable[[], P],
        sock: socket.socket,
        context: ssl.SSLContext | None,
        handshake_timeout_s: float,
    ) -> tuple[asyncio.Transport, P]:
        """Wrap a socket that was accepted; with a context, after the TLS handshake as server."""
        options = self._tls_options(context, handshake_timeout_s)
        if self._fast:
            return await aiofastnet.connect_accepted_socket(self.loop, factory, sock, **options)  # type: ignore[type-var]
        return await self.loop.connect_accepted_socket(factory, sock, **options)  # type: ignore[type-var]

    async def connected(
        self,
        factory: Callable[[], P],
        sock: socket.socket,
        context: ssl.SSLContext | None,
        server_hostname: str | None,
        handshake_timeout_s: float,
    ) -> tuple[asyncio.Transport, P]:
        """Wrap a socket that we connected; with a context, after the TLS handshake as client.

        ``server_hostname`` is sent as SNI; whether it is also compared with the certificate, the context says.
        """
        options = self._tls_options(context, handshake_timeout_s)
        if context is not None:
            options["server_hostname"] = server_hostname
        if self._fast:
            return await aiofastnet.create_connection(self.loop, factory, sock=sock, **options)  # type: ignore[type-var]
        return await self.loop.create_connection(factory, sock=sock, **options)  # type: ignore[type-var]

    def _tls_options(self, context: ssl.SSLContext | None, handshake_timeout_s: float) -> dict[str, Any]:
        if context is None:
            return {}
        options = {"ssl": context, "ssl_handshake_timeout": handshake_timeout_s, "ssl_shutdown_timeout": SHUTDOWN_S}
        if self._fast:
            options |= {"ssl_incoming_bio_size": INCOMING_BYTES, "ssl_outgoing_bio_size": OUTGOING_BYTES}
        return options
