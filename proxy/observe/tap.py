"""Looking on: the last records of the access log, for whoever asks now, whether or not they are logged.

Nothing is kept while nobody looks, and little while somebody does: who is slower than the requests misses some, and is
told how many. Nobody who looks on can hold up a request.
"""

import asyncio
from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import Final, Generic, TypeVar

R = TypeVar("R")
"""A record."""

MAX_HELD: Final = 1024
"""Records that wait for those who look on: some 0.5 MB, and a tenth of a second at full speed."""

MAX_SEEN: Final = 256
"""Records of one look: two milliseconds of the loop, to write them as lines."""

LEFT_S: Final = 30.0
"""After so long without a look nobody is there any more."""


@dataclass(frozen=True, slots=True)
class Seen(Generic[R]):
    """``records``, the oldest first; ``missed`` came before them and are gone. Look on from ``number``.

    Nobody has counted those that came while nobody looked: then ``missed`` is None.
    """

    number: int
    missed: int | None
    records: tuple[R, ...]


class Tap(Generic[R]):
    """``after`` waits and looks; ``put`` only while it ``is_open``."""

    __slots__ = ("_began", "_came", "_closed", "_left", "_loop", "_number", "_records", "is_open")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.is_open = False
        self._loop = loop
        self._number = 0  # of records, since the start; one more each time that all have left, for what came then
        self._began = 0  # the number when somebody began to look: what came before was not counted
        self._records: deque[R] = deque(maxlen=MAX_HELD)
        self._came = asyncio.Event()
        self._left: asyncio.TimerHandle | None = None
        self._closed = False

    def put(self, record: R) -> None:
        """Keep a record for those who look on."""
        self._number += 1
        self._records.append(record)
        self._came.set()

    async def after(self, number: int | None, wait_s: float) -> Seen[R]:
        """Give what came after ``number``, or what comes from now on; wait for the first of it, but not for long."""
        return self.look(await self.wait(number, wait_s))

    async def wait(self, number: int | None, wait_s: float) -> int:
        """Wait until there is something to see after ``number``, but not for long; give the number to look from."""
        self._somebody_looks()
        if number is None:
            number = self._number
        elif number > self._number:  # of a sidecar that was here before us
            number = 0
        if number == self._number and not self._closed:
            self._came.clear()
            try:
                async with asyncio.timeout(wait_s):
                    await self._came.wait()
            except TimeoutError:
                pass
            self._somebody_looks()
        return number

    def look(self, number: int) -> Seen[R]:
        """Give what there is after ``number``, which ``wait`` gave."""
        gone = max(0, self._number - len(self._records) - number)
        begin = len(self._records) - (self._number - number - gone)
        records = tuple(islice(self._records, begin, begin + MAX_SEEN))
        return Seen(number + gone + len(records), None if number < self._began else gone, records)

    def close(self) -> None:
        """Let nobody wait, now or later."""
        self._closed = True
        self._nobody_looks()
        self._came.set()

    def _somebody_looks(self) -> None:
        if self._closed:
            return
        if self._left is not None:
            self._left.cancel()
        self._left = self._loop.call_later(LEFT_S, self._nobody_looks)
        self.is_open = True

    def _nobody_looks(self) -> None:
        if self._left is not None:
            self._left.cancel()
        if self.is_open and not self._closed:
            self._number += 1
            self._began = self._number
        self.is_open, self._left = False, None
        self._records.clear()
