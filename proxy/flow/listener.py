"""A listening socket and its connections: accept, shake hands under a deadline, count, drain."""

import asyncio
import logging
import socket
import ssl
from collections.abc import Coroutine
from typing import Any, Protocol

from proxy.errors import Internal, Overloaded, ProxyError
from proxy.flow.account import write_connection
from proxy.flow.downstream import Downstream
from proxy.flow.exchange import Exchange
from proxy.flow.owner import Owner
from proxy.flow.runtime import Runtime
from proxy.flow.settings import ListenerSettings
from proxy.net.accept import Acceptor, listen
from proxy.observe.catalog import Direction
from proxy.tls.handshake import refusal

_log = logging.getLogger(__name__)


class Door(Protocol):
    """What the two directions add: how a connection is protected, and what it becomes."""

    direction: Direction

    def context(self) -> ssl.SSLContext | None:
        """Give the newest TLS context, or None for plain HTTP. Raises NotReady."""

    def connection(self, listener: Owner[Downstream]) -> Downstream:
        """Make the protocol of one connection."""


class Listener:
    """One listener. ``start`` binds it; ``drain`` ends it without losing an answer; ``close`` ends it now."""

    def __init__(self, runtime: Runtime, settings: ListenerSettings, door: Door, handshake_timeout_s: float) -> None:
        self.runtime = runtime
        self.settings = settings
        self.direction: Direction = door.direction
        self.draining = False
        self.connections: set[Downstream] = set()
        self._arriving: set[Downstream] = set()  # shaking hands
        self._parting: set[Downstream] = set()  # refused after the handshake, and not gone yet
        self._last_used = 0.0  # by connections that are gone
        self._door = door
        self._handshake_timeout_s = handshake_timeout_s
        self._acceptor: Acceptor | None = None
        self._open = runtime.metrics.connections(self.direction, "open")
        self._handshaking = runtime.metrics.connections(self.direction, "handshaking")

    def start(self) -> int:
        """Bind and accept; give the port.

        Raises:
            ListenFailed: the address cannot be bound; the message tells what to do.

        """
        sock = listen(self.settings.host, self.settings.port)
        loop = self.runtime.transports.loop
        acceptor = Acceptor(
            loop, sock, lambda made: self._accepted(acceptor, made), max_pending=self.settings.max_handshakes
        )
        acceptor.resume()
        self._acceptor = acceptor
        return acceptor.port

    @property
    def port(self) -> int:
        """Where it listens; 0 before it does."""
        return self._acceptor.port if self._acceptor is not None else 0

    # ---- accepting

    def _accepted(self, acceptor: Acceptor, sock: socket.socket) -> None:
        if len(self.connections) + len(self._arriving) + len(self._parting) >= self.settings.max_connections:
            sock.close()
            acceptor.settled(sock)
            write_connection(self.runtime, self.direction, Overloaded("too many connections"), None, None)
            return
        self._handshaking.inc()
        connection = self._door.connection(self)
        self._arriving.add(connection)
        self.runtime.tasks.spawn(self._admit(acceptor, sock, connection), "handshake")

    async def _admit(self, acceptor: Acceptor, sock: socket.socket, connection: Downstream) -> None:
        started = self.runtime.clock()
        is_tls = self.direction == "inbound"
        error: ProxyError | None = None
        try:
            context = self._door.context()
            await self.runtime.transports.accepted(lambda: connection, sock, context, self._handshake_timeout_s)
        except ProxyError as refused:
            error = refused
            sock.close()
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as failed:
            error = refusal(failed)
            sock.close()
        finally:
            self._arriving.discard(connection)
            self._handshaking.dec()
            acceptor.settled(sock)
        if is_tls:
            result = "ok" if error is None else error.reason
            self.runtime.metrics.tls_handshake("server", result).observe(self.runtime.clock() - started)
        if error is not None:
            write_connection(self.runtime, self.direction, error, None, None)

    def opened(self, connection: Downstream) -> None:
        """Count a connection that may speak now."""
        self._arriving.discard(connection)
        self.connections.add(connection)
        self._open.inc()
        self.runtime.deadlines.watch(connection)

    def closed(self, connection: Downstream) -> None:
        """Forget a connection."""
        self._parting.discard(connection)
        if connection in self.connections:
            self.connections.discard(connection)
            self._last_used = max(self._last_used, connection.last_used)
            self._open.dec()
            self.runtime.deadlines.forget(connection)

    def refuse_peer(self, connection: Downstream, error: ProxyError) -> None:
        """Close a connection after its handshake, before a byte of it reaches the app."""
        connection.account.refuse(error)
        self._arriving.discard(connection)
        self._parting.add(connection)
        connection.part()

    # ---- the upstream side of its exchanges

    def open_upstream(self, connection: Downstream, exchange: Exchange) -> None:
        """Open a connection for the request, then send it."""
        self.runtime.tasks.spawn(self._open_upstream(connection, exchange), "dial")

    async def _open_upstream(self, connection: Downstream, exchange: Exchange) -> None:
        pool = exchange.pool
        if pool is None:
            raise RuntimeError("an exchange was sent without a pool")
        left = self.runtime.clock()
        try:
            upstream = await pool.open()
        except ProxyError as error:
            exchange.fail(error)
            return
        except Exception:  # noqa: BLE001 - a fault of ours must not leave a caller without an answer
            _log.exception("opening an upstream connection failed")
            exchange.fail(Internal())
            return
        if exchange.finished:
            pool.take_back(upstream, self.runtime.clock())
            return
        exchange.away_s += self.runtime.clock() - left
        if not connection.still_holds(exchange):
            pool.take_back(upstream, self.runtime.clock())
            if not exchange.finished:
                connection.again(exchange)
                connection.resume()
            return
        timeouts = self.settings.timeouts
        exchange.begin(upstream, timeouts.first_byte_s, timeouts.stream_idle_s)
        connection.resume()

    def follow_up(self, connection: Downstream, exchange: Exchange, learn: Coroutine[Any, Any, object]) -> None:
        """Leave the hot path for what is missing, then come back by the same door: ``on_request``."""
        self.runtime.tasks.spawn(self._follow_up(connection, exchange, learn), "follow up")

    async def _follow_up(self, connection: Downstream, exchange: Exchange, learn: Coroutine[Any, Any, object]) -> None:
        left = self.runtime.clock()
        try:
            await learn
        except ProxyError as error:
            exchange.fail(error)
            return
        except Exception:  # noqa: BLE001 - a fault of ours must not leave a caller without an answer
            _log.exception("a miss could not be followed up")
            exchange.fail(Internal())
            return
        exchange.away_s += self.runtime.clock() - left
        if not exchange.finished:
            connection.again(exchange)
            connection.resume()

    def decide_by(self, policy: str) -> None:
        """Note for the audit that from now on rules of this version decide."""
        for connection in self.connections:
            connection.account = connection.account.under(policy)

    def known_as(self, local: str) -> None:
        """Note who we are from now on: connections of the app outlive an identity, or come before there is one."""
        for connection in self.connections:
            connection.account = connection.account.of(local)

    # ---- ending

    @property
    def last_used(self) -> float:
        """When the last request began, on the loop's clock; 0 if there was none."""
        return max([self._last_used, *(connection.last_used for connection in self.connections)])

    @property
    def in_flight(self) -> int:
        """Requests and tunnels that have not ended, answers that have not left us, and handshakes."""
        pending = self._acceptor.pending if self._acceptor is not None else 0
        return pending + sum(connection.is_busy for connection in self.connections)

    def drain(self) -> None:
        """Accept no more; let each connection end with its answer."""
        self.draining = True
        if self._acceptor is not None:
            self._acceptor.close()
        for connection in list(self.connections):
            connection.drain()

    def close(self) -> None:
        """End every connection now."""
        self.draining = True
        if self._acceptor is not None:
            self._acceptor.close()
        for connection in [*self.connections, *self._parting]:
            connection.transport.abort()
