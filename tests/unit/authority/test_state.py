"""The folder of an authority."""

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from proxy.authority.ca import make_root
from proxy.authority.keys import make_key
from proxy.authority.state import State, StateUnusable
from proxy.identity.spiffe_id import SpiffeId

TD = "example.org"
NOW = time.time()


def mode(path: Path) -> int:
    """The permissions."""
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def state(tmp_path: Path) -> State:
    """A held folder, new."""
    return State.open(tmp_path / "deep" / "state")


def test_what_is_kept_comes_back(state: State) -> None:
    """The root and the signing keys survive a restart."""
    root, keys = make_root(TD, NOW), (make_key(1.5), make_key(2.5))
    assert state.root(TD) is None
    assert state.signing_keys() == ()
    state.keep_root(root)
    state.keep_signing_keys(keys)
    state.close()
    again = State.open(state.folder)
    kept = again.root(TD)
    assert kept is not None
    assert kept.certificate == root.certificate
    assert [(key.kid, key.signs_from) for key in again.signing_keys()] == [(key.kid, key.signs_from) for key in keys]
    again.close()


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o177])
def test_modes_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    """What is for everybody is readable; all else is its owner's, and each folder on the way to it."""
    before = os.umask(umask)
    try:
        state = State.open(tmp_path / "above/state")
        root = make_root(TD, NOW)
        state.keep_root(root)
        state.keep_signing_keys([make_key(NOW)])
        state.publish(b"{}", root.bundle_pem)
        state.hand_out("a/b", root.issue(SpiffeId(trust_domain=TD, path="/a/b"), NOW, 60), root.bundle_pem)
    finally:
        os.umask(before)
    folder = state.folder
    assert mode(folder) == 0o700
    for name in ("ca.pem", "ca_key.pem", "signing_keys.json", ".lock"):
        assert mode(folder / name) == 0o600, name
    for name in ("bundle.pem", "jwks.json"):
        assert mode(folder / name) == 0o644, name
    for made in (folder.parent, *(folder / name for name in ("workloads", "workloads/a", "workloads/a/b"))):
        assert mode(made) == 0o700, made
    for handed_out in (folder / "workloads/a/b").iterdir():
        assert mode(handed_out) == 0o600, handed_out
    state.close()


def test_folders_of_before_are_closed(tmp_path: Path) -> None:
    """An older release left ``workloads`` open to others; the folder of whoever runs us is not ours to close."""
    (tmp_path / "workloads/a").mkdir(parents=True)
    for folder in (tmp_path, tmp_path / "workloads", tmp_path / "workloads/a"):
        folder.chmod(0o755)
    state, root = State.open(tmp_path), make_root(TD, NOW)
    state.hand_out("a", root.issue(SpiffeId(trust_domain=TD, path="/a"), NOW, 60), root.bundle_pem)
    assert [mode(tmp_path / name) for name in (".", "workloads", "workloads/a")] == [0o755, 0o700, 0o700]
    state.close()


def test_nothing_is_left_beside_the_files(state: State) -> None:
    """Files are written aside and renamed; no scrap stays, and an old file is replaced whole."""
    root = make_root(TD, NOW)
    for _ in range(3):
        state.hand_out("a", root.issue(SpiffeId(trust_domain=TD, path="/a"), NOW, 60), root.bundle_pem)
    assert sorted(path.name for path in state.workload("a").iterdir()) == [
        "svid.pem",
        "svid_bundle.pem",
        "svid_key.pem",
    ]


def test_a_reader_never_sees_half_a_file(state: State) -> None:
    """An open file keeps its old content; the path has the new one."""
    state.publish(b"old" * 1000, b"x")
    with (state.folder / "jwks.json").open("rb") as reader:
        state.publish(b"new", b"x")
        assert reader.read() == b"old" * 1000
    assert (state.folder / "jwks.json").read_bytes() == b"new"


def test_another_trust_domain_is_refused(state: State) -> None:
    """With what to do."""
    state.keep_root(make_root(TD, NOW))
    with pytest.raises(StateUnusable, match=r"another trust domain than other\.org\. Use another --dir, or move"):
        state.root("other.org")


def test_one_authority_at_a_time(state: State) -> None:
    """The second is told; when the first has ended, it may."""
    with pytest.raises(StateUnusable, match="in use by another authority"):
        State.open(state.folder)
    state.close()
    State.open(state.folder).close()


def test_the_lock_ends_with_its_process(tmp_path: Path) -> None:
    """A killed authority leaves no stale lock behind."""
    script = f"import os; from pathlib import Path; from proxy.authority.state import State; State.open(Path({str(tmp_path)!r})); os._exit(9)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 9
    State.open(tmp_path).close()


def test_damaged_states(state: State) -> None:
    """Each says which file, and what to do; nothing is silently made anew under which old SVIDs would die."""
    root = make_root(TD, NOW)
    state.keep_root(root)
    (state.folder / "ca_key.pem").unlink()
    with pytest.raises(StateUnusable, match=r"ca\.pem cannot be used: its key is missing"):
        state.root(TD)
    state.keep_root(root)
    (state.folder / "ca.pem").write_bytes(b"")
    with pytest.raises(StateUnusable, match=r"ca\.pem cannot be used"):
        state.root(TD)
    for bad in ("", "[]", "{}", '{"keys":[{}]}', '{"keys":[{"pem":"x","signs_from":1}]}', '{"keys":7}'):
        (state.folder / "signing_keys.json").write_text(bad)
        (state.folder / "signing_keys.json").chmod(0o600)
        with pytest.raises(StateUnusable, match=r"signing_keys\.json cannot be used: .*Restore it, or move it away"):
            state.signing_keys()


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o660, 0o602])
def test_a_key_that_others_could_read_or_write_is_refused(state: State, bits: int) -> None:
    """It may have been taken, or put there; the operator decides."""
    state.keep_root(make_root(TD, NOW))
    (state.folder / "ca_key.pem").chmod(bits)
    with pytest.raises(StateUnusable, match=r"ca_key\.pem is open to others than its owner \(chmod 600"):
        state.root(TD)


def test_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    """A file in its place, on the way to it, or in the place of a workload's folder."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StateUnusable, match="cannot be used as the state folder"):
        State.open(tmp_path / "file")
    with pytest.raises(StateUnusable, match="cannot be used as the state folder"):
        State.open(tmp_path / "file" / "state")
    state = State.open(tmp_path / "state")
    (state.folder / "workloads").write_text("")
    root = make_root(TD, NOW)
    with pytest.raises(StateUnusable, match="cannot be made"):
        state.hand_out("a", root.issue(SpiffeId(trust_domain=TD, path="/a"), NOW, 60), b"")
    (state.folder / "jwks.json").mkdir()
    with pytest.raises(StateUnusable, match=r"jwks\.json cannot be written"):
        state.publish(b"{}", b"")
    assert not [path for path in state.folder.iterdir() if path.name.startswith(".jwks")]
    state.close()


def test_a_link_in_the_place_of_a_file_is_replaced_not_followed(state: State, tmp_path: Path) -> None:
    """Nobody makes us overwrite another file by laying a link."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (state.folder / "jwks.json").symlink_to(victim)
    state.publish(b"{}", b"x")
    assert victim.read_text() == "precious"
    assert not (state.folder / "jwks.json").is_symlink()


def test_announce_and_withdraw(state: State) -> None:
    """The note of where it listens is gone with it; twice is no fault."""
    state.announce({"port": 7})
    assert '"port": 7' in (state.folder / "authority.json").read_text()
    state.withdraw()
    state.withdraw()
    assert not (state.folder / "authority.json").exists()
