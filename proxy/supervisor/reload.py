"""Reading the YAML again while serving: what may change is swapped whole, what may not is said, the rest stays.

A policy of 500 rules takes about a second to read and to compile. That is done in a thread, so that no request waits
for it; what is taken is taken by the loop, at once.
"""

import contextlib
import dataclasses
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from proxy.app import Sidecar
from proxy.config.load import load
from proxy.config.settings import SidecarSettings
from proxy.errors import ConfigInvalid
from proxy.net.accept import ListenFailed
from proxy.net.aside import aside
from proxy.policy.compile import compile_policy
from proxy.policy.rules import Policy

_log = logging.getLogger("svidecar")

LIVE = frozenset({"policy", "destinations", "tcp"})
"""The Settings that change without a restart; of ``tcp`` where each port is, and where it leads."""

TURN_S: Final = 0.0005
"""How long a reading keeps the interpreter from the loop, each time; Python's own 5 ms every request would feel."""


class Reloads:
    """Those of one sidecar, one at a time: what is asked for during one is one more after it."""

    def __init__(self, sidecar: Sidecar, config_path: Path) -> None:
        self._sidecar = sidecar
        self._config_path = config_path
        self._asked = False
        self._running = False

    def ask(self) -> None:
        """Open the access log again, and take new policy, destinations and ports for raw TCP if the whole file is good.

        The source of the identity is asked anew where it was given up, whatever the file holds.
        """
        self._sidecar.foundation.access_log.reopen()
        self._sidecar.source.ask_anew()
        self._asked = True
        if not self._running:
            self._running = True
            with contextlib.suppress(RuntimeError):  # it has ended
                self._sidecar.foundation.tasks.spawn(self._reload(), "reload")

    async def _reload(self) -> None:
        try:
            while self._asked:
                self._asked = False
                await self._once()
        finally:
            self._running = False

    async def _once(self) -> None:
        sidecar = self._sidecar
        try:
            with _short_turns():
                settings, rules = await aside(_read, self._config_path, sidecar.settings.tokens.audience)
            sidecar.doors.raw.take(settings.tcp, sidecar.settings.identity.trust_domain)
        except (ConfigInvalid, ListenFailed, OSError) as error:
            sidecar.foundation.metrics.reload("failed").inc()
            _log.error("reload of %s refused, the last good configuration stays: %s", self._config_path, error)
            return
        self._take(settings, rules)

    def _take(self, settings: SidecarSettings, rules: Policy) -> None:
        sidecar = self._sidecar
        sidecar.settings = dataclasses.replace(sidecar.settings, tcp=sidecar.doors.raw.settings)
        others = {name: port for name, port in sidecar.ports.items() if not name.startswith("tcp")}
        sidecar.ports = others | {name: listener.port for name, listener in sidecar.doors.raw.named}
        fixed = _changed(sidecar.settings, settings) - LIVE
        if sidecar.settings.tcp != settings.tcp:
            fixed.add("limits or timeouts of outbound.tcp")
        if fixed:
            _log.warning("reload: %s changed, which needs a restart", ", ".join(sorted(fixed)))
        sidecar.take(settings.policy, settings.destinations, rules)
        sidecar.foundation.metrics.reload("ok").inc()
        _log.info("reload: %d rules, %d destinations", len(settings.policy.rules), len(settings.destinations))


def _read(config_path: Path, audience: str) -> tuple[SidecarSettings, Policy]:
    settings = load(config_path, os.environ)
    return settings, compile_policy(settings.policy, audience)


@contextlib.contextmanager
def _short_turns() -> Iterator[None]:
    """Have the threads of this process take short turns."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(TURN_S)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _changed(old: SidecarSettings, new: SidecarSettings) -> set[str]:
    names = [field.name for field in dataclasses.fields(SidecarSettings)]
    return {name for name in names if getattr(old, name) != getattr(new, name)}
