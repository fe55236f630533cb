"""What is kept over a restart: line by line, shared by processes, and not believed where it cannot be read."""

import fcntl
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.revocation import NOW, entry

from proxy.errors import RevocationsInvalid
from proxy.policy.revocation import Entry
from proxy.revocation import journal
from proxy.revocation.journal import Change, Journal


def change(name: str, source: str = "admin") -> Change:
    """One more."""
    put = entry(txn=name)
    return Change(source, put.id, put)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where it is."""
    return tmp_path / "revoked.journal"


def test_what_is_kept_is_read_by_all(path: Path) -> None:
    """By who wrote it, by another process, by one that comes later; each reads on where it stopped."""
    one, other = Journal(path), Journal(path)
    assert one.read() == ([], True)
    one.append([change("a"), change("b", "feed")], NOW)
    assert one.read() == ([change("a"), change("b", "feed")], True)
    assert other.read() == ([change("a"), change("b", "feed")], True)
    other.append([Change("admin", change("a").key, None)], NOW)
    for reader in (one, other):
        assert reader.read() == ([Change("admin", change("a").key, None)], False)
        assert reader.read() == ([], False)
    assert len(Journal(path).read()[0]) == 3
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("end", range(1, 48, 6))
def test_a_line_that_was_cut_off(path: Path, end: int) -> None:
    """By a crash, before anybody was told that it is kept: it is dropped, and the next takes its place."""
    one = Journal(path)
    one.append([change("a")], NOW)
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:end])
    assert one.read() == ([change("a")], True)
    one.append([change("b")], NOW)
    assert Journal(path).read()[0] == [change("a"), change("b")]


@pytest.mark.parametrize(
    "line",
    [
        b"garbage",
        b"",
        b"{}",
        b"[]",
        b'{"at":1,"source":"admin","put":{"tx":"a"}}',
        b'{"at":1,"source":"admin","put":5}',
        b'{"at":"x","source":"admin","drop":"a"}',
        b'{"at":1,"source":"admin","put":{"txn":"a"},"put":{"txn":"b"}}',
    ],
)
def test_a_line_in_the_middle_that_cannot_be_read(path: Path, line: bytes) -> None:
    """Nobody knows what it took back, so nothing is believed until somebody has mended it."""
    one = Journal(path)
    one.append([change("a")], NOW)
    path.write_bytes(line + b"\n" + path.read_bytes())
    for reader in (one, Journal(path)):
        with pytest.raises(RevocationsInvalid, match="mend it"):
            reader.read()


def test_a_file_of_others(path: Path, tmp_path: Path) -> None:
    """Who may write it may lift what is revoked: not for everybody; and no link leads elsewhere."""
    path.touch()
    path.chmod(0o660)
    with pytest.raises(RevocationsInvalid, match="chmod 600"):
        Journal(path).read()
    path.unlink()
    (tmp_path / "elsewhere").touch(0o600)
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RevocationsInvalid, match="cannot be read"):
        Journal(path).read()
    with pytest.raises(RevocationsInvalid, match="cannot be written"):
        Journal(path).append([change("a")], NOW)
    path.unlink()
    os.mkfifo(path, 0o600)
    with pytest.raises(RevocationsInvalid, match="regular"):
        Journal(path).read()
    with pytest.raises(RevocationsInvalid, match="cannot be read"):
        Journal(tmp_path / "no folder" / "revoked.journal").read()


def test_it_is_written_anew_when_little_of_it_counts(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By one; the others see it, and lose nothing."""
    monkeypatch.setattr(journal, "COMPACT_BYTES", 1000)
    one, other = Journal(path), Journal(path)
    last: list[tuple[str, Entry]] = []
    for number in range(30):
        one.append([change(f"t{number}")], NOW)
        last = [("admin", entry(txn=f"t{number}"))]
    one.read()
    other.read()
    one.append([change("new")], NOW)
    assert not one.compact(last, NOW)  # it has not read all of it
    assert len(one.read()[0]) == 1
    assert one.compact([*last, ("admin", entry(txn="new"))], NOW)
    for reader in (one, other, Journal(path)):
        assert reader.read() == ([change("t29"), change("new")], True)
    assert path.stat().st_mode & 0o777 == 0o600
    assert not one.compact(last, NOW)
    assert [one.name for one in path.parent.iterdir()] == ["revoked.journal"]


def test_who_appends_holds_the_lock(path: Path) -> None:
    """Two that append at once would write into each other."""
    Journal(path).append([change("a")], NOW)
    with ThreadPoolExecutor(1) as pool:
        with path.open("rb") as held:
            fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
            waiting = pool.submit(Journal(path).append, [change("b")], NOW)
            with pytest.raises(TimeoutError):
                waiting.result(0.1)
            assert len(path.read_bytes().splitlines()) == 1
        waiting.result(5)
    assert len(path.read_bytes().splitlines()) == 2
