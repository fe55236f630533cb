"""Tunnels that were open, and that we have ended."""

from proxy.errors.reason import ProxyError, Side


class TunnelEnded(ProxyError, group=True):
    """We have ended a tunnel that was open."""


class TunnelIdle(TunnelEnded):
    """Nothing has moved in the tunnel for too long."""

    side = Side.INTERNAL
