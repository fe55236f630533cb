"""``/tap`` of the admin port: what was decided just now, for ``svidecar tap``.

Each question waits for the next record (long polling), so that any HTTP client can look on. What is shown is what the
access log would hold: no token, no path, no subject. Whoever looks on costs requests little, however many they are and
however often they ask: they look one after the other, with a rest after each look, as scrapers do (``scrape.py``).
"""

import asyncio
import re
from collections.abc import Callable, Iterable
from time import perf_counter
from typing import Final
from urllib.parse import parse_qsl

from proxy.control.added import Added
from proxy.control.message import NO_STORE, Request, Response, problem
from proxy.observe.access_log import AccessRecord, line
from proxy.observe.tap import Seen, Tap

WAIT_S: Final = 10.0
"""A question without an answer; less than what clients and servers wait."""

MAX_ONLOOKERS: Final = 32
"""Questions at once, also of those who have hung up meanwhile: people of one machine. The port has room for 256, and
must have some for ``/drain``."""

MAX_BYTES: Final = 256 * 1024
"""Of the records of an answer: 256 usual lines are 150 KB. At least one record is shown, however long."""

REST: Final = 9.0
"""Times what a look has taken: a tenth of the loop's time is for those who look on."""

MIN_REST_S: Final = 0.005
"""After any look, for its question and answer cost as well: 200 a second, which see more than any sidecar decides."""

_NUMBER: Final = re.compile(r"[0-9]{1,15}", re.ASCII)


class _Onlookers:
    """All who look on, and the turn that they take."""

    def __init__(self, tap: Tap[AccessRecord], service: str, clock: Callable[[], float]) -> None:
        self._tap = tap
        self._service = service
        self._clock = clock
        self._there = 0
        self._turn = asyncio.Lock()
        self._free_at = clock()

    async def answer(self, number: int | None) -> Response:
        """Answer one question."""
        if self._there >= MAX_ONLOOKERS:
            return problem(503, f"{MAX_ONLOOKERS} look on already", fields=(("Retry-After", f"{WAIT_S:.0f}"),))
        self._there += 1
        try:
            number = await self._tap.wait(number, WAIT_S)
            async with self._turn:
                if (rest_s := self._free_at - self._clock()) > 0:
                    await asyncio.sleep(rest_s)
                began = self._clock()
                body = self._written(self._tap.look(number))
                ended = self._clock()
                self._free_at = ended + max(MIN_REST_S, (ended - began) * REST)
        finally:
            self._there -= 1
        return Response(200, body, "application/json", (NO_STORE,))

    def _written(self, seen: Seen[AccessRecord]) -> bytes:
        lines = _up_to(MAX_BYTES, (line(record, self._service).rstrip() for record in seen.records))
        number = seen.number - len(seen.records) + len(lines)
        missed = b"null" if seen.missed is None else b"%d" % seen.missed
        return b'{"next":%d,"missed":%b,"records":[%b]}\n' % (number, missed, b",".join(lines))


def tap_path(tap: Tap[AccessRecord], service: str, clock: Callable[[], float] = perf_counter) -> dict[str, Added]:
    """Give the path with its handler."""
    onlookers = _Onlookers(tap, service, clock)

    async def on_tap(request: Request) -> Response:
        if request.method != "GET":
            return problem(405, "only GET is served here", fields=(("Allow", "GET"),))
        try:
            number = _after(request.query)
        except ValueError as error:
            return problem(400, str(error))
        return await onlookers.answer(number)

    return {"/tap": Added("what is decided from now on: svidecar tap", on_tap)}


def _up_to(size: int, lines: Iterable[bytes]) -> list[bytes]:
    """Take as many as have room, and one at least."""
    taken: list[bytes] = []
    for one in lines:
        size -= len(one)
        if taken and size < 0:
            break
        taken.append(one)
    return taken


def _after(query: str) -> int | None:
    """Read ``after=N``. Raises ValueError."""
    asked = parse_qsl(query, keep_blank_values=True, max_num_fields=2)
    if not asked:
        return None
    (name, value), *more = asked
    if more or name != "after" or not _NUMBER.fullmatch(value):
        raise ValueError("the query here is after=N, where N is next of the answer before, or nothing")
    return int(value)
