"""Work in a thread of its own."""

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest

from proxy.net.aside import aside


async def test_the_loop_goes_on_meanwhile() -> None:
    """What it gives comes back, and its thread ends with it."""
    began, may_end = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def work(answer: int) -> int:
        loop.call_soon_threadsafe(began.set)
        assert may_end.wait(5)
        return answer

    async def release() -> None:
        await began.wait()
        may_end.set()

    answer, _ = await asyncio.gather(aside(work, 42), release())
    assert answer == 42
    async with asyncio.timeout(20):
        while any(thread.name.startswith("aside") for thread in threading.enumerate()):
            await asyncio.sleep(0.001)


async def test_what_it_raises_is_raised() -> None:
    """Where it is awaited."""

    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await aside(fail)


@pytest.fixture
def no_threads() -> Iterator[None]:
    """A process in which no thread can be started: the kernel has no room for its stack."""
    threading.stack_size(1 << 46)
    yield
    threading.stack_size(0)


@pytest.mark.usefixtures("no_threads")
async def test_where_no_thread_can_be_had() -> None:
    """It is done all the same, once, and what it raises is raised: a reload is not lost for want of a thread."""
    with pytest.raises(RuntimeError, match="can't start new thread"):
        threading.Thread(target=print).start()
    done: list[threading.Thread] = []
    await aside(lambda: done.append(threading.current_thread()))
    assert done == [threading.main_thread()]
    with pytest.raises(ZeroDivisionError):
        await aside(lambda: 1 // 0)


def test_a_loop_that_ends_first(caplog: pytest.LogCaptureFixture) -> None:
    """Cancelled at the end of the process: the thread comes to its end, and nobody is told of a fault."""
    ended = threading.Event()

    def work() -> None:
        time.sleep(0.1)
        ended.set()

    async def main() -> None:
        async with asyncio.timeout(0.01):
            await aside(work)

    with pytest.raises(TimeoutError):
        asyncio.run(main())
    assert ended.wait(5)
    assert caplog.text == ""
