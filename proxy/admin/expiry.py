"""What runs out while nothing else happens: our SVID, and the CRLs of a trust domain. Told once, and in readiness."""

import logging

from proxy.admin.health import Gate, Health
from proxy.identity.store import Identity, IdentityStore

_log = logging.getLogger("svidecar")

EXPIRY_WARNING = 0.2
"""Warn when less than this part of the SVID's life is left: sources renew at half, so something is wrong by then."""


class ExpiryWatch:
    """Looks when it is told to; ``now`` is wall clock."""

    def __init__(self, store: IdentityStore, health: Health) -> None:
        self._store = store
        self._health = health
        self._warned_of = 0  # a generation
        self._old_crls: set[str] = set()

    def look(self, now: float) -> None:
        """Warn before the SVID ends, close its gate when it has, and say which CRLs have grown old."""
        identity = self._store.current
        if identity is not None:
            self._look_at_crls(identity, now)
            self._look_at_svid(identity, now)

    def _look_at_crls(self, identity: Identity, now: float) -> None:
        old = {name for name, bundle in identity.bundles.items() if now > bundle.revocations.grows_old_at}
        for name in sorted(old - self._old_crls):
            _log.warning("identity: the CRL of %s has passed its nextUpdate: write a newer one", name)
        self._old_crls = old

    def _look_at_svid(self, identity: Identity, now: float) -> None:
        svid = identity.svid
        left_s = svid.not_after - now
        if left_s <= 0:
            self._health.set(Gate.SVID, ok=False, detail="the SVID has ended, and its source has given no new one")
        elif left_s < EXPIRY_WARNING * (svid.not_after - svid.not_before) and self._warned_of != identity.generation:
            self._warned_of = identity.generation
            _log.warning("identity: the SVID ends in %d s, and its source has given no new one", left_s)
