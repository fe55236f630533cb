"""What the status page tells of a sidecar at a glance."""

import ssl
import time
from collections.abc import Mapping, Sequence

from proxy import __version__
from proxy.identity.store import Identity
from proxy.policy.settings import DestinationSettings, PolicySettings


def overview(
    identity: Identity | None, ports: Mapping[str, int], open_now: Mapping[str, int]
) -> dict[str, list[tuple[str, str]]]:
    """Give its sections: who we are, our ports, how many connections are open on each, our versions."""
    ends = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(identity.svid.not_after)) if identity else ""
    return {
        "Identity": [("SPIFFE ID", str(identity.svid.spiffe_id)), ("ends", ends)] if identity else [],
        "Ports": [(name, str(port)) for name, port in ports.items()],
        "Connections": [(name, str(count)) for name, count in open_now.items()],
        "Versions": [("svidecar", __version__), ("OpenSSL", ssl.OPENSSL_VERSION)],
    }


def names_in(policy: PolicySettings, destinations: Sequence[DestinationSettings]) -> dict[str, list[str]]:
    """Give the names that metrics and logs use: of the rules and of the destinations."""
    return {"rules": [one.name for one in policy.rules], "destinations": [one.host for one in destinations]}
