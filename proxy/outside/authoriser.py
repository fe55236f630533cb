"""Asks, remembers for a while, and asks once where many want to know the same.

``recall`` is for the request path and never waits; ``consult`` is for what follows up. What was not answered is never
remembered. With ``Fail.OPEN`` it counts as allowed, and is counted and logged as what it is.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final, Literal, Protocol

from proxy.errors import AuthoriserDenied, AuthoriserUnavailable
from proxy.observe.catalog import Metrics
from proxy.outside.question import Question
from proxy.outside.settings import Fail, OutsideSettings

WARN_S: Final = 60.0
"""Between two warnings of the same trouble."""

_log = logging.getLogger("svidecar")


class Way(Protocol):
    """How one kind of authoriser is asked."""

    def encode(self, question: Question) -> bytes:
        """Write what is sent: the same for equal questions."""

    async def ask(self, body: bytes) -> bool:
        """Ask whether it is allowed. Raises AuthoriserUnavailable."""

    def close(self) -> None:
        """End what is kept open."""


class Authoriser:
    """One authoriser. ``clock`` never steps back, in seconds."""

    def __init__(self, settings: OutsideSettings, way: Way, clock: Callable[[], float], metrics: Metrics) -> None:
        self._settings = settings
        self._way = way
        self._clock = clock
        self._metrics = metrics
        self._known: dict[bytes, tuple[bool, float]] = {}
        self._asking: dict[bytes, asyncio.Future[bool]] = {}
        self._warn_at = 0.0
        self.headers = frozenset(name.encode() for name in settings.headers)
        self.encode = way.encode

    def recall(self, body: bytes) -> bool:
        """Whether it is known to be allowed; False: it has to be asked. Raises AuthoriserDenied."""
        if not self._settings.cache_s:
            return False
        known = self._known.get(body)
        if known is None or self._clock() >= known[1]:
            self._metrics.authoriser_cache("miss").inc()
            return False
        self._metrics.authoriser_cache("hit").inc()
        return _allowed(is_allowed=known[0])

    async def consult(self, body: bytes) -> None:
        """Ask, or wait for who asks the same already.

        Raises:
            AuthoriserDenied: it says no.
            AuthoriserUnavailable: it does not say, and that is a no.

        """
        flight = self._asking.get(body)
        try:
            answer = await asyncio.shield(flight) if flight is not None else await self._fly(body)
        except AuthoriserUnavailable as error:
            self._warn(error)
            if self._settings.fail is Fail.CLOSED:
                raise
            return
        _allowed(is_allowed=answer)

    async def _fly(self, body: bytes) -> bool:
        if len(self._asking) >= self._settings.max_asking:
            raise AuthoriserUnavailable("too much is asked of the authoriser at once")
        flight = self._asking[body] = asyncio.get_running_loop().create_future()
        began = self._clock()
        result: Literal["allow", "deny", "failed"] = "failed"
        try:
            answer = await self._way.ask(body)
        except BaseException as error:
            told = error if isinstance(error, AuthoriserUnavailable) else AuthoriserUnavailable("asking was broken off")
            flight.set_exception(told)
            flight.exception()  # nobody need wait for it
            raise
        else:
            flight.set_result(answer)
            result = "allow" if answer else "deny"
            self._remember(body, answer)
            return answer
        finally:
            del self._asking[body]
            self._metrics.authoriser(result).observe(self._clock() - began)

    def _remember(self, body: bytes, answer: bool) -> None:  # noqa: FBT001 - it is what is remembered
        if not self._settings.cache_s:
            return
        self._known.pop(body, None)
        while len(self._known) >= self._settings.cache_entries:
            del self._known[next(iter(self._known))]  # the oldest
        self._known[body] = answer, self._clock() + self._settings.cache_s

    def _warn(self, error: AuthoriserUnavailable) -> None:
        if self._clock() >= self._warn_at:
            self._warn_at = self._clock() + WARN_S
            what = "refused" if self._settings.fail is Fail.CLOSED else "let pass UNASKED"
            _log.warning("authoriser: %s; what it should judge is %s", error.detail, what)

    def close(self) -> None:
        """End what is kept open."""
        self._way.close()


def _allowed(*, is_allowed: bool) -> bool:
    if not is_allowed:
        raise AuthoriserDenied("an authoriser outside of the policy refuses it")
    return True
