"""Pages of files that nobody comes back to are let go of; none that would not come back the same."""

import mmap
import re
import resource
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from proxy.net.pages import CALM, CAME, SMAPS, FilePages, Range, clean_file_ranges, unmapper

PAGE = resource.getpagesize()
LIBRARY = "/usr/lib/libsome.so.3 with spaces: and a colon"


def mapping(begin: int, permissions: str, inode: int, anonymous_kib: int, path: str = LIBRARY, more: str = "") -> str:
    """One mapping of two pages as the kernel writes it (proc_pid_smaps(5)), shortened."""
    rest = more or "Private_Hugetlb:       0 kB\nSwap:                  0 kB\n"
    return (
        f"{begin:x}-{begin + 2 * PAGE:x} {permissions} 00001000 08:01 {inode:<24} {path}\n"
        f"Size:                  8 kB\nRss:                   8 kB\nAnonymous:    {anonymous_kib:10} kB\n{rest}"
        "VmFlags: rd ex mr mw me \n"
    )


def ranges_of(text: str) -> list[Range]:
    """What the text says may go."""
    return list(clean_file_ranges(text.splitlines(keepends=True)))


@pytest.mark.parametrize(
    ("permissions", "inode", "anonymous_kib", "path", "goes"),
    [
        ("r-xp", 1234, 0, LIBRARY, True),
        ("r--p", 1234, 0, LIBRARY, True),
        ("r-xp", 1234, 0, LIBRARY + " (deleted)", True),  # an upgrade in place: the file is still there for us
        (
            "---p",
            1234,
            0,
            LIBRARY,
            False,
        ),  # nothing is resident there; it is kept free for somebody, who may write soon
        ("r--p", 1234, 4, LIBRARY, False),  # RELRO: filled in by the dynamic linker, then made read-only
        ("r-xp", 1234, 8, LIBRARY, False),  # relocated text, or a breakpoint
        ("rw-p", 1234, 0, LIBRARY, False),  # data that may be written at any moment
        ("rwxp", 1234, 0, LIBRARY, False),
        ("r--s", 1234, 0, LIBRARY, False),  # shared
        ("r--p", 0, 0, "[vvar]", False),
        ("r-xp", 0, 0, "[vdso]", False),
        ("r--p", 0, 0, "", False),  # memory of nobody's
    ],
)
def test_what_may_go(permissions: str, inode: int, anonymous_kib: int, path: str, goes: bool) -> None:  # noqa: FBT001
    """Private, of a file, not writable, without a page of our own; each alone is not enough."""
    found = ranges_of(mapping(0x7F0000000000, permissions, inode, anonymous_kib, path))
    assert found == ([(0x7F0000000000, 0x7F0000000000 + 2 * PAGE)] if goes else [])


@pytest.mark.parametrize(
    ("more", "goes"),
    [
        ("Private_Hugetlb:       0 kB\nSwap:                  0 kB\nSwapPss:               0 kB\n", True),
        ("Private_Hugetlb:       0 kB\nSwap:                  4 kB\n", False),  # "would-be-anonymous", out on swap
        ("Private_Hugetlb:    2048 kB\nSwap:                  0 kB\n", False),  # written, and made read-only
        ("Private_Hugetlb:       0 kB\n", False),
        ("Swap:                  0 kB\n", False),
    ],
)
def test_what_is_out_on_swap_is_ours_as_well(more: str, goes: bool) -> None:  # noqa: FBT001
    """Such pages are not among the anonymous ones; where the kernel does not tell of each kind, nothing goes."""
    text = mapping(0x7F0000000000, "r--p", 1234, 0, more=more) + mapping(0x7F0000010000, "rw-p", 1234, 0)
    assert ranges_of(text) == ([(0x7F0000000000, 0x7F0000000000 + 2 * PAGE)] if goes else [])


def test_each_mapping_is_judged_alone() -> None:
    """What one has says nothing of the next."""
    parts = [("r-xp", 7, 0), ("r--p", 7, 4), ("rw-p", 7, 0), ("r--p", 7, 0)]
    text = "".join(mapping(n * 4 * PAGE, *part) for n, part in enumerate(parts, start=1))
    assert ranges_of(text) == [(4 * PAGE, 6 * PAGE), (16 * PAGE, 18 * PAGE)]


class Kernel:
    """Says what is mapped, and notes what is let go of."""

    def __init__(self, folder: Path) -> None:
        self.smaps = folder / "smaps"
        self.gone: list[list[Range]] = []
        self.pages = FilePages(self._unmap, self.smaps)

    def _unmap(self, ranges: Iterable[Range]) -> None:
        self.gone.append(list(ranges))

    async def look(self, *begins: int, connections: int = 0) -> None:
        """Look while these are mapped, and so many connections are open."""
        self.smaps.write_text("".join(mapping(begin, "r-xp", 7, 0) for begin in begins))
        await self.pages.look(connections)


@pytest.mark.parametrize(
    "text", ["\n", "7f-80\n", "7f-80 r-xp\n", "x-y r-xp 0 08:01 7\n", "7f-80 r-xp 0 08:01 7\nSwap:\n"]
)
async def test_a_kernel_that_writes_otherwise(text: str, tmp_path: Path) -> None:
    """Nothing is done, and whoever looks goes on."""
    kernel = Kernel(tmp_path)
    kernel.smaps.write_text(text + mapping(4 * PAGE, "r-xp", 7, 0))
    await kernel.pages.look(0)
    await kernel.pages.look(0)
    assert all(one == (4 * PAGE, 6 * PAGE) for gone in kernel.gone for one in gone)


async def test_only_what_was_there_before_goes_and_once(tmp_path: Path) -> None:
    """A library that is being loaded, or has gone, is left alone; and serving is not disturbed again."""
    kernel = Kernel(tmp_path)
    await kernel.look(4 * PAGE, 8 * PAGE)
    assert kernel.gone == []
    await kernel.look(8 * PAGE, 16 * PAGE)
    await kernel.look(8 * PAGE, 16 * PAGE)
    assert kernel.gone == [[(8 * PAGE, 10 * PAGE)]]


@pytest.mark.parametrize(
    ("connections", "times"),
    [
        ([0, 0, 0, 0], 1),
        ([0, 0, CALM - 1, CALM - 1, CALM - 1], 1),
        ([0, 0, CAME - 1, CAME - 1, CAME - 1, CAME + CALM, CAME + CALM, CAME + CALM], 2),  # no crowd: once
        ([CAME, CAME, *[CAME + CALM] * 4], 2),  # they came when the start was over
        ([0, 0, CAME, CAME], 1),  # the second of them is calm, and looks for the first time
        ([0, 0, CAME, CAME, CAME], 2),
        ([0, 0, CAME, CAME, CAME, CAME, CAME], 2),  # they stay
        ([0, 0, *range(0, 5 * CAME, CALM)], 1),  # still coming
        ([0, 0, *range(0, CAME + 3 * (CALM - 1), CALM - 1)], 2),  # slowly
        ([0, 0, *range(0, CAME + 3 * (CALM - 1), CALM - 1), *[2 * CAME - 1] * 4], 3),  # and the last are here
        ([0, 0, CAME, CAME, CAME, *[CAME + CALM - 1] * 3], 2),  # some more
        ([0, 0, CAME, CAME, CAME, *[CAME + CALM] * 3, *[CAME + 2 * CALM] * 3, *[CAME + 3 * CALM] * 3], 3),
        ([0, 0, CAME, 0, CAME, 0, CAME, 0], 1),  # and gone
        ([0, 0, CAME, CAME, CAME, 5, CAME, CAME, CAME, 5, CAME, CAME, CAME], 3),  # not so many more
        ([0, 0, CAME, CAME, CAME, 0, CAME, CAME, CAME, CAME], 3),  # another crowd
        ([5 * CAME] * 4, 1),  # a start under load: it is let go once
    ],
)
async def test_when(connections: list[int], times: int, tmp_path: Path) -> None:
    """After the start, and after each crowd that has come and stays, once no more are coming."""
    kernel = Kernel(tmp_path)
    for count in connections:
        await kernel.look(4 * PAGE, connections=count)
    assert kernel.gone == [[(4 * PAGE, 6 * PAGE)]] * times


async def test_a_kernel_that_tells_nothing(tmp_path: Path) -> None:
    """Nothing to read, or nothing in it: nothing is done, and nobody minds."""
    kernel = Kernel(tmp_path)
    for _ in range(2):
        await kernel.pages.look(0)
    await kernel.look(4 * PAGE)
    assert kernel.gone == []
    other = Kernel(tmp_path)
    await other.look()
    await other.look(4 * PAGE)
    await other.look(4 * PAGE)
    assert other.gone == []


@pytest.fixture
def mapped(tmp_path: Path) -> Iterator[mmap.mmap]:
    """A file of 4 MiB in memory, private and read-only, all of it read."""
    path = tmp_path / "mapped"
    path.write_bytes(b"svidecar" * (4 << 17))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ) as memory:
        assert sum(memory[::PAGE]) == ord("s") * len(memory) // PAGE
        yield memory


def let_go(ranges: Iterable[Range]) -> None:
    """As this kernel does it."""
    unmap = unmapper()
    assert unmap is not None
    unmap(ranges)


def resident_kib(path: Path) -> int:
    """Of the mappings of a file in this process."""
    text = SMAPS.read_text()
    blocks = re.split(r"(?m)^(?=[0-9a-f]+-[0-9a-f]+ )", text)
    return sum(int(size) for block in blocks if str(path) in block for size in re.findall(r"Rss:\s+(\d+)", block))


def test_the_kernel_lets_go_and_gives_back(mapped: mmap.mmap, tmp_path: Path) -> None:
    """The pages leave; what is read again is what was there."""
    path = tmp_path / "mapped"
    assert resident_kib(path) == 4096
    with SMAPS.open() as lines:
        let_go([found for found in clean_file_ranges(lines) if found[1] - found[0] == len(mapped)])
    assert resident_kib(path) == 0
    assert mapped[:8] == b"svidecar"
    assert 0 < resident_kib(path) < 4096
    assert mapped[:] == b"svidecar" * (4 << 17)


async def test_this_process_runs_on() -> None:
    """All that Python, its libraries and their tables have mapped: gone, and nothing is missed."""
    pages = FilePages()
    for _ in range(2):
        await pages.look(0)
    test_each_mapping_is_judged_alone()
    assert re.fullmatch(r"(a|b)+", "abba")


def test_a_range_that_is_refused_harms_nothing() -> None:
    """The kernel says no to what is not mapped or not aligned."""
    let_go([(1, 2), (PAGE, PAGE), (0x7FFFFFFF0000, 0x7FFFFFFF0000 + PAGE)])
