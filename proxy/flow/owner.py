"""What a connection asks of its listener."""

from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

from proxy.errors import ProxyError
from proxy.flow.exchange import Exchange
from proxy.flow.runtime import Runtime
from proxy.flow.settings import ListenerSettings
from proxy.observe.catalog import Direction

C_contra = TypeVar("C_contra", contravariant=True)
"""The connection: a ``Downstream``."""


class Owner(Protocol[C_contra]):
    """The listener of a connection, as the connection sees it."""

    runtime: Runtime
    settings: ListenerSettings
    direction: Direction
    draining: bool

    def opened(self, connection: C_contra) -> None:
        """Count a connection that may speak now."""

    def closed(self, connection: C_contra) -> None:
        """Forget a connection."""

    def refuse_peer(self, connection: C_contra, error: ProxyError) -> None:
        """Close a connection after its handshake."""

    def open_upstream(self, connection: C_contra, exchange: Exchange) -> None:
        """Open a connection for the request, then send it."""

    def follow_up(self, connection: C_contra, exchange: Exchange, learn: Coroutine[Any, Any, object]) -> None:
        """Leave the hot path for what is missing, then call ``on_request`` again."""
