"""The composition root: Settings in, one running sidecar out. The only file that knows every room.

Order of a start: the operators' ports first, so that a sidecar that cannot begin says why; then the listeners, so
that a port in use is told at once; then identity and keys, for which it waits as long as it must. Order of an end: see
``supervisor/worker.py``.
"""

import asyncio
import gc
import logging
import os
import random
import secrets
import time
from dataclasses import replace

from proxy import __version__
from proxy.admin.expiry import ExpiryWatch
from proxy.admin.health import Gate, Health
from proxy.admin.overview import names_in, overview
from proxy.admin.server import AdminHandlers
from proxy.admin.standing import Standing
from proxy.config.asks import asks_of
from proxy.config.gates import gates_of
from proxy.config.revocation import read_yaml
from proxy.config.settings import SidecarSettings
from proxy.control.fetch import ControlFetch
from proxy.control.server import ControlServer, Handler
from proxy.federation.relations import Relations
from proxy.flow.announce import announce
from proxy.flow.downstream import Downstream
from proxy.flow.inbound import Inbound, InboundConnection
from proxy.flow.listener import Listener
from proxy.flow.outbound import Outbound
from proxy.flow.raw_inbound import RawInbound
from proxy.flow.raw_ports import RawPorts
from proxy.flow.recall import Recall
from proxy.flow.runtime import Runtime
from proxy.flow.settings import AppProtocol
from proxy.flow.transaction import Transactions, counted, memories_for, memory_for
from proxy.flow.withdrawal import Withdrawal
from proxy.identity.bundle import Bundles
from proxy.identity.describe import held_as_data
from proxy.identity.signer import SvidSigner
from proxy.identity.sources.choose import choose_source
from proxy.identity.sources.source import IdentitySource, Told
from proxy.identity.store import Identity, IdentityStore
from proxy.net.deadlines import Deadlines
from proxy.net.lifetimes import Lifetimes
from proxy.net.tasks import Tasks
from proxy.net.transport import Transports
from proxy.observe.access_log import AccessLog
from proxy.observe.agent import AgentMetrics
from proxy.observe.audit.trail import open_audit
from proxy.observe.catalog import Metrics
from proxy.observe.lag import LoopLag
from proxy.observe.revoked import RevocationMetrics
from proxy.observe.trace import TraceIds
from proxy.outside.make import make_authoriser
from proxy.policy.compile import compile_destinations, compile_policy
from proxy.policy.revocation import Kind, Revoked
from proxy.policy.settings import DestinationSettings, PolicySettings, Protection
from proxy.revocation.revocations import Revocations
from proxy.tls.contexts import TlsContexts
from proxy.tokens.assertion import make_assertions
from proxy.tokens.callers import make_callers
from proxy.tokens.jwks import KeyStore
from proxy.tokens.tts import TokenService
from proxy.upstream.dial import Dialer
from proxy.upstream.endpoint import Endpoint
from proxy.upstream.pool import Pool
from proxy.upstream.pools import Pools
from proxy.upstream.settings import PoolSettings

_log = logging.getLogger("svidecar")


class Sidecar:
    """One sidecar on one loop. ``start``, then ``drain`` or ``close``."""

    def __init__(self, settings: SidecarSettings, loop: asyncio.AbstractEventLoop) -> None:
        self.settings = settings
        self.transports = Transports(loop, settings.event_loop)
        self.tasks = Tasks("sidecar")
        self.deadlines = Deadlines(loop)
        self.metrics = Metrics(__version__, settings.service, event_loop=settings.event_loop.value)
        self.access_log = AccessLog(settings.access_log, settings.service, loop, self.metrics.access_log_dropped)
        self.store = IdentityStore()
        self.audit = open_audit(settings.audit, SvidSigner(self.store), self.metrics)
        self.health = Health(gates_of(settings))
        self.standing = Standing(self.store, self.metrics, self.health)
        self._expiry = ExpiryWatch(self.store, self.health)
        self.contexts = TlsContexts(self.store, settings.tls)
        self.source = self._make_source()
        self.ports: dict[str, int] = {}
        self.end_wanted = asyncio.Event()
        fetched = self.metrics.federation_fetched
        self.relations = Relations(settings.federation, self.transports, self.store, time.time, fetched)
        self._lag = LoopLag(loop, self.metrics.event_loop_lag)
        self._servers: list[ControlServer] = []
        self._pools = Pools(self._outbound_pool)
        self._bundles: Bundles | None = None
        self.metrics.tls_context_generations.read = self.contexts.generations
        self.store.subscribe(self._identity_changed)
        self.withdrawal = Withdrawal(Revoked(), settings.revocation.ending, settings.revocation.grace_s)
        self.dialer = self._make_dialer()
        revoked = self.withdrawal.revoked
        self._fetch = fetch = ControlFetch(self.transports, self.contexts, self.store, time.time, revoked=revoked)
        self.revocations = self._make_revocations(fetch)
        self._recall = Recall(self._connections, self.revocations.screen, self.withdrawal, self.tasks, time.monotonic)
        self.keys = KeyStore(settings.tokens, fetch, time.time)
        self.keys.subscribe(self._keys_changed)
        self.assertions = make_assertions(settings.tokens.service, self.source, self.store, time.time)
        self.callers = make_callers(self.source, self.assertions, lambda: self.relations.jwt_keys, time.time)
        self.transactions = self._make_transactions(fetch)
        self.transactions.show(self.metrics, time.time)
        self.authoriser = make_authoriser(settings.authoriser, fetch, time.monotonic, self.metrics)
        self.revocations.subscribe(self.transactions.authenticator.doubt, self._revoked_anew)
        self.inbound, self.inbound_door = self._make_inbound(self._make_runtime("in"))
        self.outbound, self.outbound_door, self.raw = self._make_outbound(self._make_runtime("out"))

    # ---- parts

    def _make_source(self) -> IdentitySource:
        agent = AgentMetrics(self.metrics, time.time)
        told = Told(
            loaded=self.standing.loaded,
            taken_back=self._identity_taken_back,
            stream=agent.stream,
            failed=agent.failed,
        )
        return choose_source(self.settings.identity, self.store, time.time, random.random, told)

    def _make_dialer(self) -> Dialer:
        return Dialer(
            self.transports,
            self.contexts,
            self.store,
            time.time,
            time.monotonic,
            lambda result, seconds: self.metrics.tls_handshake("client", result).observe(seconds),
            lifetimes=Lifetimes(self.deadlines, self.tasks, time.monotonic),
            lifetime=self.settings.lifetime,
            revoked=self.withdrawal.revoked,
            grace_s=self.withdrawal.usual_s,
        )

    def _make_runtime(self, direction: str) -> Runtime:
        return Runtime(
            transports=self.transports,
            deadlines=self.deadlines,
            tasks=self.tasks,
            clock=time.monotonic,
            now=time.time,
            metrics=self.metrics,
            access_log=self.access_log,
            trace_ids=TraceIds(os.urandom),
            pseudonym=f"svidecar-{direction}-{secrets.token_hex(4)}".encode(),
            audit=self.audit,
        )

    def _make_revocations(self, fetch: ControlFetch) -> Revocations:
        told, revoked = RevocationMetrics(self.metrics, Kind), self.withdrawal.revoked
        sources = self.settings.revocation, self.settings.tokens, revoked, fetch
        return Revocations(*sources, time.time, read_yaml, told, self.health.hear)

    def _make_transactions(self, fetch: ControlFetch) -> Transactions:
        settings = self.settings
        authenticator = counted(settings.tokens, self.keys, self.metrics, self.withdrawal.revoked)
        memories = memories_for(settings.destinations, settings.inbound, settings.sharing, self.metrics)
        return Transactions(authenticator, self._make_token_service(fetch), *memories)

    def _make_token_service(self, fetch: ControlFetch) -> TokenService | None:
        if self.settings.tokens.service is None:
            return None
        return TokenService(
            self.settings.tokens,
            fetch,
            self.keys,
            time.time,
            random.random,
            assertion=self.assertions.obtain if self.assertions else None,
            check_svid=self.callers.check if self.callers else None,
            is_revoked=self.revocations.screen.refuses,
            on_exchange=lambda result, seconds: self.metrics.token_exchange(result).observe(seconds),
        )

    def _make_inbound(self, runtime: Runtime) -> tuple[Listener | None, Inbound | None]:
        settings = self.settings.inbound
        if settings is None:
            return None, None
        app = Endpoint(host=settings.app_host, port=settings.app_port, protection=Protection.PLAIN)
        policy = compile_policy(self.settings.policy, self.settings.tokens.audience)
        pool = self._pool(app, settings.pool, held=settings.protocol is AppProtocol.TCP)
        lifetimes: Lifetimes[InboundConnection] = Lifetimes(self.deadlines, self.tasks, time.monotonic)
        kind = RawInbound if settings.protocol is AppProtocol.TCP else Inbound
        door = kind(
            settings,
            self.store,
            self.contexts,
            self.transactions,
            policy,
            pool,
            lifetimes,
            self.settings.lifetime,
            authoriser=self.authoriser,
            withdrawal=self.withdrawal,
        )
        return Listener(runtime, settings.listener, door, self.settings.tls.handshake_timeout_s), door

    def _make_outbound(self, runtime: Runtime) -> tuple[Listener | None, Outbound | None, RawPorts]:
        trust_domain, patience_s = self.settings.identity.trust_domain, self.settings.tls.handshake_timeout_s
        raw = RawPorts(runtime, self.store, self.transactions.service, self.dialer, patience_s, self.revocations.screen)
        raw.add(self.settings.tcp, trust_domain)
        settings = self.settings.outbound
        if settings is None:
            return None, None, raw
        destinations = compile_destinations(self.settings.destinations, trust_domain)
        door = Outbound(self.store, destinations, self.transactions, self._pools.of, self.revocations.screen)
        return Listener(runtime, settings.listener, door, patience_s), door, raw

    def _pool(self, endpoint: Endpoint, settings: PoolSettings, *, held: bool = False) -> Pool:
        listener = self.settings.inbound or self.settings.outbound
        if listener is None:
            raise RuntimeError("a sidecar has at least one listener")
        limits = listener.listener.limits
        return Pool(endpoint, settings, limits, self.dialer, self.deadlines, time.monotonic, held=held)

    def _outbound_pool(self, endpoint: Endpoint) -> Pool:
        if self.settings.outbound is None:
            raise RuntimeError("there is no outbound listener")
        return self._pool(endpoint, self.settings.outbound.pool)

    # ---- starting

    async def start(self) -> None:
        """Bind every port, then wait for nothing: identity and keys come when they come.

        Raises:
            ListenFailed: a port cannot be bound; the message tells what to do.

        """
        admin = self.settings.admin
        handlers = AdminHandlers(
            service=self.settings.service,
            metrics=self.metrics,
            health=self.health,
            sections=self._sections,
            names=lambda: names_in(self.settings.policy, self.settings.destinations),
            drain=self.end_wanted.set,
            identity=lambda: held_as_data(self.store, self.source.trouble),
            added=self.revocations.paths,
        )
        await self._serve("health", handlers.on_health, admin.health_host, admin.health_port)
        await self._serve("metrics", handlers.on_metrics, admin.metrics_host, admin.metrics_port)
        await self._serve("admin", handlers.on_admin, admin.admin_host, admin.admin_port)
        await self.transactions.begin(self.tasks, time.time())  # before anything is remembered that others have to know
        for name, listener in self._listeners():
            self.ports[name] = listener.start()
        self.health.set(Gate.LISTENERS, ok=True, detail=", ".join(f"{n} {p}" for n, p in self.ports.items()))
        if self.inbound is not None:
            self.health.set(Gate.POLICY, ok=True, detail=f"{len(self.settings.policy.rules)} rules")
        announce(self.audit, self.metrics, self.inbound_door, self.outbound_door)
        if self.audit is not None:
            self.audit.start()
        self._lag.start()
        self._begin()
        gc.collect()
        gc.freeze()  # what lives as long as the process is never walked again

    def _begin(self) -> None:
        self.source.begin()
        self.tasks.spawn(self.source.watch(), "identity")
        self.relations.begin(self.tasks)
        self.revocations.begin(self.tasks)
        if self.assertions is not None:
            self.tasks.spawn(self.assertions.keep(), "jwt bundles")
        if self.callers is not None:
            self.callers.want(asks_of(self.settings))
            self.tasks.spawn(self.callers.keep(), "jwt bundles of callers")
        if Gate.KEYS in self.health.findings:
            self.tasks.spawn(self._keep_keys(), "keys")
        self.tasks.spawn(self._look_after(), "look after")

    async def _serve(self, name: str, handler: Handler, host: str, port: int) -> None:
        server = ControlServer(self.transports, self.tasks, self.deadlines, handler, name=name)
        self.ports[name] = await server.start(host, port)
        self._servers.append(server)

    async def _keep_keys(self) -> None:
        await self.keys.load()
        await self.keys.keep()

    # ---- what changes while it runs

    def _identity_changed(self, identity: Identity) -> None:
        self.standing.changed(identity)
        if self._bundles is not None and self._bundles != identity.bundles:
            self._verify_anew()
        self._bundles = identity.bundles

    def _identity_taken_back(self, detail: str) -> None:
        """We are nobody now: no new handshake, and whoever we showed our SVID to is told to come again later."""
        self.standing.taken_back(detail, time.time())
        self._bundles = None
        self._verify_anew()

    def _verify_anew(self) -> None:
        """Other authorities or CRLs: whoever they prove no more is out, on either side."""
        if self.inbound_door is not None:
            self.inbound_door.judge_anew(time.time())
        self.dialer.judge_anew()

    def _revoked_anew(self) -> None:
        """Other peers or tokens are revoked: whoever is open, or under way, is held to it."""
        self._verify_anew()
        self._recall.look()

    def _listeners(self) -> list[tuple[str, Listener]]:
        doors = ("inbound", self.inbound), ("outbound", self.outbound)
        return [*((name, one) for name, one in doors if one is not None), *self.raw.named]

    def _connections(self) -> list[Downstream]:
        return [connection for _, listener in self._listeners() for connection in listener.connections]

    def _keys_changed(self) -> None:
        if Gate.KEYS in self.health.findings:
            known = self.keys.current is not None
            self.health.set(Gate.KEYS, ok=known, detail="loaded" if known else self.keys.last_error)

    async def _look_after(self) -> None:
        """Keep what operators see true while nothing else happens."""
        while True:
            self._expiry.look(time.time())
            if (passages := self.transactions.passages) is not None:
                passages.sweep(time.monotonic())
            if self.keys.loaded_at is not None:
                self.metrics.keys_loaded(self.keys.loaded_at)
            elif Gate.KEYS in self.health.findings and self.keys.last_error:
                self.health.set(Gate.KEYS, ok=False, detail=self.keys.last_error)
            await asyncio.sleep(1)

    # ---- what operators see

    def _sections(self) -> dict[str, list[tuple[str, str]]]:
        open_now = {name: len(one.connections) for name, one in self._listeners()}
        return overview(self.store.current, self.ports, open_now)

    # ---- reload and end

    def take(self, policy: PolicySettings, destinations: tuple[DestinationSettings, ...]) -> None:
        """Take another policy and other destinations; each connection is admitted anew, or ends with its answer."""
        policy_now, destinations_now = self.settings.policy, self.settings.destinations
        self.settings = replace(self.settings, policy=policy, destinations=destinations)
        if self.callers is not None:
            self.callers.want(asks_of(self.settings))
        if self.inbound_door is not None and policy != policy_now:
            self.inbound_door.policy = compile_policy(policy, self.settings.tokens.audience)
            if self.store.current is not None:
                self.inbound_door.judge_anew(time.time())
        if self.outbound_door is not None and self.outbound is not None and destinations != destinations_now:
            now, sharing = self.transactions.passages, self.settings.sharing
            self.transactions.passages = memory_for(destinations, self.settings.inbound, sharing, now)
            trust_domain = self.settings.identity.trust_domain
            self.outbound_door.destinations = known = compile_destinations(destinations, trust_domain)
            self.outbound.decide_by(known.version)
            self._pools.withdraw({destination.name: Endpoint.of(destination) for destination in known.all})
        announce(self.audit, self.metrics, self.inbound_door, self.outbound_door)

    def begin_drain(self) -> None:
        """Fail readiness, and let inbound take nothing new. Outbound goes on: the app may need it to finish."""
        self.health.set(Gate.NOT_DRAINING, ok=False, detail="ending")
        if self.inbound is not None:
            self.inbound.drain()

    async def close(self) -> None:
        """End everything now."""
        for _, listener in self._listeners():
            listener.close()
        self._pools.close()
        if self.inbound_door is not None:
            self.inbound_door.pool.close()
        for server in self._servers:
            await server.close()
        self._lag.close()
        await self.keys.close()
        await self.revocations.close()
        await self.transactions.close()
        self._fetch.close()
        if self.authoriser is not None:
            self.authoriser.close()
        self.relations.close()
        await self.tasks.close()
        self.source.close()
        self.deadlines.close()
        self.access_log.close()
        if self.audit is not None:
            self.audit.close()
