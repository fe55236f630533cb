"""The proxies that are compared: each file writes one pair's configuration and says what the pair does."""

from loadtest.contenders.direct import DIRECT
from loadtest.contenders.envoy import ENVOY, ENVOY_UNCACHED
from loadtest.contenders.ghostunnel import GHOSTUNNEL
from loadtest.contenders.haproxy import HAPROXY
from loadtest.contenders.nginx import NGINX
from loadtest.contenders.pair import Contender
from loadtest.contenders.svidecar import INTERPRETED, SVIDECAR

_ALL = (SVIDECAR, INTERPRETED, ENVOY, ENVOY_UNCACHED, HAPROXY, NGINX, GHOSTUNNEL, DIRECT)
CONTENDERS: dict[str, Contender] = {each.name: each for each in _ALL}
COMPARED = ("svidecar", "envoy", "envoy-uncached", "haproxy", "nginx", "ghostunnel", "direct")
"""Who is compared, if nobody is named: all but the second way to run svidecar."""

__all__ = ["COMPARED", "CONTENDERS", "Contender"]
