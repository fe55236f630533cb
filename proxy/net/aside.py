"""A thread for what is busy for milliseconds outside of the interpreter, and would hold the loop.

The thread is made for the one call and ends with it. The loop's own executor is not used: under ``event_loop: asyncio``
names are resolved in it, and some that hang would hold up whoever comes next. Where no thread can be had (a container
has so many, and no more) the loop is held after all: a reload, or an SVID that is new, must not be lost for that.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def aside(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do ``work`` in a thread and give what it gives. Cancelled, it goes on to its end, and nobody hears of it."""
    executor = ThreadPoolExecutor(1, "aside")
    try:
        doing = asyncio.wrap_future(executor.submit(work, *args, **kwargs))
    except RuntimeError:  # "can't start new thread"
        return work(*args, **kwargs)
    finally:
        executor.shutdown(wait=False)  # ends the thread when it is done
    return await doing
