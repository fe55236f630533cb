"""Whether we are somebody: what is told of our identity when it comes, changes, is refused or is taken away."""

import logging

from proxy.admin.health import Gate, Health
from proxy.identity.gauges import show_identity
from proxy.identity.store import Identity, IdentityStore
from proxy.observe.catalog import Metrics

_log = logging.getLogger("svidecar")


class Standing:
    """Keeps the log, the metrics and the two gates of readiness true."""

    def __init__(self, store: IdentityStore, metrics: Metrics, health: Health) -> None:
        self._store = store
        self._metrics = metrics
        self._health = health

    def loaded(self, ok: bool, detail: str) -> None:  # noqa: FBT001 - the source's own callback
        """Hear how a load went; after one that failed the last good identity stays."""
        if ok:
            _log.info("identity: %s", detail)
            return
        self._metrics.reload("failed").inc()
        _log.error("identity: %s", detail)
        if self._store.current is None:
            self._health.set(Gate.SVID, ok=False, detail=detail)
            self._health.set(Gate.BUNDLE, ok=False, detail=detail)

    def changed(self, identity: Identity) -> None:
        """Hear of another identity, or other bundles."""
        show_identity(self._metrics, identity)
        self._health.set(Gate.SVID, ok=True, detail=str(identity.svid.spiffe_id))
        self._health.set(Gate.BUNDLE, ok=True, detail=", ".join(sorted(identity.bundles)))

    def taken_back(self, detail: str, now: float) -> None:
        """Hear that we are nobody now."""
        _log.error("identity: our SVID was taken away: %s", detail)
        self._metrics.svid_not_after.set(now)
