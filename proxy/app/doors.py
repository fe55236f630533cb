"""Where requests come in and go out: the two listeners, the ports for raw TCP, the connections to whom they lead."""

import time

from proxy.app.foundation import Foundation
from proxy.config.settings import SidecarSettings
from proxy.flow.downstream import Downstream
from proxy.flow.inbound import Inbound, InboundConnection
from proxy.flow.listener import Listener
from proxy.flow.outbound import Outbound
from proxy.flow.raw_inbound import RawInbound
from proxy.flow.raw_ports import RawPorts
from proxy.flow.runtime import Runtime
from proxy.flow.settings import AppProtocol
from proxy.flow.transaction import Transactions, memory_for
from proxy.flow.withdrawal import Withdrawal
from proxy.net.lifetimes import Lifetimes
from proxy.outside.authoriser import Authoriser
from proxy.policy.compile import compile_destinations, compile_policy
from proxy.policy.rules import Policy
from proxy.policy.screen import Screen
from proxy.policy.settings import DestinationSettings, Protection
from proxy.upstream.dial import Dialer
from proxy.upstream.endpoint import Endpoint
from proxy.upstream.pool import Pool
from proxy.upstream.pools import Pools
from proxy.upstream.settings import PoolSettings


class Doors:
    """Each direction has a listener and, behind it, the door with its steps; None where it is not configured."""

    def __init__(
        self,
        settings: SidecarSettings,
        foundation: Foundation,
        transactions: Transactions,
        screen: Screen,
        withdrawal: Withdrawal,
        authoriser: Authoriser | None,
    ) -> None:
        """Make all of them; none listens yet."""
        self._settings = settings
        self._foundation = foundation
        self._transactions = transactions
        self._screen = screen
        self._withdrawal = withdrawal
        self._known_as = ""
        self._dialer = self._make_dialer()
        self.pools = Pools(self._outbound_pool)
        self.inbound, self.inbound_door = self._make_inbound(foundation.runtime("in"), authoriser)
        self.outbound, self.outbound_door, self.raw = self._make_outbound(foundation.runtime("out"))

    def _make_dialer(self) -> Dialer:
        on = self._foundation
        return Dialer(
            on.transports,
            on.contexts,
            on.store,
            time.time,
            time.monotonic,
            lambda result, seconds: on.metrics.tls_handshake("client", result).observe(seconds),
            lifetimes=Lifetimes(on.deadlines, on.tasks, time.monotonic),
            lifetime=self._settings.lifetime,
            revoked=self._withdrawal.revoked,
            grace_s=self._withdrawal.usual_s,
        )

    def _make_inbound(self, runtime: Runtime, authoriser: Authoriser | None) -> tuple[Listener | None, Inbound | None]:
        settings, on = self._settings.inbound, self._foundation
        if settings is None:
            return None, None
        app = Endpoint(host=settings.app_host, port=settings.app_port, protection=Protection.PLAIN)
        lifetimes: Lifetimes[InboundConnection] = Lifetimes(on.deadlines, on.tasks, time.monotonic)
        is_raw = settings.protocol is AppProtocol.TCP
        door = (RawInbound if is_raw else Inbound)(
            settings,
            on.store,
            on.contexts,
            self._transactions,
            compile_policy(self._settings.policy, self._settings.tokens.audience),
            self._pool(app, settings.pool, held=is_raw),
            lifetimes,
            self._settings.lifetime,
            authoriser=authoriser,
            withdrawal=self._withdrawal,
        )
        return Listener(runtime, settings.listener, door, self._settings.tls.handshake_timeout_s), door

    def _make_outbound(self, runtime: Runtime) -> tuple[Listener | None, Outbound | None, RawPorts]:
        settings, store, service = self._settings, self._foundation.store, self._transactions.service
        trust_domain, patience_s = settings.identity.trust_domain, settings.tls.handshake_timeout_s
        raw = RawPorts(runtime, store, service, self._dialer, patience_s, self._screen)
        raw.add(settings.tcp, trust_domain)
        if settings.outbound is None:
            return None, None, raw
        destinations = compile_destinations(settings.destinations, trust_domain)
        door = Outbound(store, destinations, self._transactions, self.pools.of, self._screen)
        return Listener(runtime, settings.outbound.listener, door, patience_s), door, raw

    def _pool(self, endpoint: Endpoint, settings: PoolSettings, *, held: bool = False) -> Pool:
        listener = self._settings.inbound or self._settings.outbound
        if listener is None:
            raise RuntimeError("a sidecar has at least one listener")
        limits = listener.listener.limits
        on = self._foundation
        return Pool(endpoint, settings, limits, self._dialer, on.deadlines, time.monotonic, held=held, keeps=not held)

    def _outbound_pool(self, endpoint: Endpoint) -> Pool:
        if self._settings.outbound is None:
            raise RuntimeError("there is no outbound listener")
        return self._pool(endpoint, self._settings.outbound.pool)

    # ---- who is here

    def listeners(self) -> list[tuple[str, Listener]]:
        """Give all that there are, each with its name among the ports."""
        both = ("inbound", self.inbound), ("outbound", self.outbound)
        return [*((name, one) for name, one in both if one is not None), *self.raw.named]

    def connections(self) -> list[Downstream]:
        """Give whoever is connected to any of them."""
        return [connection for _, listener in self.listeners() for connection in listener.connections]

    def open_connections(self) -> int:
        """Count those of callers and those to destinations."""
        return self.pools.open + sum(len(listener.connections) for _, listener in self.listeners())

    def judge_anew(self) -> None:
        """Other authorities, CRLs or revocations: whoever is believed no more is out, on either side."""
        if self.inbound_door is not None:
            self.inbound_door.judge_anew(time.time())
        self._dialer.judge_anew()

    def known_as(self, spiffe_id: str) -> None:
        """Another identity is ours: the app's connections go by it. A peer's names the one that it has seen."""
        if spiffe_id == self._known_as:
            return
        self._known_as = spiffe_id
        if self.inbound_door is not None:
            self.inbound_door.known_as = spiffe_id
        self.pools.retire()  # over there we are somebody else by what is open
        for _, listener in self.listeners():
            if listener.direction == "outbound":
                listener.known_as(spiffe_id)

    # ---- reload and end

    def take_policy(self, rules: Policy) -> None:
        """Judge by another policy, also whoever is connected."""
        if self.inbound_door is None:
            return
        self.inbound_door.policy = rules
        if self._foundation.store.current is not None:
            self.inbound_door.judge_anew(time.time())

    def take_destinations(self, destinations: tuple[DestinationSettings, ...]) -> None:
        """Lead to other destinations; nobody goes any more where none of them leads."""
        if self.outbound_door is None or self.outbound is None:
            return
        settings, transactions = self._settings, self._transactions
        transactions.passages = memory_for(destinations, settings.inbound, settings.sharing, transactions.passages)
        known = compile_destinations(destinations, settings.identity.trust_domain)
        self.outbound_door.destinations = known
        self.outbound.decide_by(known.version)
        self.pools.withdraw({destination.name: Endpoint.of(destination) for destination in known.all})

    def close(self) -> None:
        """End every connection now."""
        for _, listener in self.listeners():
            listener.close()
        self.pools.close()
        if self.inbound_door is not None:
            self.inbound_door.pool.close()
