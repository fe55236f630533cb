"""The loop under aiofastnet's transports: uvloop, with a reader that outlives a reset.

A reset that comes together with the last bytes before it is one event to libuv, which then stops watching the socket.
uvloop calls the reader once more and drops it (``UVPoll._fatal_error``); but aiofastnet reads those bytes, takes a
short read for the end of what there is, and waits for a next call. It never comes: a caller would hold its place until
its deadline, and half an answer of an app that died would keep its caller waiting for minutes. So a reader that was
dropped without being removed is put back, and its next read finds the error. Other reads pay nothing for it:
the drop is seen by a weak reference to the bound method, which uvloop alone holds.
"""

import weakref
from collections.abc import Callable
from typing import Any, Self

import uvloop


class _Reader(weakref.ref[Callable[..., object]]):
    """A method that its owner wants to be called; dead when the loop has dropped it. Small, for each socket has one."""

    __slots__ = ("descriptor", "name", "owner")

    def __new__(cls, method: Callable[..., object], on_dropped: Callable[["_Reader"], None], _descriptor: int) -> Self:
        return super().__new__(cls, method, on_dropped)

    def __init__(self, method: Callable[..., object], on_dropped: Callable[["_Reader"], None], descriptor: int) -> None:
        super().__init__(method, on_dropped)  # type: ignore[call-arg]  # typeshed knows __new__ alone
        self.owner: object = method.__self__  # type: ignore[attr-defined]  # a method of an object
        self.name = method.__name__
        self.descriptor = descriptor


class FastLoop(uvloop.Loop):
    """See the module."""

    def __init__(self) -> None:
        super().__init__()
        self._readers: dict[int, _Reader] = {}  # by descriptor
        self._when_dropped = self._on_dropped  # one method for all of them

    def add_reader(  # type: ignore[override]  # the stubs of asyncio and uvloop differ
        self, fd: Any, callback: Callable[..., object], *args: Any
    ) -> None:
        """Call ``callback`` whenever there is something to read. Only a method without ``args`` is put back."""
        descriptor = _descriptor(fd)
        self._readers.pop(descriptor, None)
        if getattr(callback, "__self__", None) is not None and not args:
            self._readers[descriptor] = _Reader(callback, self._when_dropped, descriptor)
        super().add_reader(fd, callback, *args)

    def remove_reader(self, fd: Any) -> None:  # type: ignore[override]  # as above
        """Call it no more."""
        self._readers.pop(_descriptor(fd), None)
        super().remove_reader(fd)

    def _on_dropped(self, reader: _Reader) -> None:
        if self._readers.get(reader.descriptor) is reader and not self.is_closed():
            self.call_soon(self._put_back, reader)

    def _put_back(self, reader: _Reader) -> None:
        descriptor = reader.descriptor
        if self._readers.get(descriptor) is reader:  # not removed meanwhile, nor is the descriptor another's
            super().remove_reader(descriptor)  # the watch that libuv has ended; uvloop still holds it
            self.add_reader(descriptor, getattr(reader.owner, reader.name))


def _descriptor(fd: Any) -> int:
    number: int = fd if isinstance(fd, int) else fd.fileno()
    return number
