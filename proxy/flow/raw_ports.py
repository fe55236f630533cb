"""The ports of the app's own for raw TCP, put together, and led elsewhere by a reload."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from proxy.flow.listener import Listener
from proxy.flow.raw_outbound import RawOutbound, RawOutboundConnection
from proxy.flow.runtime import Runtime
from proxy.flow.settings import TcpSettings
from proxy.identity.store import IdentityStore
from proxy.policy.compile import compile_destinations
from proxy.policy.destinations import Destinations
from proxy.policy.screen import Screen
from proxy.tokens.tts import TokenService
from proxy.upstream.dial import Dialer
from proxy.upstream.endpoint import Endpoint
from proxy.upstream.pool import Pool


@dataclass(slots=True)
class RawPort:
    """One of them, with what it was made of."""

    settings: TcpSettings
    door: RawOutbound
    listener: Listener

    def is_at(self, other: TcpSettings) -> bool:
        """Whether that one listens where this one does."""
        mine, its = self.settings.listener, other.listener
        return (mine.host, mine.port) == (its.host, its.port)

    def end(self) -> None:
        """End what was opened by it, for it leads elsewhere now."""
        for connection in list(self.listener.connections):
            if isinstance(connection, RawOutboundConnection):
                connection.withdraw()


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
        self._ports: list[RawPort] = []
        self._runtime = runtime
        self._store = store
        self._service = service
        self._dialer = dialer
        self._handshake_timeout_s = handshake_timeout_s
        self._screen = screen

    def add(self, settings: Sequence[TcpSettings], trust_domain: str) -> None:
        """Make the listeners; none of them listens yet."""
        self._ports += [self._make(port, trust_domain) for port in settings]

    def _make(self, port: TcpSettings, trust_domain: str) -> RawPort:
        destinations = compile_destinations([port.destination], trust_domain)
        pool = self._pool(port, destinations)
        door = RawOutbound(self._store, destinations, self._service, pool, self._screen)
        return RawPort(port, door, Listener(self._runtime, port.listener, door, self._handshake_timeout_s))

    def _pool(self, port: TcpSettings, destinations: Destinations) -> Pool:
        return Pool(
            Endpoint.of(destinations.all[0]),
            port.pool,
            port.listener.limits,
            self._dialer,
            self._runtime.deadlines,
            self._runtime.clock,
            keeps=False,
        )

    def take(self, settings: Sequence[TcpSettings], trust_domain: str) -> None:
        """Listen where these say, and lead where they say; limits and timeouts of a port that is open stay.

        What was opened by a port that leads elsewhere now, or is gone, ends at once.

        Raises:
            ListenFailed: nothing has changed.

        """
        left, wanted = list(self._ports), list[RawPort]()
        try:
            for port in settings:
                known = next((one for one in left if one.is_at(port)), None)
                if known is not None:
                    left.remove(known)
                    wanted.append(known)
                    continue
                made = self._make(port, trust_domain)
                wanted.append(made)
                made.listener.start()
        except OSError:
            for made in wanted:
                if made not in self._ports:
                    made.listener.close()
            raise
        self._ports = wanted
        for gone in left:
            gone.listener.drain()
            gone.end()
        for one, to in zip(wanted, settings, strict=True):
            self._lead(one, to, trust_domain)

    def _lead(self, port: RawPort, to: TcpSettings, trust_domain: str) -> None:
        if port.settings.destination == to.destination:
            return
        port.settings = replace(port.settings, destination=to.destination)
        port.door.destinations = destinations = compile_destinations([to.destination], trust_domain)
        port.door.pool = self._pool(port.settings, destinations)
        port.listener.decide_by(destinations.version)
        port.end()

    @property
    def settings(self) -> tuple[TcpSettings, ...]:
        """What is in force."""
        return tuple(port.settings for port in self._ports)

    @property
    def listeners(self) -> list[Listener]:
        """Give them in the order of the settings."""
        return [port.listener for port in self._ports]

    @property
    def named(self) -> list[tuple[str, Listener]]:
        """Give each with its name among the ports."""
        return [(f"tcp{number}", listener) for number, listener in enumerate(self.listeners)]
