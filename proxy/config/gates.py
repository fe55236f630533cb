"""What must be loaded before a sidecar with these settings is ready."""

from proxy.admin.health import Gate
from proxy.config.settings import SidecarSettings


def gates_of(settings: SidecarSettings) -> list[Gate]:
    """Name them: keys where tokens are verified, policy where there is an inbound listener.

    What is revoked, where nothing passes without.
    """
    gates = list(Gate)
    if settings.inbound is None:
        gates.remove(Gate.POLICY)
    verifies = settings.inbound is not None or settings.tokens.service is not None or settings.sharing is not None
    if not settings.tokens.keys or not verifies:
        gates.remove(Gate.KEYS)
    if not settings.revocation.is_awaited:
        gates.remove(Gate.REVOCATIONS)
    return gates
