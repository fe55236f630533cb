"""The watched files: rotation as spiffe-helper and as Kubernetes do it, and the last good kept through everything else."""

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.pki import Authority, new_key, write_svid, write_volume

from proxy.errors import IdentityInvalid
from proxy.identity.settings import FilesSettings, IdentitySettings
from proxy.identity.sources.files import FilesSource
from proxy.identity.store import IdentityStore

URI = "spiffe://example.org/orders"
CA = Authority.make("example.org")


class Watched:
    """A source over ``paths``, its store, and what it told."""

    def __init__(self, paths: dict[str, Path], poll_s: float = 0.01) -> None:
        files = FilesSettings(
            svid=paths["svid"], key=paths["key"], bundle=paths["bundle"], crl=paths.get("crl"), poll_s=poll_s
        )
        self.now = time.time()
        self.told: list[tuple[bool, str]] = []
        self.store = IdentityStore()
        settings = IdentitySettings(trust_domain="example.org", files=files)
        self.source = FilesSource(
            settings, self.store, lambda: self.now, lambda ok, detail: self.told.append((ok, detail))
        )

    @property
    def serial(self) -> int:
        """Which SVID is current."""
        return self.store.require().svid.certificates[0].serial_number

    @property
    def outcomes(self) -> list[bool]:
        """What was told, without the words."""
        return [ok for ok, _ in self.told]


def test_load(tmp_path: Path) -> None:
    """A good set becomes the first generation; what happened is told with the SPIFFE ID."""
    watched = Watched(write_svid(tmp_path, CA.svid(URI), CA))
    assert watched.source.load().generation == 1
    assert watched.told == [(True, f"took the SVID of {URI} as generation 1")]


async def test_load_of_nothing(tmp_path: Path) -> None:
    """Without files, load tells it and raises; the watch goes on from there, and takes them when they come."""
    paths = {role: tmp_path / f"{role}.pem" for role in ("svid", "key", "bundle")}
    watched = Watched(paths)
    with pytest.raises(IdentityInvalid, match="there is no file"):
        watched.source.load()
    await watched.source.poll()
    assert watched.outcomes == [False]
    paths = write_svid(tmp_path / "later", CA.svid(URI), CA)
    for role, path in paths.items():
        path.rename(tmp_path / f"{role}.pem")
    await watched.source.poll()
    assert watched.outcomes == [False, True]


async def test_nothing_changed(tmp_path: Path) -> None:
    """Files that stay as they are are not read again; touched ones are, and make no new generation."""
    paths = write_svid(tmp_path, CA.svid(URI), CA)
    watched = Watched(paths)
    first = watched.source.load()
    await watched.source.poll()
    paths["svid"].touch()
    await watched.source.poll()
    assert watched.store.current is first
    assert watched.outcomes == [True]


async def test_rotation_in_place(tmp_path: Path) -> None:
    """spiffe-helper writes certificate, key and bundle one after the other: each half-way state keeps the last good."""
    old, new = CA.svid(URI), CA.svid(URI)
    paths = write_svid(tmp_path, old, CA)
    watched = Watched(paths)
    watched.source.load()
    for half in (b"", new.chain_pem[:100], new.chain_pem):
        paths["svid"].write_bytes(half)
        await watched.source.poll()
        assert watched.serial == old.certificate.serial_number
    for half in (b"", new.key_pem[:50]):
        paths["key"].write_bytes(half)
        await watched.source.poll()
        assert watched.serial == old.certificate.serial_number
    assert watched.source.trouble == watched.told[-1][1]
    paths["key"].write_bytes(new.key_pem)
    await watched.source.poll()
    assert watched.source.trouble == ""
    assert watched.serial == new.certificate.serial_number
    assert watched.outcomes == [True, False, False, False, False, False, True]
    assert watched.store.require().generation == 2


async def test_rotation_of_the_authority(tmp_path: Path) -> None:
    """A new authority: the SVID of the new one is taken when the bundle holds it, not before."""
    fresh = Authority.make("example.org")
    paths = write_svid(tmp_path, CA.svid(URI), CA)
    watched = Watched(paths)
    watched.source.load()
    new = fresh.svid(URI)
    paths["svid"].write_bytes(new.chain_pem)
    paths["key"].write_bytes(new.key_pem)
    await watched.source.poll()
    assert "does not verify against the bundle" in watched.told[-1][1]
    paths["bundle"].write_bytes(CA.bundle_pem + fresh.bundle_pem)
    await watched.source.poll()
    assert watched.serial == new.certificate.serial_number
    assert len(watched.store.require().bundles["example.org"].authorities) == 2


async def test_rotation_by_symlink(tmp_path: Path) -> None:
    """A Kubernetes volume swaps ``..data``: the paths stay links, and the new set is seen whole."""
    old, new = CA.svid(URI), CA.svid(URI)
    watched = Watched(write_volume(tmp_path, old, CA))
    watched.source.load()
    await watched.source.poll()
    assert watched.serial == old.certificate.serial_number
    write_volume(tmp_path, new, CA)
    await watched.source.poll()
    assert watched.serial == new.certificate.serial_number
    assert watched.outcomes == [True, True]


async def test_same_size_and_time(tmp_path: Path) -> None:
    """A rotation that keeps size and mtime (cp -p) is seen."""
    paths = write_svid(tmp_path, CA.svid(URI), CA)
    watched = Watched(paths)
    watched.source.load()
    wrong = replace(CA.svid(URI), key=new_key()).key_pem
    before = paths["key"].stat()
    assert len(wrong) == before.st_size
    paths["key"].write_bytes(wrong)
    os.utime(paths["key"], ns=(before.st_atime_ns, before.st_mtime_ns))
    await watched.source.poll()
    assert watched.outcomes == [True, False]


async def test_same_failure_is_told_once(tmp_path: Path) -> None:
    """A set that stays bad is told once, however often it is looked at; another bad set is told again."""
    paths = write_svid(tmp_path, CA.svid(URI), CA)
    watched = Watched(paths)
    watched.source.load()
    paths["svid"].write_bytes(b"bad")
    for _ in range(5):
        await watched.source.poll()
    assert watched.outcomes == [True, False]
    paths["svid"].write_bytes(b"bad in another way")
    await watched.source.poll()
    assert watched.outcomes == [True, False, False]


async def test_time_heals(tmp_path: Path) -> None:
    """An SVID that has not begun yet is taken when its time has come, though no file changed."""
    paths = write_svid(tmp_path, CA.svid(URI), CA)
    watched = Watched(paths)
    watched.source.load()
    later = CA.svid(URI, now=watched.now + 1800)
    write_svid(tmp_path, later, CA)
    await watched.source.poll()
    watched.now += 1800
    await watched.source.poll()
    assert watched.serial == later.certificate.serial_number
    assert watched.outcomes == [True, False, True]


async def test_an_ended_svid_stays_until_a_better_one(tmp_path: Path) -> None:
    """The source has stopped: what we have stays, and a rewritten, ended set is not taken over it."""
    paths = write_svid(tmp_path, CA.svid(URI), CA)
    watched = Watched(paths)
    first = watched.source.load()
    write_svid(tmp_path, CA.svid(URI, lifetime_s=-7200.0, now=watched.now), CA)
    await watched.source.poll()
    assert watched.store.current is first
    assert "the source that writes it has stopped" in watched.told[-1][1]


async def test_a_fault_of_ours_does_not_end_the_watch(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever goes wrong while a set is taken, the next set is looked at."""
    paths = write_svid(tmp_path, CA.svid(URI), CA)
    watched = Watched(paths)
    watched.source.load()
    faults = iter([ZeroDivisionError("ours")])

    def prepare(_identity: object) -> Callable[[], None]:
        for fault in faults:
            raise fault
        return lambda: None

    watched.store.prepare(prepare)
    write_svid(tmp_path, CA.svid(URI), CA)
    await watched.source.poll()
    assert watched.outcomes == [True, False]
    assert "identity_load_failed" in caplog.text
    await watched.source.poll()
    assert watched.outcomes == [True, False, True]


async def test_watch(tmp_path: Path) -> None:
    """The watch looks on its own, and ends when it is cancelled."""
    watched = Watched(write_svid(tmp_path, CA.svid(URI), CA))
    watched.source.load()
    taken = asyncio.Event()
    watched.store.subscribe(lambda _identity: taken.set())
    task = asyncio.get_running_loop().create_task(watched.source.watch())
    write_svid(tmp_path, CA.svid(URI), CA)
    async with asyncio.timeout(20):
        await taken.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert watched.store.require().generation == 2


async def test_a_crl_is_watched_with_the_rest(tmp_path: Path) -> None:
    """A new one is another identity, for everything that is proved by the bundle; a bad or lost one keeps the last."""
    svid, crl = CA.svid(URI), tmp_path / "crl.pem"
    crl.write_bytes(CA.crl())
    watched = Watched(write_svid(tmp_path, svid, CA) | {"crl": crl})
    first = watched.source.load()
    crl.write_bytes(CA.crl(svid.certificate))
    await watched.source.poll()
    second = watched.store.require()
    assert second.generation == first.generation + 1
    assert sum(map(len, second.bundles["example.org"].revocations.serials.values())) == 1
    crl.write_bytes(Authority.make("example.org").crl())
    await watched.source.poll()
    crl.unlink()
    await watched.source.poll()
    assert watched.store.require() is second
    assert [ok for ok, _ in watched.told] == [True, True, False, False]
    assert "crl.pem" in watched.told[2][1]
    assert "there is no file" in watched.told[3][1]


def test_without_its_crl_nothing_is_loaded(tmp_path: Path) -> None:
    """Who names a file of revoked certificates means it: fail closed, and say which file."""
    watched = Watched(write_svid(tmp_path, CA.svid(URI), CA) | {"crl": tmp_path / "crl.pem"})
    with pytest.raises(IdentityInvalid, match=r"crl\.pem; it should hold the CRLs of example\.org"):
        watched.source.load()
    assert watched.store.current is None
