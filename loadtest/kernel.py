"""CPU time and memory of processes, as the kernel accounts for them (proc(5)).

CPU time is the first field of ``schedstat``: nanoseconds on a core, summed over the threads. ``utime + stime`` would
round to 10 ms. Loopback has no wire: the kernel's work for a received segment is charged to the process that sent it,
for every contender alike.
"""

import contextlib
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass
from pathlib import Path

PROC = Path("/proc")
NS = 1e-9
KIB_PER_MB = 1e6 / 1024
LOOK_S = 0.03
PEAK_RESET = "5"  # written to clear_refs: VmHWM starts again from VmRSS


@dataclass(frozen=True, slots=True)
class Memory:
    """Megabytes (10^6). ``pss`` shares common pages out, so that a parent and its worker are not counted twice.

    ``anonymous`` is the part of ``rss`` that is nobody else's and in no file: it cannot be let go of.
    """

    rss: float
    peak: float
    pss: float
    anonymous: float


def session(leader: int) -> list[int]:
    """The pids of the session that ``leader`` leads: a process that we started and all that came of it."""
    found = []
    for entry in PROC.iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            if session_of((entry / "stat").read_text()) == leader:
                found.append(int(entry.name))
    return found


def session_of(stat: str) -> int:
    """The sixth field; 0 for a zombie. The second field may hold spaces and brackets, so count from its end."""
    fields = stat.rpartition(")")[2].split()
    return 0 if fields[0] == "Z" else int(fields[3])


def cpu_s(leader: int) -> float:
    """Seconds of CPU that the living threads of the session of ``leader`` have used."""
    total = 0
    for pid in session(leader):
        for task in (PROC / str(pid) / "task").iterdir():
            with contextlib.suppress(OSError):
                total += int((task / "schedstat").read_text().split()[0])
    return total * NS


def memory(leader: int) -> Memory:
    """Resident, peak, proportional and anonymous memory, summed over the session of ``leader``."""
    each = [_memory(PROC / str(pid)) for pid in session(leader)]
    return Memory(*(sum(parts) for parts in zip(*map(astuple, each), strict=True))) if each else Memory(0, 0, 0, 0)


def anonymous_mb(leader: int) -> float:
    """What the session of ``leader`` holds that is in no file, in MB: cheap enough to look often."""
    return sum(megabytes((PROC / str(pid) / "status").read_text().splitlines(), "RssAnon") for pid in session(leader))


@contextlib.contextmanager
def anonymous_peaks(leaders: Mapping[str, int]) -> Iterator[dict[str, float]]:
    """The most that each held of it, at a look every ``LOOK_S``; whole when the block has ended."""
    peaks = {name: anonymous_mb(leader) for name, leader in leaders.items()}
    over = threading.Event()

    def watch() -> None:
        while not over.wait(LOOK_S):
            for name, leader in leaders.items():
                with contextlib.suppress(OSError):
                    peaks[name] = max(peaks[name], anonymous_mb(leader))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peaks
    finally:
        over.set()
        watcher.join()


def reset_peak(leader: int) -> None:
    """Let the peak start again from what is resident now."""
    for pid in session(leader):
        (PROC / str(pid) / "clear_refs").write_text(PEAK_RESET)


def _memory(process: Path) -> Memory:
    status = (process / "status").read_text().splitlines()
    smaps = (process / "smaps_rollup").read_text().splitlines()
    of_status = {name: megabytes(status, name) for name in ("VmRSS", "VmHWM", "RssAnon")}
    return Memory(of_status["VmRSS"], of_status["VmHWM"], megabytes(smaps, "Pss"), of_status["RssAnon"])


def megabytes(lines: Iterable[str], name: str) -> float:
    """The value of ``name:   1234 kB`` in MB; 0 where it is missing (a kernel thread, a zombie)."""
    for line in lines:
        key, _, rest = line.partition(":")
        if key == name:
            return int(rest.split()[0]) / KIB_PER_MB
    return 0.0


@dataclass(frozen=True, slots=True)
class CoreTime:
    """Ticks of some cores: all, and those in which nothing ran."""

    total: int
    idle: int
    stolen: int

    def busy_since(self, before: "CoreTime") -> float:
        """The part of the time since ``before`` in which something ran here, 0 to 1."""
        total = self.total - before.total
        return 1 - (self.idle - before.idle) / total if total else 0.0

    def stolen_since(self, before: "CoreTime") -> float:
        """The part of the time in which the hypervisor ran somebody else, 0 to 1."""
        total = self.total - before.total
        return (self.stolen - before.stolen) / total if total else 0.0


def core_time(cores: Iterable[int], stat: str | None = None) -> CoreTime:
    """The ticks of ``cores``, from ``/proc/stat``."""
    wanted = {f"cpu{core}" for core in cores}
    lines = (PROC / "stat").read_text() if stat is None else stat
    rows = [[int(n) for n in line.split()[1:9]] for line in lines.splitlines() if line.split()[0] in wanted]
    return CoreTime(sum(map(sum, rows)), sum(row[3] + row[4] for row in rows), sum(row[7] for row in rows))
