"""A descriptor that never makes us wait."""

import os
import stat
from pathlib import Path

import pytest

from proxy.observe.sink import PIPE_BUF, Sink


def test_appends_to_a_file(tmp_path: Path) -> None:
    """What was there stays; the file is not for everyone."""
    path = tmp_path / "log"
    path.write_bytes(b"old\n")
    for text in (b"one\n", b"two\n"):
        sink = Sink(str(path))
        assert sink.write(text) == 4
        sink.close()
    assert path.read_bytes() == b"old\none\ntwo\n"
    new = tmp_path / "new"
    Sink(str(new)).close()
    assert stat.S_IMODE(new.stat().st_mode) & 0o027 == 0


@pytest.mark.parametrize(("size", "taken"), [(PIPE_BUF, PIPE_BUF), (PIPE_BUF + 1, PIPE_BUF)])
def test_limit_of_one_write(tmp_path: Path, size: int, taken: int) -> None:
    """More than PIPE_BUF could block on a pipe that poll calls writable."""
    sink = Sink(str(tmp_path / "log"))
    assert sink.write(b"x" * size) == taken
    sink.close()


def test_full_pipe_takes_nothing_and_does_not_wait(tmp_path: Path) -> None:
    """A reader that stands still costs lines, never the loop; when it reads again, it goes on."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    sink = Sink(str(fifo))
    while sink.write(b"x" * PIPE_BUF):
        pass
    assert not sink.is_ready()
    assert sink.write(b"y") == 0
    os.read(reader, 1 << 20)
    assert sink.write(b"y") == 1
    os.close(reader)
    with pytest.raises(BrokenPipeError):
        sink.write(b"z")
    sink.close()


def test_standard_output_that_stands_still_is_not_waited_for() -> None:
    """The same on the inherited descriptor 1, which stays a blocking one for the others who share it."""
    read_end, write_end = os.pipe()
    saved = os.dup(1)
    try:
        os.dup2(write_end, 1)
        sink = Sink("stdout")
        written = 0
        while taken := sink.write(b"x" * PIPE_BUF):
            written += taken
        assert os.get_blocking(1)
        assert len(os.read(read_end, 1 << 20)) == written
    finally:
        os.dup2(saved, 1)
        for fd in (saved, read_end, write_end):
            os.close(fd)


def test_fifo_without_a_reader_is_refused_at_once(tmp_path: Path) -> None:
    """Opening it in the usual way would hang the start."""
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match="No such device"):
        Sink(str(tmp_path / "fifo"))


def test_reopen_follows_the_path(tmp_path: Path) -> None:
    """After logrotate has moved the file, lines go to a new one."""
    path = tmp_path / "log"
    sink = Sink(str(path))
    sink.write(b"before\n")
    path.rename(tmp_path / "log.1")
    sink.write(b"still there\n")
    sink.reopen()
    sink.write(b"after\n")
    sink.close()
    assert (tmp_path / "log.1").read_bytes() == b"before\nstill there\n"
    assert path.read_bytes() == b"after\n"


def test_reopen_that_fails_keeps_the_old_file(tmp_path: Path) -> None:
    """A directory in the place of the file: the error is told, the old descriptor goes on."""
    path = tmp_path / "log"
    sink = Sink(str(path))
    path.rename(tmp_path / "log.1")
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        sink.reopen()
    assert sink.write(b"x") == 1
    sink.close()
    assert (tmp_path / "log.1").read_bytes() == b"x"


def test_standard_descriptors_are_not_ours_to_close() -> None:
    """Neither close nor reopen touches them."""
    sink = Sink("stderr")
    sink.reopen()
    sink.close()
    os.fstat(2)
