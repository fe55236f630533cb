"""The other processes of the same app: they are asked what they remember of its requests, and ask us.

Each listens in a folder that only their user can enter (``net/gathering.py``) and speaks ``tokens/share.py`` there. A
question goes to all of them at once; their answers count only together. One that is silent for ``timeout_s``, has
too much to answer already, breaks the protocol or ends before it has answered leaves the request without a
transaction: it is refused, because whoever is silent may know another token under the same trace id.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from proxy.errors import ProxyError, SiblingUnavailable, TransactionAmbiguous
from proxy.flow.settings import SharingSettings
from proxy.net.accept import ListenFailed
from proxy.net.gathering import MAX_MEMBERS, Crowded, Gathering, check_user
from proxy.net.resume import resume_reading
from proxy.net.tasks import Tasks
from proxy.observe.catalog import Metrics
from proxy.tokens.passage import Passages, Remembered
from proxy.tokens.share import (
    MAX_ANSWER_BYTES,
    QUESTION_BYTES,
    Answer,
    Frames,
    Question,
    ShareMalformed,
    Verdict,
    read_answer,
    read_question,
    write_answer,
    write_question,
    write_verdict,
)

MAX_WAITING: Final = 256
"""Questions that one process has not answered, also those that nobody waits for any more: 20 KB of them."""

MAX_CALLERS: Final = 2 * MAX_MEMBERS
"""Connections from others: each has one, and a second one while it is made anew."""

LOOK_S: Final = 1.0
"""How often we look whether our socket is still there: a cleaner of folders may have taken it for waste."""

_TURNS: Final = 2**32
_log = logging.getLogger("svidecar")


class _Sibling(asyncio.Protocol):
    """A connection to another process, for our questions."""

    transport: asyncio.Transport

    def __init__(self, ended: Callable[["_Sibling"], None]) -> None:
        self._ended = ended
        self._frames = Frames(MAX_ANSWER_BYTES)
        self._waiting: dict[int, asyncio.Future[Answer | None]] = {}
        self._number = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def ask(self, trace_id: bytes, mark: bytes | None) -> "asyncio.Future[Answer | None]":
        """Send a question; None comes when the connection has ended. Raises SiblingUnavailable."""
        if len(self._waiting) >= MAX_WAITING or self.transport.is_closing():
            raise SiblingUnavailable("another process of the app has not answered what it was asked before")
        self._number = number = (self._number + 1) % _TURNS
        self._waiting[number] = future = asyncio.get_running_loop().create_future()
        self.transport.write(write_question(Question(number, trace_id, mark)))
        return future

    def data_received(self, data: bytes) -> None:
        try:
            for body in self._frames.receive(data):
                self._take(read_answer(body))
        except ShareMalformed as error:
            _log.warning("sharing: what another process answered is refused: %s", error)
            self.transport.abort()

    def _take(self, answer: Answer) -> None:
        future = self._waiting.pop(answer.number, None)
        if future is None:
            raise ShareMalformed("an answer that nobody has asked for")
        if not future.done():
            future.set_result(answer)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - how it ended changes nothing
        self._ended(self)
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            if not future.done():
                future.set_result(None)


class _Caller(asyncio.Protocol):
    """A connection from another process, which asks us."""

    transport: asyncio.Transport

    def __init__(self, passages: Passages, clock: Callable[[], float], callers: set["_Caller"]) -> None:
        self._passages = passages
        self._clock = clock
        self._callers = callers
        self._frames = Frames(QUESTION_BYTES)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        try:
            check_user(transport.get_extra_info("socket"))
        except OSError as error:
            _log.warning("sharing: a caller is refused: %s", error.strerror)
            self.transport.abort()
            return
        if len(self._callers) >= MAX_CALLERS:
            _log.warning("sharing: more than %d connections from other processes of the app", MAX_CALLERS)
            self.transport.abort()
            return
        self._callers.add(self)

    def data_received(self, data: bytes) -> None:
        if self not in self._callers:
            return
        try:
            answers = [self._answer(read_question(body)) for body in self._frames.receive(data)]
        except ShareMalformed as error:
            _log.warning("sharing: what another process asked is refused: %s", error)
            self.transport.abort()
            return
        self.transport.write(b"".join(answers))

    def _answer(self, question: Question) -> bytes:
        try:
            found = self._passages.of(question.trace_id, question.mark, self._clock(), by_trace=True)
        except TransactionAmbiguous:
            return write_verdict(question.number, Verdict.OTHER_TRACE)
        return write_answer(question.number, found)

    def pause_writing(self) -> None:
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        resume_reading(self.transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - how it ended changes nothing
        self._callers.discard(self)


class Siblings:
    """See the module. ``start``, then ``ask``; ``close`` at the end."""

    def __init__(
        self, settings: SharingSettings, passages: Passages, metrics: Metrics, clock: Callable[[], float]
    ) -> None:
        self._settings = settings
        self._passages = passages
        self._metrics = metrics
        self._clock = clock
        self._gathering = Gathering(settings.folder)
        self._server: asyncio.AbstractServer | None = None
        self._callers: set[_Caller] = set()
        self._known: dict[str, _Sibling] = {}
        self._opening = asyncio.Lock()

    async def start(self, tasks: Tasks) -> None:
        """Be there for the others. Raises ListenFailed."""
        self._gathering.open()
        await self._listen()
        tasks.spawn(self._keep(), "sharing")

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        sock = self._gathering.listen()
        self._server = await loop.create_unix_server(
            lambda: _Caller(self._passages, self._clock, self._callers), sock=sock
        )

    async def _keep(self) -> None:
        """Appear again where our socket was taken away: nobody asks whom he cannot see."""
        while True:
            await asyncio.sleep(LOOK_S)
            if self._gathering.is_found:
                continue
            try:
                old = self._server
                self._gathering.close()
                self._gathering.open()
                await self._listen()
                if old is not None:
                    old.close()
                _log.warning("sharing: our socket in %s was taken away, and is there again", self._settings.folder)
            except ListenFailed as error:
                _log.warning("sharing: our socket was taken away: %s", error)

    async def ask(self, trace_id: bytes, mark: bytes | None) -> tuple[Remembered, ...]:
        """Give all that the others remember; ``mark`` None: under the trace id.

        Raises:
            SiblingUnavailable: one of them did not answer.
            TransactionAmbiguous: one of them knows the mark under another trace id, or too many tokens.

        """
        started = self._clock()
        result = "ok"
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                return await self._ask(trace_id, mark)
        except TimeoutError:
            result = SiblingUnavailable.reason
            raise SiblingUnavailable(
                "another process of the app has not answered in time (transactions.timeout)"
            ) from None
        except ProxyError as error:
            result = error.reason
            raise
        finally:
            self._metrics.sibling_lookup(result).observe(self._clock() - started)

    async def _ask(self, trace_id: bytes, mark: bytes | None) -> tuple[Remembered, ...]:
        siblings = await self._all()
        asked = [sibling.ask(trace_id, mark) for sibling in siblings]
        found: list[Remembered] = []
        for future in asked:
            answer = await future
            if answer is None:
                raise SiblingUnavailable("another process of the app ended before it had answered")
            if answer.verdict is Verdict.OTHER_TRACE:
                raise TransactionAmbiguous("the mark in tracestate is of another trace than traceparent")
            if answer.verdict is Verdict.TOO_MANY:
                raise TransactionAmbiguous("requests with too many tokens are in flight under this trace id")
            found += answer.passages
        return tuple(found)

    async def _all(self) -> list[_Sibling]:
        """Give a connection to each of the others: who is in the folder, and who was and still answers."""
        try:
            names = self._gathering.others()
            if any(name not in self._known for name in names):
                async with self._opening:
                    for name in names:
                        await self._open(name)
        except Crowded:
            raise SiblingUnavailable(f"more than {MAX_MEMBERS} other processes share transactions here") from None
        except OSError as error:
            _log.warning("sharing: another process of the app cannot be asked: %s", error.strerror)
            raise SiblingUnavailable("another process of the app takes no connection") from None
        return list(self._known.values())

    async def _open(self, name: str) -> None:
        if name in self._known or (sock := self._gathering.call(name)) is None:
            return
        loop = asyncio.get_running_loop()
        try:
            _, sibling = await loop.create_unix_connection(lambda: _Sibling(self._lost), sock=sock)
        except BaseException:
            sock.close()
            raise
        if not sibling.transport.is_closing():
            self._known[name] = sibling

    def _lost(self, sibling: _Sibling) -> None:
        for name in [name for name, one in self._known.items() if one is sibling]:
            del self._known[name]

    def close(self) -> None:
        """End: nobody finds us any more, and what was not answered is not."""
        self._gathering.close()
        if self._server is not None:
            self._server.close()
        ours: list[_Sibling | _Caller] = [*self._known.values(), *self._callers]
        for one in ours:
            one.transport.abort()
