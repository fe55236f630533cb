"""What can be measured, by name, and what a run does if nothing is named. Pure."""

from loadtest.shape import LOADS

OTHERS = {
    "streams": "10 MB answers and uploads, 4 connections: CPU a gigabyte, peak memory",
    "stall": "64 MB bodies whose reader, or app, does not read for a while: peak memory (last round)",
    "handshakes": "a new mTLS connection for each request: CPU of the ingress",
    "idle-1000": "1000 mTLS connections that stay open: memory (last round)",
    "rate-1000": "1000 requests/s, open loop: latency from p50 to p99.99, CPU",
    "rate-half": "half of what Envoy can do (svidecar, where there is no Envoy), the same rate for all",
}
ALONE = {
    "short-connections": "15 000 short connections as fast as they come: leaks",
    "slow-reader": "a reader that is slow: memory, and what the others feel",
    "rotation": "SVID rotation and reload under load: nothing lost",
    "growth": "100 000 requests: the slope of memory",
}
"""Of svidecar alone, once, after the rounds: each is a program of its own, ``python -m loadtest.scenarios.NAME``."""

_LOADS = {
    "one-token": "130 B, keep-alive, one token over and over",
    "new-token": "a token for each request that nobody has seen before",
    "get-1k": "1 KiB answers",
    "get-64k": "64 KiB answers",
    "put-130": "130 B uploads",
    "put-1k": "1 KiB uploads",
    "put-64k": "64 KiB uploads",
    "connections-1": "one connection",
    "connections-16": "16 connections",
    "connections-64": "64 connections",
    "connections-256": "256 connections",
    "new-connection": "a new plain connection for each request, kept ones behind it",
}
SCENARIOS: dict[str, str] = {**_LOADS, **OTHERS, **ALONE}
"""Every scenario, and what it is."""
USUAL: tuple[str, ...] = tuple(_LOADS | OTHERS)
GATED: tuple[str, ...] = ("one-token", "new-token", "rate-1000", "rate-half", "streams", "idle-1000")
"""What the budget speaks of."""
FULL_TIME = frozenset({"one-token", "new-token"})
"""These have all of the seconds that the plan gives; the other loads have SHORT_S of them at most."""
SHORT_S = 2
ONCE = frozenset({"idle-1000", "stall"})
"""Of the last round alone: they are steady, and slow."""
RATES = frozenset({"rate-1000", "rate-half"})

if _LOADS.keys() != LOADS.keys():
    raise AssertionError("a scenario without a shape, or a shape without a word")
