"""A file of records that several have: one at a time, whatever happens to the file, and nothing of it in part."""

import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.net import common_file
from proxy.net.common_file import CommonFile

ONE, TWO, THREE = b"one.", b"two.", b"tri."


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[CommonFile, CommonFile]]:
    """Two who have it; as two processes would, each by a descriptor of its own."""
    both = CommonFile(tmp_path / "file", 4), CommonFile(tmp_path / "file", 4)
    yield both
    for one in both:
        one.close()


def put(file: CommonFile, records: bytes) -> bytes:
    """Append, and give what was new before."""
    assert file.take()
    found = file.left() + file.read()[0]
    file.append(records)
    file.release()
    return found


def look(file: CommonFile) -> tuple[bytes, bytes, bool]:
    """What is new: of other files, of this one, and whether that is all."""
    assert file.take()
    found = file.left(), *file.read()
    file.release()
    return found


def test_one_at_a_time(pair: tuple[CommonFile, CommonFile]) -> None:
    """Whoever has it has it alone, until it is released; taking it twice is taking it once."""
    one, two = pair
    assert one.take()
    assert one.take()
    assert not two.take()
    one.release()
    assert two.take()
    two.close()
    assert one.take()


def test_each_reads_what_the_others_appended(pair: tuple[CommonFile, CommonFile], tmp_path: Path) -> None:
    """In its order, each record once; it is ours alone."""
    one, two = pair
    assert put(one, ONE) == b""
    assert put(two, TWO + THREE) == ONE
    assert look(one) == (b"", TWO + THREE, False)
    assert look(one) == (b"", b"", False)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600


def test_half_a_record_is_dropped(pair: tuple[CommonFile, CommonFile], tmp_path: Path) -> None:
    """Whoever wrote it has told nobody; the next record is whole."""
    one, two = pair
    put(one, ONE)
    with (tmp_path / "file").open("ab") as file:
        file.write(b"ha")
    assert put(two, TWO) == ONE
    assert look(one) == (b"", TWO, False)


@pytest.mark.parametrize("how", ["removed", "moved with its folder", "replaced"])
def test_another_file_under_the_name(tmp_path: Path, how: str) -> None:
    """It is read from its beginning; and of the old one nothing is lost that was not read yet."""
    folder = tmp_path / "folder"
    folder.mkdir()
    one, two = CommonFile(folder / "file", 4), CommonFile(folder / "file", 4)
    look(two)
    put(one, ONE)
    if how == "removed":
        (folder / "file").unlink()
    elif how == "replaced":
        (tmp_path / "new").write_bytes(THREE)
        (tmp_path / "new").chmod(0o600)
        (tmp_path / "new").rename(folder / "file")
    else:
        folder.rename(tmp_path / "old")
        folder.mkdir()
    assert look(two) == (ONE, THREE if how == "replaced" else b"", True)
    put(two, TWO)
    assert look(one) == (b"", THREE + TWO if how == "replaced" else TWO, True)
    one.close()
    two.close()


def test_it_is_written_anew(pair: tuple[CommonFile, CommonFile], tmp_path: Path) -> None:
    """By whoever has it, who goes on having it; the others read all of it."""
    one, two = pair
    put(one, ONE + TWO)
    look(two)
    assert one.take()
    one.read()
    one.rewrite(TWO)
    assert not two.take(), "the old one is of nobody, but the new one is taken"
    one.append(THREE)
    one.release()
    assert look(two) == (b"", TWO + THREE, True)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_cannot_be_written(
    pair: tuple[CommonFile, CommonFile], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk takes half of a record: nothing of it is kept, and a file that is written anew stays as it was."""
    one, two = pair
    put(one, ONE)
    assert one.take()
    one.read()
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:-1]))
    for attempt in (one.append, one.rewrite):
        with pytest.raises(OSError, match="No space left"):
            attempt(TWO)
    monkeypatch.undo()
    one.append(THREE)
    one.release()
    assert look(two) == (b"", ONE + THREE, True)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_files_that_are_not_ours_alone(tmp_path: Path) -> None:
    """A link, a folder, a pipe, one that others may write; nobody waits, and nothing is opened."""
    path = tmp_path / "file"
    file = CommonFile(path, 4)
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        file.take()
    assert not (tmp_path / "elsewhere").exists()
    path.unlink()
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        file.take()
    path.rmdir()
    os.mkfifo(path)
    with pytest.raises(OSError, match="regular file"):
        file.take()
    path.unlink()
    path.write_bytes(b"")
    path.chmod(0o620)
    with pytest.raises(PermissionError, match="chmod 600"):
        file.take()
    path.chmod(0o600)
    assert file.take()
    file.close()


def test_a_file_that_was_cut_or_has_no_end(
    pair: tuple[CommonFile, CommonFile], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was in it is not known any more; and the bound of what is read."""
    one, _ = pair
    put(one, ONE + TWO)
    os.truncate(tmp_path / "file", 4)
    assert one.take()
    with pytest.raises(OSError, match="cut"):
        one.read()
    one.close()
    monkeypatch.setattr(common_file, "MAX_BYTES", 4)
    assert look(one) == (b"", ONE, True)
    os.truncate(tmp_path / "file", 5)
    assert one.take()
    with pytest.raises(OSError, match="larger than 4 bytes") as caught:
        one.read()
    assert caught.value.errno == errno.EFBIG


def test_one_that_is_always_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks for ever."""
    file = CommonFile(tmp_path / "file", 4)
    real = fcntl.flock

    def swept(descriptor: int, how: int) -> None:
        real(descriptor, how)
        (tmp_path / "file").unlink()

    monkeypatch.setattr(fcntl, "flock", swept)
    with pytest.raises(OSError, match="again and again"):
        file.take()
