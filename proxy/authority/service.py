"""One running authority: its state, its own SVID, its ports and its socket, and the clock that renews what it gives."""

import asyncio
import logging
import os
import time
import uuid
from collections.abc import Callable

from proxy.authority.certificate import EndpointContext
from proxy.authority.entries import Entry
from proxy.authority.grpc_server import GrpcServer
from proxy.authority.issue import ClientRules, Rules
from proxy.authority.issuer import Issuer
from proxy.authority.issuers import Subjects
from proxy.authority.jwt_svid import SvidReader
from proxy.authority.keys import jwks
from proxy.authority.server import BundleEndpoint, Endpoints
from proxy.authority.settings import RESERVED, AuthoritySettings
from proxy.authority.state import State, StateUnusable
from proxy.authority.subject import Brought
from proxy.authority.workload_api import Material, WorkloadApi
from proxy.control.fetch import ControlFetch
from proxy.control.server import ControlServer, Handler
from proxy.errors import IdentityInvalid
from proxy.federation.relations import Relations
from proxy.identity.peer import Peer, identify
from proxy.identity.store import IdentityStore
from proxy.net.deadlines import Deadlines
from proxy.net.tasks import Tasks
from proxy.net.transport import Transports
from proxy.net.unix import listen_unix
from proxy.tls.contexts import TlsContexts
from proxy.tls.settings import TlsSettings

LOOK_S = 1.0
"""How often it looks whether something is due: a clock that was set, or a machine that slept, is noticed that soon."""

RETRY_S = 5.0
"""After a failure to write (a full disk): the SVIDs have half of their life left."""

_log = logging.getLogger(__name__)


class Authority:
    """See the module. ``start``, then ``close``; the state belongs to the caller."""

    def __init__(
        self,
        settings: AuthoritySettings,
        state: State,
        transports: Transports,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._now = now
        self._state = state
        self._transports = transports
        self._tasks = Tasks("authority")
        self._deadlines = Deadlines(transports.loop)
        self._store = IdentityStore()
        self._contexts = TlsContexts(self._store, TlsSettings())
        self._issuer = Issuer(settings, state, self._store, now())
        self._relations = Relations(settings.federation, transports, self._store, now, lambda *_: self._changed())
        self._fetch = ControlFetch(transports, self._contexts, self._store, now)
        self._rules = _rules(settings)
        self._svids = SvidReader(settings.trust_domain, self._rules.issuer, lambda: self._issuer.jwt_keys)
        self._subjects = self._make_subjects()
        self._servers: list[ControlServer] = []
        self._workload_api = self._make_workload_api()
        self.facts: dict[str, object] = {}

    async def start(self) -> int:
        """Hand out what is needed, listen, and keep it all fresh; give the port.

        Raises:
            StateUnusable: the folder cannot be written, or the clock and the root do not fit.
            ListenFailed: as its message says.

        """
        try:
            self.tend(self._now())
        except IdentityInvalid as error:
            raise StateUnusable(f"the root in {self._state.folder} cannot be used now: {error.detail}") from error
        self._issuer.publish()
        settings = self._settings
        facts: dict[str, object] = {"trust_domain": settings.trust_domain, "host": settings.host}
        port = facts["port"] = await self._listen_tokens()
        facts |= await self._listen_bundles()
        facts |= self._listen_workloads()
        self.facts = facts | {"pid": os.getpid()}
        self._state.announce(self.facts)
        self._tasks.spawn(self._keep(), "renewal")
        self._relations.begin(self._tasks)
        self._subjects.keep(self._tasks)
        return port

    async def close(self) -> None:
        """End it."""
        if self._workload_api is not None:
            await self._workload_api.close()
        for server in self._servers:
            await server.close()
        self._relations.close()
        await self._subjects.close()
        self._fetch.close()
        await self._tasks.close()
        self._deadlines.close()
        self._state.withdraw()

    def tend(self, now: float) -> None:
        """Renew what is due, as ``Issuer.tend`` says, and tell those who are attested of it."""
        before = self._issuer.changes
        try:
            self._issuer.tend(now)
        finally:
            if self._issuer.changes != before:
                self._changed()

    # ---- its doors

    async def _listen_tokens(self) -> int:
        endpoints = Endpoints(
            rules=self._rules,
            bundle=self._issuer.document,
            keys=lambda: self._issuer.keys,
            now=self._now,
            txn=lambda: str(uuid.uuid4()),
            subjects=self._subjects,
            svids=self._svids,
        )
        server = ControlServer(
            self._transports,
            self._tasks,
            self._deadlines,
            endpoints,
            name="authority",
            context=self._contexts.server,
            identify=self._identify,
        )
        self._servers.append(server)
        return await server.start(self._settings.host, self._settings.port)

    async def _listen_bundles(self) -> dict[str, object]:
        settings = self._settings.bundle_endpoint
        if settings is None:
            return {}
        context = EndpointContext(settings, self._store)
        context.check()
        handler: Handler = BundleEndpoint(bundle=self._issuer.document)
        server = ControlServer(
            self._transports, self._tasks, self._deadlines, handler, name="bundle endpoint", context=context
        )
        self._servers.append(server)
        return {"bundle_endpoint": await server.start(settings.host, settings.port)}

    def _listen_workloads(self) -> dict[str, object]:
        if self._workload_api is None:
            return {}
        path = self._settings.socket or self._state.socket
        self._workload_api.start(listen_unix(path))
        return {"workload_api": f"unix://{path.absolute()}"}

    def _make_workload_api(self) -> GrpcServer | None:
        entries = [
            Entry(name=workload.name, selectors=workload.selectors, federates_with=workload.federates_with)
            for workload in self._settings.workloads
            if workload.selectors is not None
        ]
        if not entries:
            return None
        service = WorkloadApi(entries, self._material, self._now, self._settings.jwt_svid_lifetime_s)
        return GrpcServer(self._transports, self._tasks, self._deadlines, service)

    # ---- what changes while it runs

    def _material(self) -> Material:
        own = self._settings.trust_domain
        return Material(
            root=self._issuer.root,
            issued=self._issuer.issued,
            foreign={name: bundle for name, bundle in self._store.require().bundles.items() if name != own},
            foreign_jwt_keys=self._relations.jwt_keys,
            jwt_keys=self._issuer.jwt_keys,
        )

    def _changed(self) -> None:
        if self._workload_api is not None:
            self._workload_api.refresh()

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                self.tend(self._now())
            except (StateUnusable, IdentityInvalid) as error:
                _log.error("a renewal failed, trying again in %g s: %s", RETRY_S, error)
                await asyncio.sleep(RETRY_S)

    def _make_subjects(self) -> Subjects:
        settings = self._settings
        return Subjects(
            settings.issuers,
            self._fetch,
            self._now,
            own_keys=lambda: jwks(self._issuer.keys),
            trust_domain=settings.trust_domain,
            issuer=self._rules.issuer,
            svid=self._brought,
        )

    def _brought(self, raw: bytes, now: float) -> Brought:
        """Read a JWT-SVID as a subject: it carries what its workload may ask for itself (specs 1.9)."""
        svid = self._svids(raw, now)
        rules = self._rules.clients.get(str(svid.spiffe_id))
        return Brought(sub=str(svid.spiffe_id), exp=svid.exp, scopes=rules.scopes if rules else frozenset())

    def _identify(self, chain: list[bytes]) -> Peer:
        """Tokens are for our own workloads: a foreign domain's bundle admits nobody here."""
        return identify(chain, {self._settings.trust_domain: self._issuer.bundle}, self._now())


def _rules(settings: AuthoritySettings) -> Rules:
    domain = settings.trust_domain
    return Rules(
        trust_domain=domain,
        issuer=f"spiffe://{domain}/{RESERVED}",
        lifetime_s=settings.token_lifetime_s,
        clients={
            f"spiffe://{domain}/{workload.name}": ClientRules(
                scopes=frozenset(workload.scopes),
                subjects=workload.subjects,
                context=workload.context,
                issuers=frozenset(workload.issuers),
                replaces=workload.replaces,
                svids=workload.svids,
            )
            for workload in settings.workloads
        },
    )
