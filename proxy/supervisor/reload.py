"""Reading the YAML again while serving: what may change is swapped whole, what may not is said, the rest stays."""

import dataclasses
import logging
import os
from pathlib import Path

from proxy.app import Sidecar
from proxy.config.load import load
from proxy.config.settings import SidecarSettings
from proxy.errors import ConfigInvalid
from proxy.net.accept import ListenFailed

_log = logging.getLogger("svidecar")

LIVE = frozenset({"policy", "destinations", "tcp"})
"""The Settings that change without a restart; of ``tcp`` where each port is, and where it leads."""


def reload(sidecar: Sidecar, config_path: Path) -> None:
    """Open the access log again, and take the new policy, destinations and ports for raw TCP if the whole file is good.

    The source of the identity is asked anew where it was given up, whatever the file holds.
    """
    sidecar.foundation.access_log.reopen()
    sidecar.source.ask_anew()
    try:
        settings = load(config_path, os.environ)
    except (ConfigInvalid, OSError) as error:
        sidecar.foundation.metrics.reload("failed").inc()
        _log.error("reload of %s refused, the last good configuration stays: %s", config_path, error)
        return
    try:
        sidecar.doors.raw.take(settings.tcp, sidecar.settings.identity.trust_domain)
    except ListenFailed as error:
        sidecar.foundation.metrics.reload("failed").inc()
        _log.error("reload of %s refused, the last good configuration stays: %s", config_path, error)
        return
    sidecar.settings = dataclasses.replace(sidecar.settings, tcp=sidecar.doors.raw.settings)
    others = {name: port for name, port in sidecar.ports.items() if not name.startswith("tcp")}
    sidecar.ports = others | {name: listener.port for name, listener in sidecar.doors.raw.named}
    fixed = _changed(sidecar.settings, settings) - LIVE
    if sidecar.settings.tcp != settings.tcp:
        fixed.add("limits or timeouts of outbound.tcp")
    if fixed:
        _log.warning("reload: %s changed, which needs a restart", ", ".join(sorted(fixed)))
    sidecar.take(settings.policy, settings.destinations)
    sidecar.foundation.metrics.reload("ok").inc()
    _log.info("reload: %d rules, %d destinations", len(settings.policy.rules), len(settings.destinations))


def _changed(old: SidecarSettings, new: SidecarSettings) -> set[str]:
    names = [field.name for field in dataclasses.fields(SidecarSettings)]
    return {name for name in names if getattr(old, name) != getattr(new, name)}
