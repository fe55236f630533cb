"""The ports of the app's own for raw TCP, put together."""

from collections.abc import Sequence

from proxy.flow.listener import Listener
from proxy.flow.raw_outbound import RawOutbound
from proxy.flow.runtime import Runtime
from proxy.flow.settings import TcpSettings
from proxy.identity.store import IdentityStore
from proxy.policy.compile import compile_destinations
from proxy.policy.screen import Screen
from proxy.tokens.tts import TokenService
from proxy.upstream.dial import Dialer
from proxy.upstream.endpoint import Endpoint
from proxy.upstream.pool import Pool


class RawPorts:
    """A listener for each port."""

    def __init__(
        self,
        runtime: Runtime,
        store: IdentityStore,
        service: TokenService | None,
        dialer: Dialer,
        handshake_timeout_s: float,
        screen: Screen,
    ) -> None:
        self.listeners: list[Listener] = []
        self._runtime = runtime
        self._store = store
        self._service = service
        self._dialer = dialer
        self._handshake_timeout_s = handshake_timeout_s
        self._screen = screen

    def add(self, settings: Sequence[TcpSettings], trust_domain: str) -> None:
        """Make the listeners; none of them listens yet."""
        for port in settings:
            destinations = compile_destinations([port.destination], trust_domain)
            pool = Pool(
                Endpoint.of(destinations.all[0]),
                port.pool,
                port.listener.limits,
                self._dialer,
                self._runtime.deadlines,
                self._runtime.clock,
            )
            door = RawOutbound(self._store, destinations, self._service, pool, self._screen)
            self.listeners.append(Listener(self._runtime, port.listener, door, self._handshake_timeout_s))

    @property
    def named(self) -> list[tuple[str, Listener]]:
        """Give each with its name among the ports."""
        return [(f"tcp{number}", listener) for number, listener in enumerate(self.listeners)]
