"""What is asked of the token service, anywhere in the configuration."""

from proxy.config.settings import SidecarSettings
from proxy.tokens.settings import AskSettings


def asks_of(settings: SidecarSettings) -> list[AskSettings | None]:
    """Give all of it, for routes and for destinations."""
    of_routes = [route.exchange for rule in settings.policy.rules for route in rule.routes]
    return [*of_routes, *(destination.token for destination in settings.destinations)]
