"""What a start, or a crowd of handshakes, has mapped of files, and serving does not use, is let go of.

Imports, relocations, the reading of YAML and certificates: a start runs code that nobody comes back to, and its pages
stay resident until the kernel is short of memory. 18 of 52 MB were that, and with 1000 connections open the kernel had
seen a quarter of them used. Handshakes map 10 MB of it again; where many connections have come and stay, it has done
its work once more. ``madvise(2)`` unmaps it. What is used again is mapped again from the page cache, 16 pages at a
fault; the rest the kernel may give to others at once.

Only what would come back the same: private mappings of files that are read and not written, without a page of our own,
be it in memory or out on swap. (What the dynamic linker has filled in is read-only too, and would be lost.) While a
library is being loaded it stands in the list in parts, so a mapping must have been there at an earlier look as well.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from proxy.net.aside import aside

SMAPS: Final = Path("/proc/self/smaps")
MADV_DONTNEED: Final = 4

OWN: Final = frozenset({"Anonymous:", "Private_Hugetlb:", "Swap:"})
"""What a mapping holds that is in no file. A page that is out on swap, or huge, does not count as anonymous."""

Range = tuple[int, int]
"""The addresses of a mapping: its first, and the one behind its last."""

Unmap = Callable[[Iterable[Range]], None]

CAME: Final = 100
"""Connections more than when it was last let go: some 200 of the 16 pages each that a fault maps, 0.3 ms, are not much
beside their handshakes."""

CALM: Final = 10
"""Connections that have come since the look before: with more, the code of handshakes is still at work."""


class FilePages:
    """``look`` every second once the start is over."""

    __slots__ = ("_before", "_is_due", "_least", "_seen", "_smaps", "_stragglers", "_unmap")

    def __init__(self, unmap: Unmap | None = None, smaps: Path = SMAPS) -> None:
        self._unmap = unmap
        self._smaps = smaps
        self._seen: set[Range] | None = None
        self._is_due = True  # the start is over
        self._least = 0  # connections at once, since it was last let go
        self._before = 0
        self._stragglers = True  # after the start, or a crowd, more may come, that are no crowd of their own

    async def look(self, connections: int) -> None:
        """Let go of what was there at the look before as well: after the start, and when many have come and stay.

        Where the machine is slow, callers come while it is done: once more when the last of them are here.

        Where the kernel tells nothing, do nothing.
        """
        came, self._before = connections - self._before, connections
        self._least = min(self._least, connections)
        grown = connections - self._least
        if not self._is_due and ((grown >= CAME and came < CALM) or (self._stragglers and grown >= CALM and came <= 0)):
            self._is_due, self._stragglers = True, grown >= CAME
        if self._is_due:
            await aside(self._look, connections)

    def _look(self, connections: int) -> None:
        if self._seen is None:
            self._seen = self._clean()
            return
        unmap = self._unmap or unmapper()  # which loads code: before the look, so that little happens after it
        stable = sorted(self._clean() & self._seen)
        self._seen, self._is_due, self._least = None, False, connections
        if stable and unmap is not None:
            unmap(stable)

    def _clean(self) -> set[Range]:
        try:
            with self._smaps.open(encoding="utf-8", errors="replace") as lines:
                return set(clean_file_ranges(lines))
        except (OSError, ValueError):  # no /proc, or not ours to read; or a kernel that writes it otherwise
            return set()


def clean_file_ranges(smaps: Iterable[str]) -> Iterator[Range]:
    """Read ``/proc/PID/smaps`` (proc_pid_smaps(5)): the mappings whose pages are all the file's, and stay so.

    Raises:
        ValueError: it is not as the kernel writes it.

    """
    found, told = None, 0
    for line in smaps:
        name, *rest = line.split(maxsplit=5)
        if not name.endswith(":"):  # 7f0c3000-7f0c5000 r-xp 00002000 08:01 1234  /usr/lib/libc.so.6
            permissions, _, _, inode, *_ = rest
            begin, _, end = name.partition("-")
            clean = inode != "0" and permissions in ("r--p", "r-xp")
            found, told = ((int(begin, 16), int(end, 16)) if clean else None), 0
        elif name in OWN and found is not None:
            told += 1
            if rest[:1] != ["0"]:
                found = None
            elif told == len(OWN):
                yield found


def unmapper() -> Unmap | None:
    """Give what unmaps resident pages of mappings; a range that the kernel refuses stays. None: there is no such."""
    try:
        import ctypes  # noqa: PLC0415 - 0.4 MB, only where it gives back more

        madvise = ctypes.CDLL(None).madvise
    except (ImportError, OSError, AttributeError):  # a Python without ctypes, a C library that cannot be asked
        return None
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)

    def let_go(ranges: Iterable[Range]) -> None:
        for begin, end in ranges:
            madvise(begin, end - begin, MADV_DONTNEED)

    return let_go
