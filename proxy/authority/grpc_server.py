"""Accepts callers of the Workload API at a Unix socket: who each is, is known before a byte of his is read."""

import logging
import socket
from collections import Counter

from proxy.authority.attest import Caller, NotAttested, attest
from proxy.authority.grpc_connection import GrpcConnection, Service
from proxy.net.accept import Acceptor
from proxy.net.deadlines import Deadlines
from proxy.net.tasks import Tasks
from proxy.net.transport import Transports

MAX_CONNECTIONS = 1024
"""A machine has a few hundred workloads, each with one connection."""

MAX_CONNECTIONS_OF_USER = 256
"""So that no user takes the places of all others."""

_log = logging.getLogger(__name__)


class GrpcServer:
    """Serves one service at one socket. ``start``, then ``close``."""

    def __init__(self, transports: Transports, tasks: Tasks, deadlines: Deadlines, service: Service) -> None:
        self._loop = transports.loop
        self._tasks = tasks
        self._deadlines = deadlines
        self._service = service
        self._connections: set[GrpcConnection] = set()
        self._users: Counter[int] = Counter()
        self._acceptor: Acceptor | None = None

    def __len__(self) -> int:
        return len(self._connections)

    def start(self, sock: socket.socket) -> None:
        """Accept from a listening socket, which is ours from now on."""
        self._acceptor = Acceptor(self._loop, sock, self._on_socket)
        self._acceptor.resume()

    def refresh(self) -> None:
        """Tell every stream what is true now."""
        for connection in list(self._connections):
            connection.refresh()

    async def close(self) -> None:
        """Stop accepting, and end every connection."""
        if self._acceptor is not None:
            self._acceptor.close()
        for connection in list(self._connections):
            connection.close()

    def _on_socket(self, sock: socket.socket) -> None:
        try:
            caller = attest(sock)
        except (NotAttested, OSError) as error:
            _log.warning("workload API: a caller was not attested: %s", error)
            self._refuse(sock)
            return
        if len(self) >= MAX_CONNECTIONS or self._users[caller.uid] >= MAX_CONNECTIONS_OF_USER:
            _log.warning(
                "workload API: too many connections; those of user %d: %d", caller.uid, self._users[caller.uid]
            )
            caller.close()
            self._refuse(sock)
            return
        connection = GrpcConnection(self._service, caller, self._loop.time, lambda: self._forget(connection))
        self._connections.add(connection)
        self._users[caller.uid] += 1
        self._deadlines.watch(connection)
        self._tasks.spawn(self._welcome(connection, sock), "workload API connection")

    async def _welcome(self, connection: GrpcConnection, sock: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: connection, sock)
        except OSError as error:
            _log.info("workload API: a connection failed: %s", error)
            sock.close()
            self._forget(connection)
        finally:
            self._settled(sock)

    def _forget(self, connection: GrpcConnection) -> None:
        if connection not in self._connections:
            return
        self._connections.discard(connection)
        self._deadlines.forget(connection)
        caller: Caller = connection.caller
        caller.close()
        self._users[caller.uid] -= 1
        if not self._users[caller.uid]:
            del self._users[caller.uid]

    def _refuse(self, sock: socket.socket) -> None:
        sock.close()
        self._settled(sock)

    def _settled(self, sock: socket.socket) -> None:
        if self._acceptor is not None:
            self._acceptor.settled(sock)
