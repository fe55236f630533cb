"""The only place that makes a task: each has an owner, and ends with it (law 10)."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

_log = logging.getLogger(__name__)

END_S = 2.0
"""What a cancelled task may take to end: an end that waits for ever is worse than a task that is cut."""


class Tasks:
    """The tasks of one owner. A task that fails is logged, never lost; ``close`` cancels and awaits the rest."""

    __slots__ = ("_closed", "_name", "_tasks")

    def __init__(self, name: str) -> None:
        self._name = name
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Start ``coroutine``; after ``close`` it is dropped and a RuntimeError raised."""
        if self._closed:
            coroutine.close()
            raise RuntimeError(f"{self._name} has ended; {name} cannot start")
        task = asyncio.get_running_loop().create_task(coroutine, name=f"{self._name}:{name}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("task %s failed", task.get_name(), exc_info=error)

    async def close(self) -> None:
        """Cancel what still runs and wait until all of it has ended, for ``END_S`` at most."""
        self._closed = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            _, stuck = await asyncio.wait(tasks, timeout=END_S)
            for task in stuck:
                _log.error("task %s does not end", task.get_name())
