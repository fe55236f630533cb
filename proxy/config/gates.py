"""What a sidecar with these settings needs of others: before it is ready, and when it is."""

from proxy.admin.health import Gate
from proxy.config.settings import SidecarSettings
from proxy.tokens.settings import AskSettings


def gates_of(settings: SidecarSettings) -> list[Gate]:
    """Name them: keys where tokens are verified, policy where there is an inbound listener."""
    gates = list(Gate)
    if settings.inbound is None:
        gates.remove(Gate.POLICY)
    if not settings.tokens.keys or (settings.inbound is None and settings.tokens.service is None):
        gates.remove(Gate.KEYS)
    return gates


def asks_of(settings: SidecarSettings) -> list[AskSettings | None]:
    """Give all that is asked of the token service: for routes, for destinations, for ports of raw TCP."""
    of_routes = [route.exchange for rule in settings.policy.rules for route in rule.routes]
    return [*of_routes, *(destination.token for destination in settings.destinations)]
