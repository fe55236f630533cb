"""The process metrics: the library's own collector, and what procfs may look like."""

import os
import resource
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, ProcessCollector
from support.prometheus import read_pieces

from proxy.observe.exposition import OPENMETRICS, TEXT
from proxy.observe.process import PROCESS, Process

STAT = b"7 (%s) S " + b" ".join(b"%d" % field for field in range(4, 53))
LIMITS = (
    b"Limit                     Soft Limit           Hard Limit           Units     \n"
    b"Max processes             63304                63304                processes \n"
    b"Max open files            %s                 4096                 files     \n"
)


def _procfs(folder: Path, *, name: bytes = b"svidecar", soft: bytes = b"1024") -> Path:
    """A procfs of one process with three descriptors; each field of its ``stat`` has its number as value."""
    (folder / "self" / "fd").mkdir(parents=True)
    (folder / "stat").write_bytes(b"cpu 1 2 3\nbtime 1700000000\nprocesses 9\n")
    (folder / "self" / "stat").write_bytes(STAT % name)
    (folder / "self" / "limits").write_bytes(LIMITS % soft)
    return folder


def _values(proc: Path | str = "/proc") -> dict[str, float]:
    found = read_pieces(Process(str(proc)).pieces(), TEXT)
    return {sample.name: sample.value for metric in found.values() for sample in metric.samples}


@pytest.mark.parametrize("content_type", [TEXT, OPENMETRICS])
def test_names_types_and_helps_are_the_librarys(content_type: str) -> None:
    """Dashboards for any Prometheus client show this process too."""
    library = {metric.name: metric for metric in ProcessCollector(registry=None).collect()}
    ours = read_pieces(Process().pieces(), content_type)
    shown = [(metric.name, metric.type, metric.documentation) for metric in library.values()]
    assert [(metric.name, metric.type, metric.documentation) for metric in ours.values()] == shown
    assert len(shown) == len(PROCESS)


def test_values_are_the_librarys() -> None:
    """Those that stand still exactly, the others closely: they move between two looks."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    ours = _values()
    for name in ("process_start_time_seconds", "process_max_fds"):
        assert ours[name] == registry.get_sample_value(name)
    for name in ("process_virtual_memory_bytes", "process_resident_memory_bytes", "process_cpu_seconds_total"):
        assert ours[name] == pytest.approx(registry.get_sample_value(name), rel=0.2, abs=0.2)


def test_descriptors_are_counted() -> None:
    """Three more opened are three more seen, and the limit is the kernel's."""
    before = _values()["process_open_fds"]
    more = [os.dup(0) for _ in range(3)]
    after = _values()["process_open_fds"]
    for fd in more:
        os.close(fd)
    assert after == before + 3
    assert _values()["process_max_fds"] == resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def test_fields_of_stat(tmp_path: Path) -> None:
    """Numbers of proc(5): 14 utime, 15 stime, 22 starttime, 23 vsize, 24 rss."""
    ticks, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGESIZE")
    found = _values(_procfs(tmp_path))
    assert found["process_cpu_seconds_total"] == pytest.approx((14 + 15) / ticks)
    assert found["process_start_time_seconds"] == 1_700_000_000 + 22 / ticks
    assert found["process_virtual_memory_bytes"] == 23
    assert found["process_resident_memory_bytes"] == 24 * page
    assert found["process_max_fds"] == 1024


@pytest.mark.parametrize("name", [b") R 9 9", b"a b", b"((", b"\n", b""])
def test_a_name_cannot_shift_the_fields(tmp_path: Path, name: bytes) -> None:
    """A process may name itself as it likes."""
    assert _values(_procfs(tmp_path, name=name))["process_virtual_memory_bytes"] == 23


def test_no_limit_is_infinity(tmp_path: Path) -> None:
    """Procfs writes a word, on which the library's scrape would end."""
    assert _values(_procfs(tmp_path, soft=b"unlimited"))["process_max_fds"] == float("inf")


@pytest.mark.parametrize(
    ("gone", "left"),
    [
        ("stat", {"virtual_memory_bytes", "resident_memory_bytes", "cpu_seconds_total", "open_fds", "max_fds"}),
        ("self/stat", {"open_fds", "max_fds"}),
        ("self/limits", {"virtual_memory_bytes", "resident_memory_bytes", "cpu_seconds_total", "start_time_seconds"}),
    ],
)
@pytest.mark.parametrize("content", [None, b"", b"7 (x) S 1\nbtime\nMax open files\n", b"btime x\nMax open files a b"])
def test_what_cannot_be_read_is_not_shown(tmp_path: Path, gone: str, left: set[str], content: bytes | None) -> None:
    """A scrape goes on without it: no zero that is not true, and no error."""
    file = _procfs(tmp_path) / gone
    file.unlink() if content is None else file.write_bytes(content)
    assert set(_values(tmp_path)) == {f"process_{name}" for name in left}


def test_without_procfs_nothing_is_shown(tmp_path: Path) -> None:
    """Other systems than Linux."""
    assert _values(tmp_path / "nowhere") == {}
