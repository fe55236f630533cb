"""The loop: what is due goes out over the connection that has been free longest, and its latency counts from then.

It is one thread over epoll(7), without an event loop between: an instant is read beside the system call that it means.
"""

import contextlib
import gc
import select
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Self

from loadtest.openloop.account import Account, Report
from loadtest.openloop.connection import CONNECTING, GOOD, IDLE, Connection
from loadtest.openloop.request import Target
from loadtest.openloop.schedule import SECOND_NS, Schedule
from loadtest.openloop.timer import Timer

LOOK_S = 0.1  # how often time-outs are looked for
TIMEOUT_S = 10.0  # more than a proxy's own for what does not answer
CONNECT_S = 5.0  # all connections, before the clock starts
LEAD_NS = 1_000_000  # from the call to the first request
TICK_NS = 1_000_000  # between looks at the clock while every connection is busy
NEVER = 1 << 62

clock = time.monotonic_ns


class CannotConnect(Exception):
    """The connections do not open; the message says where to."""


class Client:
    """``connections`` to a target; ``run`` may be called again and again over the same ones."""

    def __init__(self, target: Target, connections: int, *, timeout_s: float = TIMEOUT_S) -> None:
        self._target = target
        self.timeout_ns = int(timeout_s * SECOND_NS)
        self.epoll = select.epoll()
        self.timer = Timer()
        self.epoll.register(self.timer.fd, select.EPOLLIN | select.EPOLLET)
        self.connections = [Connection(target) for _ in range(connections)]
        self.by_fd: dict[int, Connection] = {}
        self.free = deque(self.connections)

    def __enter__(self) -> Self:
        for connection in self.connections:
            connection.open()
            self.watch(connection)
        until = clock() + int(CONNECT_S * SECOND_NS)
        while any(each.state == CONNECTING for each in self.connections) and clock() < until:
            for fd, _ in self.epoll.poll(LOOK_S):
                if fd in self.by_fd:
                    self.by_fd[fd].write()
                    self.watch(self.by_fd[fd])
        if failed := sum(each.state != IDLE for each in self.connections):
            self.__exit__()
            where = f"{self._target.host}:{self._target.port}"
            raise CannotConnect(f"{failed} of {len(self.connections)} connections to {where} do not open")
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self.connections:
            connection.close()
        self.timer.close()
        self.epoll.close()

    def run(self, schedule: Schedule, requests: Iterator[bytes], jitter: Callable[[], float] | None = None) -> Report:
        """Send what ``schedule`` says, and wait for what is under way at its end."""
        with _no_collector():
            return _Run(self, schedule, requests, jitter).go()

    def watch(self, connection: Connection) -> None:
        """Have the kernel tell of the socket that the connection has now; it forgets closed ones by itself."""
        if (fd := connection.fd) < 0:
            return
        writes = connection.state == CONNECTING or connection.wants_to_write
        mask = select.EPOLLIN | select.EPOLLOUT if writes else select.EPOLLIN
        if mask == connection.mask:
            return
        if connection.mask:
            self.epoll.modify(fd, mask)
        else:
            self.by_fd[fd] = connection
            self.epoll.register(fd, mask)
        connection.mask = mask


class _Run:
    """One schedule, sent."""

    def __init__(
        self, client: Client, schedule: Schedule, requests: Iterator[bytes], jitter: Callable[[], float] | None
    ) -> None:
        self._client, self._schedule, self._requests = client, schedule, requests
        self._offsets = schedule.offsets_ns(jitter)
        self._account = Account()
        self._busy = 0
        self._number, self._intended_ns = -1, NEVER
        self._start_ns = clock() + LEAD_NS
        self._counted_from_ns = self._start_ns + int(schedule.warmup * SECOND_NS)
        self._ends_ns = self._counted_from_ns + int(schedule.seconds * SECOND_NS)
        self._last_ns = self._ends_ns
        self._look_ns = self._start_ns
        self._cpu_ns = 0
        self._woke_ns = self._wake_ns = self._start_ns

    def go(self) -> Report:
        """Until every request has been sent and has ended."""
        self._advance()
        while self._busy or self._intended_ns != NEVER:
            self._turn()
        return self._account.report(
            self._schedule,
            connections=len(self._client.connections),
            elapsed_ns=self._last_ns - self._counted_from_ns,
            cpu_ns=time.thread_time_ns() - self._cpu_ns,
        )

    def _turn(self) -> None:
        client = self._client
        self._arm()
        events = client.epoll.poll(LOOK_S)
        woke_ns = self._woke_ns = clock()
        if woke_ns > self._wake_ns:
            self._account.was_blind(self._wake_ns, woke_ns)
        for fd, mask in events:
            if (connection := client.by_fd.get(fd)) is not None:
                self._serve(connection, mask, woke_ns)
            self._send_due()
        if woke_ns >= self._look_ns:
            self._look(woke_ns)

    def _arm(self) -> None:
        """Wake when the next is due; while it waits for a connection, now and then: who sleeps too long sees it."""
        now_ns, self._wake_ns = clock(), self._intended_ns
        if self._intended_ns == NEVER:
            return
        if self._woke_ns < self._intended_ns <= now_ns:
            self._account.was_blind(self._intended_ns, now_ns)  # it fell due while we did something else
        if self._intended_ns <= now_ns and not self._client.free:
            self._wake_ns = now_ns + TICK_NS
        self._client.timer.wake_at(self._wake_ns)

    def _advance(self) -> None:
        offset_ns = next(self._offsets, None)
        self._intended_ns = NEVER if offset_ns is None else self._start_ns + offset_ns
        self._number += 1
        if self._number == self._schedule.before:
            self._cpu_ns = time.thread_time_ns()

    def _send_due(self) -> None:
        free = self._client.free
        now_ns = clock()
        while self._intended_ns <= now_ns and free:
            self._send(free.popleft(), now_ns)
            now_ns = clock()

    def _send(self, connection: Connection, now_ns: int) -> None:
        connection.number, connection.intended_ns, connection.sent_ns = self._number, self._intended_ns, now_ns
        if self._number >= self._schedule.before:
            self._account.was_sent(self._intended_ns, connection.free_since_ns, now_ns)
        self._advance()
        self._busy += 1
        outcome = connection.ask(next(self._requests))
        self._client.watch(connection)
        if outcome is not None:
            self._ended(connection, outcome, clock())

    def _serve(self, connection: Connection, mask: int, woke_ns: int) -> None:
        outcome = None
        if connection.state == CONNECTING or connection.wants_to_write:
            outcome = connection.write()
        if outcome is None and mask & ~select.EPOLLOUT:
            outcome = connection.read()
        if connection.number < 0:  # nothing was asked: the other side has closed it, and the next request opens it
            return
        self._client.watch(connection)
        if outcome is not None:
            now_ns = clock()
            self._account.reading.record(now_ns - woke_ns)
            self._ended(connection, outcome, now_ns)

    def _ended(self, connection: Connection, outcome: str, now_ns: int) -> None:
        if connection.number >= self._schedule.before:
            if outcome == GOOD:
                self._account.was_answered(connection.intended_ns, connection.sent_ns, now_ns)
            else:
                self._account.failed(outcome)
            self._last_ns = max(self._last_ns, now_ns)
        connection.number = -1
        connection.free_since_ns = now_ns
        self._busy -= 1
        self._client.free.append(connection)

    def _look(self, now_ns: int) -> None:
        """End what does not answer; and, long after the end, give up what could not be sent."""
        self._look_ns = now_ns + int(LOOK_S * SECOND_NS)
        oldest_ns = now_ns - self._client.timeout_ns
        for connection in self._client.connections:
            if connection.number >= 0 and connection.sent_ns < oldest_ns:
                connection.close()
                self._ended(connection, "timeout", now_ns)
        if self._ends_ns < oldest_ns:
            self._intended_ns = NEVER


@contextlib.contextmanager
def _no_collector() -> Iterator[None]:
    """A collection would be our delay, and there are no cycles here."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
