"""The one server of the control plane: plain on loopback and for probes, mTLS where an identity is demanded."""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable

from proxy.control.connection import Connection, ControlLimits, Handler, Serving
from proxy.control.message import NO_STORE, Request, Response, problem
from proxy.errors import ProxyError
from proxy.identity.peer import Peer
from proxy.net.accept import Acceptor, listen
from proxy.net.deadlines import Deadlines
from proxy.net.tasks import Tasks
from proxy.net.transport import Transports

_log = logging.getLogger(__name__)


class ControlServer:
    """Serves ``handler`` at one port. ``close`` ends all that it began.

    ``context`` gives the TLS context for the next connection; ``identify`` turns the chain that TLS verified into a
    peer, when a connection begins and again for each request, and refuses it by raising a ConnectionRefusal.
    """

    def __init__(
        self,
        transports: Transports,
        tasks: Tasks,
        deadlines: Deadlines,
        handler: Handler,
        *,
        name: str,
        context: Callable[[], ssl.SSLContext] | None = None,
        identify: Callable[[list[bytes]], Peer] | None = None,
        limits: ControlLimits | None = None,
    ) -> None:
        self._transports = transports
        self._context = context
        self._limits = limits or ControlLimits()
        self._serving = Serving(
            name=name,
            handler=handler,
            identify=identify,
            limits=self._limits,
            deadlines=deadlines,
            loop=transports.loop,
            tasks=tasks,
        )
        self._acceptor: Acceptor | None = None
        self._handshakes: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._serving.connections)

    async def start(self, host: str, port: int) -> int:
        """Listen; give the port, which is the one asked for unless that was 0.

        Raises:
            ListenFailed: an OSError whose message tells a person what to do.

        """
        pending = max(1, self._limits.max_connections // 2)  # who does not end a handshake must not take all the room
        self._acceptor = Acceptor(self._transports.loop, listen(host, port), self._on_socket, max_pending=pending)
        self._acceptor.resume()
        return self._acceptor.port

    async def close(self) -> None:
        """Stop listening, let written answers go out for a moment, end everything."""
        if self._acceptor is not None:
            self._acceptor.close()
        for handshake in list(self._handshakes):
            handshake.cancel()
        serving, loop = self._serving, self._transports.loop
        gone = asyncio.Event()
        serving.on_lost = lambda: None if serving.connections else gone.set()
        for connection in list(serving.connections):
            connection.end()
        until = loop.call_later(self._limits.linger_s, self._abort_all)
        if serving.connections:
            await gone.wait()
        until.cancel()
        await asyncio.gather(*self._handshakes, return_exceptions=True)

    def _abort_all(self) -> None:
        for connection in list(self._serving.connections):
            connection.abort()

    def _on_socket(self, sock: socket.socket) -> None:
        if len(self) + len(self._handshakes) >= self._limits.max_connections and not self._make_room():
            _log.warning("%s: all %d connections are in use", self._serving.name, self._limits.max_connections)
            sock.close()
            self._settled(sock)
            return
        handshake = self._serving.tasks.spawn(self._welcome(sock), f"{self._serving.name} handshake")
        self._handshakes.add(handshake)
        handshake.add_done_callback(lambda ended: self._ended(ended, sock))

    def _make_room(self) -> bool:
        """End the one that has been here longest of the idle: who holds connections open must not keep a probe out."""
        reading = None
        for connection in self._serving.connections:
            if connection.is_idle:
                connection.abort()
                return True
            if reading is None and connection.is_reading:
                reading = connection  # a head that does not end would else keep its place for seconds
        if reading is not None:
            reading.abort()
        return reading is not None

    async def _welcome(self, sock: socket.socket) -> None:
        try:
            context = self._context() if self._context is not None else None
            await self._transports.accepted(lambda: Connection(self._serving), sock, context, self._limits.handshake_s)
        except (ProxyError, OSError, EOFError) as error:  # ssl.SSLError and TimeoutError are OSErrors
            sock.close()
            _log.info("%s: a handshake failed: %s", self._serving.name, error)

    def _ended(self, handshake: asyncio.Task[None], sock: socket.socket) -> None:
        self._handshakes.discard(handshake)
        self._settled(sock)

    def _settled(self, sock: socket.socket) -> None:
        if self._acceptor is not None:
            self._acceptor.settled(sock)


__all__ = ["NO_STORE", "ControlLimits", "ControlServer", "Handler", "Request", "Response", "problem"]
