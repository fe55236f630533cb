"""What others publish for 1000 requests a second of 1 KiB with mTLS. Their machines, not this one."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Published:
    """For one proxy, except ``added``: what both proxies on the way add to p90 and p99. None: not published."""

    name: str
    vcpu: float | None
    mb: float | None
    added_p90_ms: float | None
    added_p99_ms: float | None
    rig: str


PUBLISHED = (
    Published("Istio 1.24 sidecar", 0.20, 60, 0.63, None, "fortio, 2 workers; p90 read off a graph by a third party"),
    Published("Istio 1.24 ztunnel", 0.06, 12, 0.16, None, "fortio; layer 4 alone; p90 as above"),
    Published("Istio 1.12-1.15 sidecar", 0.35, 40, 1.7, 2.7, "fortio, 16 connections; another copy says 2.65 for p90"),
    Published("Istio 1.7-1.8 sidecar", 0.5, 50, 1.72, 1.91, "fortio, 16 connections, 2 workers, jitter"),
    Published("Dapr 1.0", 0.48, 23, 1.40, 2.10, "fortio, tracing at 0.1, capped at 0.5 vCPU, 3 nodes of 4 cores"),
)
LINKERD = (
    "Linkerd publishes in other units: 2.11.1 at 2000 requests a second of emojivoto, +6 ms median over 6 ms without\n"
    "it, at most 26.3 MB and 36 ms of CPU a proxy (Istio 1.12: +17 ms, 156.2 MB, 67 ms), wrk2, on other machines."
)
