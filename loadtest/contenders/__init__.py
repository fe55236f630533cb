"""The proxies that are compared: each file writes one pair's configuration and says what the pair does."""

from loadtest.contenders.envoy import ENVOY, ENVOY_UNCACHED
from loadtest.contenders.nginx import NGINX
from loadtest.contenders.pair import Contender
from loadtest.contenders.svidecar import SVIDECAR

CONTENDERS: dict[str, Contender] = {each.name: each for each in (SVIDECAR, ENVOY, ENVOY_UNCACHED, NGINX)}
DEFAULT = ("svidecar", "envoy", "nginx")

__all__ = ["CONTENDERS", "DEFAULT", "Contender"]
