"""The writer, on real files, through what happens to files."""

import fcntl
import logging
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.audit import KEY, RECORD, SIGNER, drain, lines, read_again, whole, writer

from proxy.observe.audit import writer as room
from proxy.observe.audit.signer import KeySigner
from proxy.observe.audit.writer import BATCH, Writer


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again at once."""
    monkeypatch.setattr(room, "RETRY_S", 0.0)
    monkeypatch.setattr(room, "LATER_S", 0.0)


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """Let no file of this process grow over this size: the kernel takes a part of a write, then none."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def put(made: Writer, count: int) -> None:
    """Let it write so many records."""
    made.queue.extend([RECORD] * count)
    drain(made)


def fails(made: Writer) -> bool:
    """Whether it cannot be written now."""
    return made.is_failing


def asides(path: Path) -> list[Path]:
    """The files that were moved aside, in order."""
    return sorted(found for found in path.parent.iterdir() if found.name.startswith(path.name + "."))


def test_a_batch_at_a_time(tmp_path: Path) -> None:
    """The loop has to wait for no more than a batch."""
    made = writer(tmp_path / "a.log")
    made.queue.extend([RECORD] * (BATCH + 1))
    assert made.step() is True
    assert len(made.queue) == 1
    assert made.step() is False
    assert made.close() == 0
    assert (tmp_path / "a.log").stat().st_mode & 0o777 == 0o640 & ~_umask()


def _umask() -> int:
    now = os.umask(0o022)
    os.umask(now)
    return now


@pytest.mark.parametrize("spare", [0, 1, 700, 1500])
def test_a_full_disk(tmp_path: Path, spare: int, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing of what waits is lost, no line is torn, what found no place is told, and it is said once."""
    path = tmp_path / "a.log"
    made = writer(path)
    put(made, 3)
    with room_for(path.stat().st_size + spare), caplog.at_level(logging.WARNING):
        put(made, 10)
        assert fails(made)
        put(made, 0)
        made.dropped += 5
        assert len([record for record in caplog.records if "cannot be written" in record.message]) == 1
    put(made, 2)
    assert not fails(made)
    assert made.close() == 0
    outcome = read_again(path)
    assert whole(outcome)
    assert (outcome.kinds["request"], outcome.dropped, outcome.notes) == (15, 5, [])
    assert made.n == outcome.last


@pytest.mark.parametrize("spare", [0, 1, 700])
def test_a_full_disk_to_the_end(tmp_path: Path, spare: int) -> None:
    """What is lost is counted; the next start goes on behind the last whole line."""
    path = tmp_path / "a.log"
    made = writer(path)
    put(made, 3)
    with room_for(path.stat().st_size + spare):
        put(made, 4)
        lost = made.close()
    assert 3 <= lost <= 5, "the records, and the line that tells of the end"
    again = writer(path)
    put(again, 1)
    again.close()
    outcome = read_again(path)
    assert whole(outcome)
    assert len(outcome.notes) == (1 if spare else 0), "a line was torn, and it is told"


@pytest.mark.parametrize("spare", [0, 700])
def test_moved_away_while_the_disk_is_full(tmp_path: Path, spare: int) -> None:
    """What could not be written to the old file goes whole to the new one."""
    path, old = tmp_path / "a.log", tmp_path / "old.log"
    made = writer(path)
    put(made, 3)
    with room_for(path.stat().st_size + spare):
        put(made, 3)
        path.rename(old)
    put(made, 1)
    made.close()
    outcome = read_again(old, path)
    assert whole(outcome)
    assert outcome.kinds["request"] == 7


def test_moved_away(tmp_path: Path) -> None:
    """By logrotate, which makes a new file or leaves it to us."""
    path, first, second = tmp_path / "a.log", tmp_path / "1", tmp_path / "2"
    made = writer(path)
    put(made, 2)
    path.rename(first)
    path.touch()
    put(made, 2)
    path.rename(second)
    put(made, 2)
    made.close()
    assert [line["why"] for file in (second, path) for line in lines(file) if line["kind"] == "continue"] == [
        "moved",
        "moved",
    ]
    assert whole(read_again(first, second, path))
    assert read_again(first, path).problems, "the file between them is missed"


def test_copied_and_cut(tmp_path: Path) -> None:
    """By logrotate's copytruncate: the copy and what is left are one chain."""
    path, copy = tmp_path / "a.log", tmp_path / "copy"
    made = writer(path)
    put(made, 2)
    copy.write_bytes(path.read_bytes())
    os.truncate(path, 0)
    put(made, 2)
    made.close()
    assert lines(path)[0]["why"] == "cut"
    assert whole(read_again(copy, path))


def test_another_file_cannot_be_opened(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The open one is written on, wherever it is now, and what is wrong is said once."""
    path, old = tmp_path / "a.log", tmp_path / "old"
    made = writer(path)
    put(made, 1)
    path.rename(old)
    path.mkdir()
    with caplog.at_level(logging.WARNING):
        put(made, 1)
        put(made, 1)
    assert len(caplog.records) == 1
    assert len([line for line in lines(old) if line["kind"] == "request"]) == 3
    path.rmdir()
    put(made, 1)
    made.close()
    assert whole(read_again(old, path))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    """No new file: the open one grows."""
    path = tmp_path / "a.log"
    made = writer(path, rotate_bytes=1)
    tmp_path.chmod(0o500)
    put(made, 5)
    tmp_path.chmod(0o700)
    assert len([line for line in lines(path) if line["kind"] == "request"]) == 5


def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    """The file that is open is all there is; nothing is raised."""
    folder = tmp_path / "x"
    folder.mkdir()
    made = writer(folder / "a.log")
    put(made, 1)
    (folder / "a.log").unlink()
    folder.rmdir()
    put(made, 3)
    assert made.failures
    made.close()


def test_rotation_by_size_keeps_so_many(tmp_path: Path) -> None:
    """Each file ends with a checkpoint and begins where the one before ended; the oldest are removed."""
    path = tmp_path / "a.log"
    made = writer(path, rotate_bytes=5000, keep=3)
    for _ in range(60):
        put(made, 1)
    made.close()
    old = asides(path)
    assert len(old) == 3
    assert all(4000 < file.stat().st_size < 7000 for file in old)
    assert all(lines(file)[-1]["kind"] == "checkpoint" for file in old)
    outcome = read_again(*old, path)
    assert whole(outcome)
    assert outcome.first > 1


def test_others_files_are_never_removed(tmp_path: Path) -> None:
    """Only what has the name that we give."""
    path = tmp_path / "a.log"
    others = [tmp_path / name for name in ("a.log.1", "a.log.20200101", "a.log.bak", "xa.log.20200101T000000.000000Z")]
    for other in others:
        other.touch()
    made = writer(path, rotate_bytes=1500, keep=1)
    for _ in range(20):
        put(made, 1)
    made.close()
    assert all(other.exists() for other in others)
    assert len(asides(path)) == 4


def test_rotation_by_age(tmp_path: Path) -> None:
    """Also over a restart: a file is as old as its first line."""
    path = tmp_path / "a.log"
    made = writer(path)
    put(made, 1)
    made.close()
    again = writer(path, rotate_s=0.0)
    put(again, 1)
    again.close()
    assert len(asides(path)) >= 1
    assert whole(read_again(*asides(path), path))


def test_killed_between_moving_and_opening(tmp_path: Path) -> None:
    """The chain goes on from the file that was moved aside."""
    path = tmp_path / "a.log"
    made = writer(path)
    put(made, 2)
    made.close()
    path.rename(tmp_path / "a.log.20261122T215043.000000Z")
    again = writer(path)
    put(again, 2)
    again.close()
    assert lines(path)[0]["kind"] == "resume"
    assert whole(read_again(*asides(path), path))


@pytest.mark.parametrize("cut", [1, 5, 100, 600])
def test_torn_by_a_crash(tmp_path: Path, cut: int) -> None:
    """Half a line at the end: it stays, the next one stands on a line of its own and says what it was."""
    path = tmp_path / "a.log"
    made = writer(tmp_path / "b.log")
    put(made, 3)
    path.write_bytes((tmp_path / "b.log").read_bytes()[:-cut])
    made.close()
    again = writer(path)
    put(again, 1)
    again.close()
    outcome = read_again(path)
    assert whole(outcome)
    assert len(outcome.notes) == (1 if cut > 1 else 0), "a line that lacks its end alone is whole"
    assert outcome.kinds["request"] == (3 if cut > 1 else 4)


def test_an_end_that_cannot_be_read(tmp_path: Path) -> None:
    """It is moved aside as it is, and a new chain begins that says why."""
    path = tmp_path / "a.log"
    path.write_bytes(b"somebody else's file\n")
    made = writer(path)
    put(made, 1)
    made.close()
    (aside,) = asides(path)
    assert aside.read_bytes() == b"somebody else's file\n"
    assert lines(path)[0]["kind"] == "begin"
    assert "cannot be read" in lines(path)[0]["why"]
    assert whole(read_again(path))


def test_one_process_alone(tmp_path: Path) -> None:
    """A second one is refused, also while the first has changed its file."""
    path = tmp_path / "a.log"
    made = writer(path)
    with pytest.raises(OSError, match="another process"):
        writer(path)
    path.rename(tmp_path / "old")
    put(made, 1)
    with pytest.raises(OSError, match="another process"):
        writer(path)
    made.close()
    writer(path).close()


@pytest.mark.parametrize("kind", ["fifo", "folder", "device"])
def test_no_plain_file(tmp_path: Path, kind: str) -> None:
    """A chain has to be read again, so it has to be in a file."""
    path = tmp_path / "a.log"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/null")
    with pytest.raises(OSError):
        writer(path)


def test_without_a_key_nothing_is_signed_until_there_is_one(tmp_path: Path) -> None:
    """An SVID that has not come yet holds up nothing."""
    path = tmp_path / "a.log"
    keys = [None, None, SIGNER]
    made = writer(path, lambda: keys.pop(0) if len(keys) > 1 else keys[0], checkpoint_lines=1)
    put(made, 1)
    put(made, 1)
    assert not [line for line in lines(path) if line["kind"] == "checkpoint"]
    put(made, 1)
    made.close()
    assert whole(read_again(path))


def test_a_key_that_stays_with_other_certificates(tmp_path: Path) -> None:
    """An SVID may be renewed without a new key: by the certificates of the old one its checkpoints would not hold."""
    path, shown = tmp_path / "a.log", [(b"old",), (b"old",), (b"new", b"ca"), (b"new", b"ca")]
    made = writer(path, lambda: KeySigner(KEY, shown[0]), checkpoint_lines=1)
    found = []
    while shown:
        put(made, 1)
        found.append(lines(path)[-1].get("certificates"))
        shown.pop(0)
    assert found == [[b"old".hex()], None, [b"new".hex(), b"ca".hex()], None]


def test_a_record_that_cannot_be_written_is_one_that_is_dropped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A fault of ours costs one line, and is told."""
    path = tmp_path / "a.log"
    made = writer(path)
    made.queue.append(RECORD._replace(peer=7))  # type: ignore[arg-type]
    put(made, 2)
    made.close()
    outcome = read_again(path)
    assert (outcome.kinds["request"], outcome.dropped) == (2, 1)
    assert "could not be made into a line" in caplog.text


def test_the_lock_is_given_up(tmp_path: Path) -> None:
    """At the end of the writer, not of the process."""
    path = tmp_path / "a.log"
    writer(path).close()
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
