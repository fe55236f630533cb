"""The process as the kernel sees it: the metrics that every Prometheus client has, by their common names.

Read when a scrape comes, from procfs (proc(5)). Where there is none, or not for us, these metrics are not shown.
"""

import os
from collections.abc import Iterator, Mapping

from proxy.observe.exposition import Piece
from proxy.observe.lines import single
from proxy.observe.table import Declaration, Kind

PROCESS = (
    Declaration(name="process_virtual_memory_bytes", kind=Kind.GAUGE, help="Virtual memory size in bytes."),
    Declaration(name="process_resident_memory_bytes", kind=Kind.GAUGE, help="Resident memory size in bytes."),
    Declaration(
        name="process_start_time_seconds",
        kind=Kind.GAUGE,
        help="Start time of the process since unix epoch in seconds.",
    ),
    Declaration(
        name="process_cpu_seconds_total", kind=Kind.COUNTER, help="Total user and system CPU time spent in seconds."
    ),
    Declaration(name="process_open_fds", kind=Kind.GAUGE, help="Number of open file descriptors."),
    Declaration(name="process_max_fds", kind=Kind.GAUGE, help="Maximum number of open file descriptors."),
)

_UNREADABLE = (OSError, ValueError, IndexError)
"""Not there, not for us, or not as Linux writes it: a scrape goes on without."""


class Process:
    """This process. ``proc`` is where procfs is mounted."""

    __slots__ = ("_booted_at", "_page", "_proc", "_ticks")

    def __init__(self, proc: str = "/proc") -> None:
        self._proc = proc
        self._ticks = os.sysconf("SC_CLK_TCK")
        self._page = os.sysconf("SC_PAGESIZE")
        self._booted_at = self._read_boot_time()

    def pieces(self) -> Iterator[Piece]:
        """Give what can be read now."""
        values = {**self._usage(), **self._descriptors()}
        for declaration in PROCESS:
            if declaration.name in values:
                lines = single(declaration.name, (), values[declaration.name])
                yield Piece(name=declaration.name, kind=declaration.kind, help=declaration.help, lines=lines)

    def _read(self, name: str) -> bytes:
        with open(f"{self._proc}/{name}", "rb", buffering=0) as file:  # noqa: PTH123 - no buffer and no Path for a scrape
            return file.read()

    def _read_boot_time(self) -> float | None:
        try:
            (found,) = (line for line in self._read("stat").splitlines() if line.startswith(b"btime "))
            return float(found.split()[1])
        except _UNREADABLE:
            return None

    def _usage(self) -> Mapping[str, float]:
        """``stat``: what stands after the name, in which anything may stand, begins with field 3 of proc(5)."""
        try:
            fields = self._read("self/stat").rpartition(b")")[2].split()
            usage = {
                "process_virtual_memory_bytes": float(fields[20]),
                "process_resident_memory_bytes": float(fields[21]) * self._page,
                "process_cpu_seconds_total": float(fields[11]) / self._ticks + float(fields[12]) / self._ticks,
            }
            if self._booted_at is not None:
                usage["process_start_time_seconds"] = float(fields[19]) / self._ticks + self._booted_at
        except _UNREADABLE:
            return {}
        return usage

    def _descriptors(self) -> Mapping[str, float]:
        try:
            (line,) = (line for line in self._read("self/limits").splitlines() if line.startswith(b"Max open files"))
            soft = line.split()[3]
            return {
                "process_open_fds": self._count_descriptors(),
                "process_max_fds": float("inf") if soft == b"unlimited" else float(soft),
            }
        except _UNREADABLE:
            return {}

    def _count_descriptors(self) -> int:
        """Since Linux 6.2 the folder's size is their number; to list 2000 of them holds the loop for 2 to 4 ms."""
        folder = f"{self._proc}/self/fd"
        return os.stat(folder).st_size or len(os.listdir(folder))  # noqa: PTH116, PTH208 - as above
