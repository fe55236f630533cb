"""One sidecar on one loop, from its start to its end.

Order of a start: the operators' ports first, so that a sidecar that cannot begin says why; then the listeners, so
that a port in use is told at once; then identity and keys, for which it waits as long as it must. Order of an end: see
``supervisor/worker.py``.
"""

import asyncio
import gc
import random
import time
from dataclasses import replace
from typing import Final

from proxy.admin.expiry import ExpiryWatch
from proxy.admin.health import Gate, Health
from proxy.admin.overview import names_in, overview
from proxy.admin.ports import AdminPorts
from proxy.admin.server import AdminHandlers
from proxy.admin.standing import Standing
from proxy.admin.tap_path import tap_path
from proxy.app.doors import Doors
from proxy.app.foundation import Foundation
from proxy.config.asks import asks_of
from proxy.config.gates import gates_of
from proxy.config.revocation import read_yaml
from proxy.config.settings import SidecarSettings
from proxy.control.fetch import ControlFetch
from proxy.federation.relations import Relations
from proxy.flow.announce import announce
from proxy.flow.recall import Recall
from proxy.flow.transaction import Transactions, counted, memories_for
from proxy.flow.withdrawal import Withdrawal
from proxy.identity.bundle import Bundles
from proxy.identity.describe import held_as_data
from proxy.identity.sources.choose import choose_source
from proxy.identity.sources.source import IdentitySource, Told
from proxy.identity.store import Identity
from proxy.net.heap import Heap
from proxy.net.pages import FilePages
from proxy.observe.agent import AgentMetrics
from proxy.observe.lag import LoopLag
from proxy.observe.revoked import RevocationMetrics
from proxy.outside.make import make_authoriser
from proxy.policy.revocation import Kind, Revoked
from proxy.policy.rules import Policy
from proxy.policy.settings import DestinationSettings, PolicySettings
from proxy.revocation.revocations import Revocations
from proxy.tokens.assertion import make_assertions
from proxy.tokens.callers import make_callers
from proxy.tokens.jwks import KeyStore
from proxy.tokens.tts import TokenService

COUNTS: Final = 5
"""Of open connections, in a second: a fifth of one has no time for 100 handshakes, which is what giving back is for."""


class Sidecar:
    """See the module. ``start``, then ``begin_drain`` or ``close``."""

    def __init__(self, settings: SidecarSettings, loop: asyncio.AbstractEventLoop) -> None:
        """Put it together; nothing is opened yet but what is written to.

        Raises:
            ConfigInvalid: the audit's file or key cannot be used.

        """
        self.settings = settings
        self.foundation = on = Foundation(settings, loop)
        self.ports: dict[str, int] = {}
        self.end_wanted = asyncio.Event()
        self._admin_ports = AdminPorts(on.transports, on.tasks, on.deadlines)
        self._lag = LoopLag(loop, on.metrics.event_loop_lag)
        self.health = Health(gates_of(settings))
        self._standing = Standing(on.store, on.metrics, self.health)
        self._expiry = ExpiryWatch(on.store, self.health)
        self.source = self._make_source()
        fetched = on.metrics.federation_fetched
        self._relations = Relations(settings.federation, on.transports, on.store, time.time, fetched)
        self._bundles: Bundles | None = None
        on.store.subscribe(self._identity_changed)
        self._withdrawal = Withdrawal(Revoked(), settings.revocation.ending, settings.revocation.grace_s)
        revoked = self._withdrawal.revoked
        self._fetch = ControlFetch(on.transports, on.contexts, on.store, time.time, revoked=revoked)
        self._revocations = self._make_revocations()
        screen = self._revocations.screen
        self.keys = KeyStore(settings.tokens, self._fetch, time.time)
        self.keys.subscribe(self._keys_changed)
        self._assertions = make_assertions(settings.tokens.service, self.source, on.store, time.time)
        self._callers = make_callers(self.source, self._assertions, lambda: self._relations.jwt_keys, time.time)
        self._transactions = self._make_transactions()
        self._transactions.show(on.metrics, time.time)
        self._authoriser = make_authoriser(settings.authoriser, self._fetch, time.monotonic, on.metrics)
        self.doors = Doors(settings, on, self._transactions, screen, self._withdrawal, self._authoriser)
        self._recall = Recall(self.doors.connections, screen, self._withdrawal, on.tasks, time.monotonic)
        self._revocations.subscribe(self._transactions.authenticator.doubt, self._revoked_anew)

    # ---- parts

    def _make_source(self) -> IdentitySource:
        agent = AgentMetrics(self.foundation.metrics, time.time)
        told = Told(
            loaded=self._standing.loaded,
            taken_back=self._identity_taken_back,
            stream=agent.stream,
            failed=agent.failed,
        )
        return choose_source(self.settings.identity, self.foundation.store, time.time, random.random, told)

    def _make_revocations(self) -> Revocations:
        told, revoked = RevocationMetrics(self.foundation.metrics, Kind), self._withdrawal.revoked
        sources = self.settings.revocation, self.settings.tokens, revoked, self._fetch
        return Revocations(*sources, time.time, read_yaml, told, self.health.hear)

    def _make_transactions(self) -> Transactions:
        settings, metrics = self.settings, self.foundation.metrics
        authenticator = counted(settings.tokens, self.keys, metrics, self._withdrawal.revoked)
        memories = memories_for(settings.destinations, settings.inbound, settings.sharing, metrics)
        return Transactions(authenticator, self._make_token_service(), *memories)

    def _make_token_service(self) -> TokenService | None:
        if self.settings.tokens.service is None:
            return None
        metrics = self.foundation.metrics
        return TokenService(
            self.settings.tokens,
            self._fetch,
            self.keys,
            time.time,
            random.random,
            assertion=self._assertions.obtain if self._assertions else None,
            check_svid=self._callers.check if self._callers else None,
            is_revoked=self._revocations.screen.refuses,
            on_exchange=lambda result, seconds: metrics.token_exchange(result).observe(seconds),
        )

    # ---- starting

    async def start(self) -> None:
        """Bind every port, then wait for nothing: identity and keys come when they come.

        Raises:
            ListenFailed: a port cannot be bound; the message tells what to do.

        """
        on = self.foundation
        self.ports.update(await self._admin_ports.start(self.settings.admin, self._handlers()))
        await self._transactions.begin(on.tasks, time.time())  # before anything is remembered that others have to know
        for name, listener in self.doors.listeners():
            self.ports[name] = listener.start()
        self.health.set(Gate.LISTENERS, ok=True, detail=", ".join(f"{n} {p}" for n, p in self.ports.items()))
        if self.doors.inbound is not None:
            self.health.set(Gate.POLICY, ok=True, detail=f"{len(self.settings.policy.rules)} rules")
        self._announce()
        if on.audit is not None:
            on.audit.start()
        self._lag.start()
        self._begin()
        gc.collect()
        gc.freeze()  # what lives as long as the process is never walked again

    def _handlers(self) -> AdminHandlers:
        return AdminHandlers(
            service=self.settings.service,
            metrics=self.foundation.metrics,
            health=self.health,
            sections=self._sections,
            names=lambda: names_in(self.settings.policy, self.settings.destinations),
            drain=self.end_wanted.set,
            identity=lambda: held_as_data(self.foundation.store, self.source.trouble),
            added=self._revocations.paths | tap_path(self.foundation.access_log.tap, self.settings.service),
        )

    def _sections(self) -> dict[str, list[tuple[str, str]]]:
        open_now = {name: len(one.connections) for name, one in self.doors.listeners()}
        return overview(self.foundation.store.current, self.ports, open_now)

    def _begin(self) -> None:
        tasks = self.foundation.tasks
        self.source.begin()
        tasks.spawn(self.source.watch(), "identity")
        self._relations.begin(tasks)
        self._revocations.begin(tasks)
        if self._assertions is not None:
            tasks.spawn(self._assertions.keep(), "jwt bundles")
        if self._callers is not None:
            self._callers.want(asks_of(self.settings))
            tasks.spawn(self._callers.keep(), "jwt bundles of callers")
        if Gate.KEYS in self.health.findings:
            tasks.spawn(self._keep_keys(), "keys")
        tasks.spawn(self._look_after(), "look after")

    async def _keep_keys(self) -> None:
        await self.keys.load()
        await self.keys.keep()

    # ---- what changes while it runs

    def _identity_changed(self, identity: Identity) -> None:
        self._standing.changed(identity)
        self.doors.known_as(str(identity.svid.spiffe_id))
        if self._bundles is not None and self._bundles != identity.bundles:
            self.doors.judge_anew()
        self._bundles = identity.bundles

    def _identity_taken_back(self, detail: str) -> None:
        """We are nobody now: no new handshake, and whoever we showed our SVID to is told to come again later."""
        self._standing.taken_back(detail, time.time())
        self._bundles = None
        self.doors.judge_anew()

    def _revoked_anew(self) -> None:
        """Other peers or tokens are revoked: whoever is open, or under way, is held to it."""
        self.doors.judge_anew()
        self._recall.look()

    def _keys_changed(self) -> None:
        if Gate.KEYS in self.health.findings:
            known = self.keys.current is not None
            self.health.set(Gate.KEYS, ok=known, detail="loaded" if known else self.keys.last_error)

    async def _look_after(self) -> None:
        """Keep what operators see true while nothing else happens."""
        heap, pages = Heap(), FilePages()
        while True:
            await heap.look(self.doors.open_connections())
            if self.health.ready:
                await pages.look(self.doors.open_connections())
            self._expiry.look(time.time())
            if (passages := self._transactions.passages) is not None:
                passages.sweep(time.monotonic())
            if self.keys.loaded_at is not None:
                self.foundation.metrics.keys_loaded(self.keys.loaded_at)
            elif Gate.KEYS in self.health.findings and self.keys.last_error:
                self.health.set(Gate.KEYS, ok=False, detail=self.keys.last_error)
            for _ in range(COUNTS):
                await asyncio.sleep(1 / COUNTS)
                heap.count(self.doors.open_connections())

    # ---- reload and end

    def take(self, policy: PolicySettings, destinations: tuple[DestinationSettings, ...], rules: Policy) -> None:
        """Take another policy and other destinations; each connection is admitted anew, or ends with its answer.

        ``rules`` are what ``policy`` compiles to.
        """
        before = self.settings
        self.settings = replace(before, policy=policy, destinations=destinations)
        if self._callers is not None:
            self._callers.want(asks_of(self.settings))
        if policy != before.policy:
            self.doors.take_policy(rules)
        if destinations != before.destinations:
            self.doors.take_destinations(destinations)
        self._announce()

    def _announce(self) -> None:
        announce(self.foundation.audit, self.foundation.metrics, self.doors.inbound_door, self.doors.outbound_door)

    def begin_drain(self) -> None:
        """Fail readiness, and let inbound take nothing new. Outbound goes on: the app may need it to finish."""
        self.health.set(Gate.NOT_DRAINING, ok=False, detail="ending")
        if self.doors.inbound is not None:
            self.doors.inbound.drain()

    async def close(self) -> None:
        """End everything now."""
        self.doors.close()
        self.foundation.access_log.tap.close()
        await self._admin_ports.close()
        self._lag.close()
        await self.keys.close()
        await self._revocations.close()
        await self._transactions.close()
        self._fetch.close()
        if self._authoriser is not None:
            self._authoriser.close()
        self._relations.close()
        await self.foundation.tasks.close()
        self.source.close()
        self.foundation.close()
