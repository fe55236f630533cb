"""Requests, streams and tunnels that go on with a token which was taken back: they end, as the operator has chosen.

A request is held to what is revoked when it comes; this is for what came before. All connections of both listeners are
looked at, some at a time, so that ten thousand of them do not hold the loop.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from proxy.errors import TokenRefusal, TokenRevoked
from proxy.flow.downstream import Downstream
from proxy.flow.exchange import Exchange
from proxy.flow.withdrawal import Withdrawal
from proxy.net.lifetimes import TURN_S
from proxy.net.tasks import Tasks
from proxy.policy.revocation import Ending
from proxy.policy.screen import Screen

END_S: Final = 0.0001
"""What ending one takes, with what is written of it: many are begun with early, so that all ends within a second."""

Doomed = tuple[Downstream, Exchange, TokenRevoked]


class Recall:
    """See the module. ``connections`` gives those of all listeners."""

    __slots__ = ("_clock", "_connections", "_is_looking", "_is_wanted", "_screen", "_tasks", "_withdrawal")

    def __init__(
        self,
        connections: Callable[[], Iterable[Downstream]],
        screen: Screen,
        withdrawal: Withdrawal,
        tasks: Tasks,
        clock: Callable[[], float],
    ) -> None:
        self._clock = clock
        self._connections = connections
        self._screen = screen
        self._withdrawal = withdrawal
        self._tasks = tasks
        self._is_looking = False
        self._is_wanted = False

    def look(self) -> None:
        """Look at all of them soon. A round that goes on is ended, and then there is another."""
        self._is_wanted = True
        if not self._is_looking:
            self._is_looking = True
            self._tasks.spawn(self._rounds(), "recall tokens")

    async def _rounds(self) -> None:
        try:
            while self._is_wanted:
                self._is_wanted = False
                if self._screen.revoked.has_tokens:
                    await self._round()
        finally:
            self._is_looking = False

    async def _round(self) -> None:
        spared: list[Doomed] = []
        turn_ends = self._clock() + TURN_S
        for connection in list(self._connections()):
            exchange = connection.exchange or connection.tunnelled
            if exchange is not None and not exchange.finished:
                self._judge(connection, exchange, spared)
            if self._clock() >= turn_ends:
                await asyncio.sleep(0)
                turn_ends = self._clock() + TURN_S
        if spared:
            self._tasks.spawn(self._later(spared), "end what was revoked")

    def _judge(self, connection: Downstream, exchange: Exchange, spared: list[Doomed]) -> None:
        ending = self._ending(exchange)
        if ending is None:
            return
        doomed = connection, exchange, TokenRevoked("the token of this request was revoked while it went on")
        if ending is Ending.DRAIN and exchange is connection.exchange:
            spared.append(doomed)
        else:
            end(*doomed)

    def _ending(self, exchange: Exchange) -> Ending | None:
        """Return how this one ends; None: its token is good."""
        token, revoked = exchange.token, self._screen.revoked
        if token is None and exchange.carried:
            try:
                token = self._screen.read(exchange.carried)
            except TokenRefusal:
                return self._withdrawal.ending  # what cannot be read cannot be compared
        if token is None:
            return None
        entry = revoked.of_token(token)
        return (entry.ending or self._withdrawal.ending) if entry is not None else None

    async def _later(self, spared: list[Doomed]) -> None:
        """End them with the grace, whose last part it takes to end so many."""
        await asyncio.sleep(max(self._withdrawal.grace_s - len(spared) * END_S, 0.0))
        turn_ends = self._clock() + TURN_S
        for doomed in spared:
            end(*doomed)
            if self._clock() >= turn_ends:
                await asyncio.sleep(0)
                turn_ends = self._clock() + TURN_S


def end(connection: Downstream, exchange: Exchange, error: TokenRevoked) -> None:
    """End one that has not ended by itself: with an answer where none has begun; a tunnel, with its connection."""
    if exchange.finished:
        return
    if exchange is connection.tunnelled:
        connection.account.refuse(error)
        connection.drain(at_once=True)
    elif exchange is connection.exchange:
        exchange.fail(error)
