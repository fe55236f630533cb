"""One running authority: its state, its own SVID, its port, and the clock that renews what it hands out."""

import asyncio
import logging
import os
import time
import uuid
from collections.abc import Callable

from proxy.authority.ca import IssuedSvid, Root, make_root
from proxy.authority.issue import ClientRules, Rules
from proxy.authority.issuers import Subjects
from proxy.authority.keys import SigningKey, jwks, tended
from proxy.authority.server import Endpoints, spiffe_bundle
from proxy.authority.settings import RESERVED, AuthoritySettings
from proxy.authority.state import State, StateUnusable
from proxy.control.fetch import ControlFetch
from proxy.control.server import ControlServer
from proxy.errors import IdentityInvalid
from proxy.identity.bundle import Bundle
from proxy.identity.peer import Peer, identify
from proxy.identity.spiffe_id import SpiffeId
from proxy.identity.store import IdentityStore
from proxy.identity.svid import X509Svid
from proxy.net.deadlines import Deadlines
from proxy.net.tasks import Tasks
from proxy.net.transport import Transports
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
        self._tasks = Tasks("authority")
        self._deadlines = Deadlines(transports.loop)
        self._store = IdentityStore()
        self._contexts = TlsContexts(self._store, TlsSettings())
        self._root = self._take_root(now())
        self._bundle = Bundle.from_pem(settings.trust_domain, self._root.bundle_pem)
        self._keys: tuple[SigningKey, ...] = state.signing_keys()
        self._issued: dict[str, IssuedSvid] = {}
        self._fetch = ControlFetch(transports, self._contexts, self._store, now)
        self._subjects = self._make_subjects()
        endpoints = Endpoints(
            rules=_rules(settings),
            bundle=spiffe_bundle(self._root),
            keys=lambda: self._keys,
            now=now,
            txn=lambda: str(uuid.uuid4()),
            subjects=self._subjects,
        )
        self._server = ControlServer(
            transports,
            self._tasks,
            self._deadlines,
            endpoints,
            name="authority",
            context=self._contexts.server,
            identify=self._identify,
        )

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
        self._publish()
        settings = self._settings
        port = await self._server.start(settings.host, settings.port)
        facts = {"trust_domain": settings.trust_domain, "host": settings.host, "port": port, "pid": os.getpid()}
        self._state.announce(facts)
        self._tasks.spawn(self._keep(), "renewal")
        self._subjects.keep(self._tasks)
        return port

    async def close(self) -> None:
        """End it."""
        await self._server.close()
        await self._subjects.close()
        self._fetch.close()
        await self._tasks.close()
        self._deadlines.close()
        self._state.withdraw()

    def tend(self, now: float) -> None:
        """Renew what is due: signing keys by age, SVIDs by half of their life.

        Raises:
            StateUnusable, IdentityInvalid: not all is renewed; what was handed out before stays.

        """
        keys = tended(self._keys, now)
        if keys != self._keys:
            self._state.keep_signing_keys(keys)
            self._keys = keys
            self._publish()
        for name in (RESERVED, *(workload.name for workload in self._settings.workloads)):
            issued = self._issued.get(name)
            if issued is None or not issued.not_before <= now < issued.renew_at:
                self._renew(name, now)

    def _renew(self, name: str, now: float) -> None:
        spiffe_id = SpiffeId(trust_domain=self._settings.trust_domain, path=f"/{name}")
        issued = self._root.issue(spiffe_id, now, self._settings.svid_lifetime_s)
        self._state.hand_out(name, issued, self._root.bundle_pem)
        if name == RESERVED:
            own = X509Svid.from_pem(issued.chain_pem, issued.key_pem)
            self._store.replace(own, {self._settings.trust_domain: self._bundle}, now)
        self._issued[name] = issued

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                self.tend(self._now())
            except (StateUnusable, IdentityInvalid) as error:
                _log.error("a renewal failed, trying again in %g s: %s", RETRY_S, error)
                await asyncio.sleep(RETRY_S)

    def _take_root(self, now: float) -> Root:
        root = self._state.root(self._settings.trust_domain)
        if root is None:
            root = make_root(self._settings.trust_domain, now)
            self._state.keep_root(root)
        if root.not_after < now + self._settings.svid_lifetime_s:
            raise StateUnusable(
                f"the root in {self._state.folder} ends too soon to issue under it: move the folder away to begin anew"
            )
        return root

    def _publish(self) -> None:
        self._state.publish(jwks(self._keys), self._root.bundle_pem)

    def _make_subjects(self) -> Subjects:
        settings = self._settings
        return Subjects(
            settings.issuers,
            self._fetch,
            self._now,
            own_keys=lambda: jwks(self._keys),
            trust_domain=settings.trust_domain,
            issuer=f"spiffe://{settings.trust_domain}/{RESERVED}",
        )

    def _identify(self, chain: list[bytes]) -> Peer:
        return identify(chain, self._store.require().bundles, self._now())


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
