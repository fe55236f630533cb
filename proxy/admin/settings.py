"""The ports that operators use."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminSettings:
    """Hosts and ports. The admin port is loopback only; port 0 picks a free one."""

    metrics_host: str = "0.0.0.0"  # noqa: S104 - scraped from outside the pod
    metrics_port: int = 15020
    health_host: str = "0.0.0.0"  # noqa: S104 - probed by the kubelet
    health_port: int = 15021
    admin_host: str = "127.0.0.1"
    admin_port: int = 15000
