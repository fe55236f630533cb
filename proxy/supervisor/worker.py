"""One sidecar in one process: start, obey signals, end well.

SIGTERM or SIGINT: readiness fails; inbound finishes what it has and refuses new; outbound stays open while the app may
still need it; all ends within the grace. A second one ends it at once. SIGHUP: the access log is opened again and the
YAML is read again; a bad YAML changes nothing.
"""

import asyncio
import logging
import resource
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from proxy.app import Sidecar
from proxy.config.settings import SidecarSettings
from proxy.errors import ProxyError
from proxy.flow.listener import Listener
from proxy.net.accept import ListenFailed
from proxy.net.faults import on_fault
from proxy.net.transport import new_loop
from proxy.supervisor.reload import Reloads

_log = logging.getLogger("svidecar")

CLOSE_S = 5.0
"""What closing all connections and tasks may take after the grace, before the process ends anyway."""

POLL_S = 0.05
"""How often an ending sidecar looks whether it may end: short beside a person's patience."""


def run(settings: SidecarSettings, config_path: Path) -> int:
    """Run until told to end; give the exit code: 0, or 1 when it could not start or the grace was not enough."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until its handler is there: a reload must not end us
    _raise_descriptor_limit()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("aiofastnet").setLevel(logging.CRITICAL)  # it tells of each failed handshake, which we count
    with asyncio.Runner(loop_factory=lambda: new_loop(settings.event_loop)) as runner:
        return runner.run(_run(settings, config_path))


def _raise_descriptor_limit() -> None:
    """Take all descriptors that we are allowed: each exchange holds two, and the usual soft limit is 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _run(settings: SidecarSettings, config_path: Path) -> int:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(on_fault)
    try:
        sidecar = Sidecar(settings, loop)
    except (ProxyError, ValueError) as error:
        _log.error("%s cannot start: %s", settings.service, error)
        return 1
    end, end_now = _obey_signals(sidecar, config_path)
    try:
        await sidecar.start()
        _log.info("%s: %s", settings.service, ", ".join(f"{name} {port}" for name, port in sidecar.ports.items()))
        await end.wait()
        return await _end(sidecar, end_now)
    except ListenFailed as error:
        _log.error("%s cannot start: %s", settings.service, error.strerror)
        return 1
    finally:
        try:
            async with asyncio.timeout(CLOSE_S):
                await sidecar.close()
        except TimeoutError:
            _log.warning("ended without waiting for all of it to close")
        _heed_no_more()


def _obey_signals(sidecar: Sidecar, config_path: Path) -> tuple[asyncio.Event, asyncio.Event]:
    end, signalled, end_now = sidecar.end_wanted, asyncio.Event(), asyncio.Event()

    def on_end() -> None:
        end.set()
        (end_now if signalled.is_set() else signalled).set()  # one after a drain is the first: a hook may have asked

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_end)
    loop.add_signal_handler(signal.SIGHUP, Reloads(sidecar, config_path).ask)
    return end, end_now


def _heed_no_more() -> None:
    """Ignore signals: a loop that closes gives each its default back, and one more would spoil the exit code."""
    loop, ours = asyncio.get_running_loop(), (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    signal.pthread_sigmask(signal.SIG_BLOCK, ours)  # between the two calls each has its default
    for number in ours:
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ours)


async def _end(sidecar: Sidecar, end_now: asyncio.Event) -> int:
    settings = sidecar.settings
    _log.info("ending: within %g s, or at once with a second signal", settings.shutdown_grace_s)
    sidecar.begin_drain()
    until = time.monotonic() + settings.shutdown_grace_s
    doors = sidecar.doors
    if not await _ended([doors.inbound], 0, until, end_now):
        return _forced(sidecar)
    if not await _ended([doors.outbound, *doors.raw.listeners], settings.shutdown_quiet_s, until, end_now):
        return _forced(sidecar)
    return 0


async def _ended(maybe: Sequence[Listener | None], quiet_s: float, until: float, end_now: asyncio.Event) -> bool:
    """Wait until nothing is in flight and nothing began for ``quiet_s``; False when the grace is over."""
    listeners = [listener for listener in maybe if listener is not None]
    if not listeners:
        return True
    began = time.monotonic()
    while any(each.in_flight for each in listeners) or (
        time.monotonic() - max([began, *(each.last_used for each in listeners)]) < quiet_s
    ):
        if end_now.is_set():
            return False
        if time.monotonic() >= until:
            return not any(each.in_flight for each in listeners)
        await asyncio.sleep(POLL_S)
    return True


def _forced(sidecar: Sidecar) -> int:
    cut = sum(listener.in_flight for _, listener in sidecar.doors.listeners())
    _log.warning("ended by force: %d requests were cut", cut)
    return 1 if cut else 0
