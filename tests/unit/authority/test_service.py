"""A running authority: what it renews, and what stays when it cannot."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.authority import service
from proxy.authority.keys import AHEAD_S, ROTATE_S
from proxy.authority.service import Authority
from proxy.authority.settings import AuthoritySettings, WorkloadSettings
from proxy.authority.state import State, StateUnusable
from proxy.control.fetch import ControlFetch
from proxy.identity.bundle import Bundle
from proxy.identity.spiffe_id import SpiffeId
from proxy.identity.store import IdentityStore
from proxy.identity.svid import X509Svid
from proxy.net.accept import ListenFailed
from proxy.net.transport import EventLoop, Transports
from proxy.tls.contexts import TlsContexts
from proxy.tls.settings import TlsSettings

TD = "example.org"
TTS = SpiffeId.parse(f"spiffe://{TD}/tts")


def settings(folder: Path, **changes: object) -> AuthoritySettings:
    """Two workloads, any port."""
    workloads = (WorkloadSettings(name="edge", scopes=("a",)), WorkloadSettings(name="ns/x"))
    return AuthoritySettings(trust_domain=TD, state=folder, port=0, workloads=workloads, **changes)  # type: ignore[arg-type]


def made(folder: Path, state: State, **changes: object) -> Authority:
    """An authority on this loop."""
    return Authority(settings(folder, **changes), state, Transports(asyncio.get_running_loop(), EventLoop.ASYNCIO))


@pytest.fixture
async def state(tmp_path: Path) -> AsyncIterator[State]:
    """A held folder."""
    held = State.open(tmp_path / "state")
    yield held
    held.close()


def svid(state: State, name: str) -> X509Svid:
    """What a workload finds in its folder; that key and certificate fit is checked by reading."""
    folder = state.workload(name)
    return X509Svid.from_pem((folder / "svid.pem").read_bytes(), (folder / "svid_key.pem").read_bytes())


def fetch(state: State, name: str) -> ControlFetch:
    """A client with the SVID of that workload."""
    store = IdentityStore()
    bundle = Bundle.from_pem(TD, (state.workload(name) / "svid_bundle.pem").read_bytes())
    store.replace(svid(state, name), {TD: bundle}, time.time())
    transports = Transports(asyncio.get_running_loop(), EventLoop.ASYNCIO)
    return ControlFetch(transports, TlsContexts(store, TlsSettings()), store, time.time)


async def test_start_hands_out_everything(state: State) -> None:
    """SVIDs for each workload and itself, keys, bundle, and where it listens."""
    authority = made(state.folder, state)
    port = await authority.start()
    for name in ("tts", "edge", "ns/x"):
        assert str(svid(state, name).spiffe_id) == f"spiffe://{TD}/{name}"
    facts = json.loads((state.folder / "authority.json").read_text())
    assert (facts["port"], facts["trust_domain"]) == (port, TD)
    ask = fetch(state, "edge")
    published = await ask("GET", f"https://127.0.0.1:{port}/jwks", timeout_s=5, expect=TTS)
    assert published.body == (state.folder / "jwks.json").read_bytes()
    assert (state.folder / "bundle.pem").read_bytes() == (state.workload("edge") / "svid_bundle.pem").read_bytes()
    ask.close()
    await authority.close()
    assert not (state.folder / "authority.json").exists()


async def test_a_restart_keeps_root_and_keys_and_renews_svids(state: State) -> None:
    """Tokens and SVIDs of before are good after; even files that were lost are there again."""
    runs = []
    for _ in range(2):
        authority = made(state.folder, state)
        await authority.start()
        kept = [(state.folder / name).read_bytes() for name in ("ca.pem", "jwks.json", "bundle.pem")]
        runs.append((kept, svid(state, "edge").certificates[0].serial_number))
        await authority.close()
        (state.folder / "jwks.json").unlink()
    (kept, serial), (kept_again, serial_again) = runs
    assert kept_again == kept
    assert serial_again != serial


async def test_svids_are_renewed_at_half_of_their_life(state: State) -> None:
    """Not before; then with another key; the authority's own too."""
    authority = made(state.folder, state, svid_lifetime_s=1000)
    now = time.time()
    authority.tend(now)
    before = {name: svid(state, name) for name in ("tts", "edge", "ns/x")}
    authority.tend(now + 490)
    assert {name: svid(state, name).key_pem for name in before} == {name: s.key_pem for name, s in before.items()}
    authority.tend(now + 501)
    for name, old in before.items():
        assert svid(state, name).key_pem != old.key_pem
        assert svid(state, name).not_after == pytest.approx(now + 1501, abs=1.5)
    await authority.close()


async def test_a_clock_that_was_set_back_renews(state: State) -> None:
    """An SVID that is not valid yet is worth nothing to its workload."""
    authority = made(state.folder, state)
    now = time.time()
    authority.tend(now + 500)
    later = svid(state, "edge").key_pem
    authority.tend(now + 100)
    assert svid(state, "edge").key_pem != later
    await authority.close()


async def test_signing_keys_rotate_into_state_and_files(state: State) -> None:
    """The next key is kept and published before it signs."""
    authority = made(state.folder, state)
    now = time.time()
    authority.tend(now)
    authority.tend(now + ROTATE_S - AHEAD_S + 1)
    kept = [key.kid for key in state.signing_keys()]
    published = [key["kid"] for key in json.loads((state.folder / "jwks.json").read_text())["keys"]]
    assert len(kept) == 2
    assert published == kept
    await authority.close()


async def test_a_renewal_that_fails_is_tried_again(
    state: State, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What was handed out stays, the port stays open, and the next attempt succeeds."""
    monkeypatch.setattr(service, "LOOK_S", 0.05)
    monkeypatch.setattr(service, "RETRY_S", 0.2)
    authority = made(state.folder, state, svid_lifetime_s=8)
    port = await authority.start()
    before = svid(state, "edge").key_pem
    ask = fetch(state, "edge")
    folder = state.workload("edge")
    folder.rename(folder.with_name("aside"))
    folder.write_text("in the way")
    async with asyncio.timeout(20):
        while "a renewal failed" not in caplog.text:
            await asyncio.sleep(0.05)
    assert (await ask("GET", f"https://127.0.0.1:{port}/jwks", timeout_s=5, expect=TTS)).status == 200
    folder.unlink()
    async with asyncio.timeout(20):
        while not (folder / "svid_bundle.pem").exists():
            await asyncio.sleep(0.05)
    assert svid(state, "edge").key_pem != before
    ask.close()
    await authority.close()


async def test_a_port_in_use(state: State, tmp_path: Path) -> None:
    """It is told, and nothing is announced."""
    authority = made(state.folder, state)
    port = await authority.start()
    other = State.open(tmp_path / "other")
    second = Authority(
        AuthoritySettings(trust_domain=TD, state=other.folder, port=port),
        other,
        Transports(asyncio.get_running_loop(), EventLoop.ASYNCIO),
    )
    with pytest.raises(ListenFailed, match=f"127.0.0.1:{port}: the port is in use"):
        await second.start()
    assert not (other.folder / "authority.json").exists()
    await second.close()
    other.close()
    await authority.close()


async def test_a_root_that_ends_or_has_not_begun(state: State) -> None:
    """A state from a machine whose clock is elsewhere is refused at the start, in words."""
    made(state.folder, state)
    transports = Transports(asyncio.get_running_loop(), EventLoop.ASYNCIO)
    with pytest.raises(StateUnusable, match="ends too soon"):
        Authority(settings(state.folder), state, transports, now=lambda: time.time() + 20 * 365 * 86400)
    authority = Authority(settings(state.folder), state, transports, now=lambda: time.time() - 86400)
    with pytest.raises(StateUnusable, match=r"the root in .* cannot be used now"):
        await authority.start()
    await authority.close()
