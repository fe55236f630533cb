"""What the metrics say of the identity in use."""

from proxy.identity.revocation import NOTHING_REVOKED
from proxy.identity.store import Identity
from proxy.observe.catalog import Metrics


def show_identity(metrics: Metrics, identity: Identity) -> None:
    """Take that this one is in use from now on: when it ends, and the ends of its bundles and CRLs."""
    metrics.svid_not_after.set(identity.svid.not_after)
    metrics.identity_loaded(identity.loaded_at)
    metrics.reload("ok").inc()
    if identity.generation > 1:
        metrics.svid_rotations.inc()
    for trust_domain, bundle in identity.bundles.items():
        ends = max((a.not_valid_after_utc.timestamp() for a in bundle.authorities), default=0.0)  # it may be empty
        metrics.bundle_not_after(trust_domain).set(ends)
        if bundle.revocations is not NOTHING_REVOKED:
            metrics.crl_next_update(trust_domain).set(bundle.revocations.grows_old_at)
