"""The one identity that this process holds: built aside, swapped whole, the last good kept (law 7).

What others build from an identity (TLS contexts) takes milliseconds, so a change while traffic runs is built in a
thread. Meanwhile the last good one serves; what else wants to change waits its turn, but not a withdrawal: it holds at
once, and what is being built for the identity that was taken away is dropped.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

from proxy.errors import CertificateExpired, ConnectionRefusal, IdentityInvalid, NotReady
from proxy.identity.bundle import Bundle, Bundles
from proxy.identity.peer import verify_path
from proxy.identity.svid import X509Svid
from proxy.net.aside import aside


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Our SVID and the bundles that we trust, as one. ``generation`` counts from 1; ``loaded_at`` is wall clock."""

    svid: X509Svid
    bundles: Bundles
    generation: int
    loaded_at: float


Listener = Callable[[Identity], None]

Preparer = Callable[[Identity], Callable[[], None]]
"""Builds from an identity, in a thread, touching nothing else; what it gives takes that into use, in the loop's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    """An identity that is about to be, of what the source gave and what was federated."""

    identity: Identity
    given: Bundles
    foreign: Bundles


class IdentityStore:
    """Holds the current identity and tells others of a new one."""

    __slots__ = (
        "_changes",
        "_current",
        "_foreign",
        "_generation",
        "_given",
        "_listeners",
        "_preparers",
        "_turn",
        "_withdrawals",
        "_withdrawn",
    )

    def __init__(self) -> None:
        self._current: Identity | None = None
        self._generation = 0
        self._changes = 0
        self._withdrawn = 0
        self._turn = asyncio.Lock()
        self._given: Bundles = {}
        self._foreign: Bundles = {}
        self._withdrawals: list[Callable[[], None]] = []
        self._preparers: list[Preparer] = []
        self._listeners: list[Listener] = []

    @property
    def current(self) -> Identity | None:
        """The last good identity, which may have expired; None before the first, and when it was taken away."""
        return self._current

    def require(self) -> Identity:
        """Return the current identity. Raises NotReady where there is none."""
        if self._current is None:
            raise NotReady("our SVID was taken away" if self._generation else "no SVID is loaded yet")
        return self._current

    @property
    def trusted(self) -> Bundles:
        """The bundles of the current identity; without one, nobody is trusted."""
        return self._current.bundles if self._current else {}

    def prepare(self, callback: Preparer) -> None:
        """Have ``callback`` build aside from each identity that is about to be taken, as ``Preparer`` says.

        If it raises IdentityInvalid the identity is not taken.
        """
        self._preparers.append(callback)

    def subscribe(self, callback: Listener) -> None:
        """Have ``callback`` told of each new identity, once it is current. It must not raise."""
        self._listeners.append(callback)

    def on_withdrawal(self, callback: Callable[[], None]) -> None:
        """Have ``callback`` told when the identity was taken away. It must not raise."""
        self._withdrawals.append(callback)

    def withdraw(self) -> None:
        """Cease to use the identity: whoever gave it says that it is ours no more."""
        if self._current is not None:
            self._current = None
            self._changes += 1
            self._withdrawn += 1
            for callback in self._withdrawals:
                callback()

    def replace(self, svid: X509Svid, bundles: Bundles, now: float) -> Identity:
        """Take a new identity here and now, if all of it is good. Raises IdentityInvalid; then the old one stays."""
        _check(svid, bundles, now)
        draft = self._draft(svid, bundles, self._foreign, now)
        return self._take(draft, [prepare(draft.identity) for prepare in self._preparers])

    async def renew(self, svid: X509Svid, bundles: Bundles, now: float) -> Identity:
        """Take it as ``replace`` does, with what takes long in a thread."""
        _check(svid, bundles, now)
        withdrawn = self._withdrawn

        def draw() -> _Draft:
            if self._withdrawn != withdrawn:
                raise IdentityInvalid("the SVID was taken away while it was being taken")
            return self._draft(svid, bundles, self._foreign, now)

        return await self._take_aside(draw)

    def holds(self, svid: X509Svid, bundles: Bundles) -> bool:
        """Whether ``replace`` would bring nothing new."""
        return self._current is not None and (self._current.svid, self._given) == (svid, bundles)

    async def federate(self, bundle: Bundle) -> Identity:
        """Trust a foreign domain by this bundle, whatever the source of our SVID says of it; until the next one.

        Raises NotReady before our own SVID is there, and IdentityInvalid; then what was trusted before stays.
        """
        if self._foreign.get(bundle.trust_domain) == bundle:
            return self.require()
        return await self._take_aside(lambda: self._federated(bundle))

    def _federated(self, bundle: Bundle) -> _Draft:
        current = self.require()
        if bundle.trust_domain == current.svid.spiffe_id.trust_domain:
            raise IdentityInvalid("our own trust domain is not federated with itself")
        return self._draft(current.svid, self._given, {**self._foreign, bundle.trust_domain: bundle}, current.loaded_at)

    def _draft(self, svid: X509Svid, given: Bundles, foreign: Bundles, loaded_at: float) -> _Draft:
        own = svid.spiffe_id.trust_domain
        over = {name: _with_crls(bundle, given) for name, bundle in foreign.items() if name != own}
        identity = Identity(svid=svid, bundles={**given, **over}, generation=self._generation + 1, loaded_at=loaded_at)
        return _Draft(identity=identity, given=given, foreign=foreign)

    async def _take_aside(self, draw: Callable[[], _Draft]) -> Identity:
        async with self._turn:
            while True:
                changes, draft = self._changes, draw()
                built = [await aside(prepare, draft.identity) for prepare in self._preparers]
                if changes == self._changes:
                    return self._take(draft, built)

    def _take(self, draft: _Draft, built: list[Callable[[], None]]) -> Identity:
        self._current, self._generation = draft.identity, draft.identity.generation
        self._given, self._foreign = draft.given, draft.foreign
        self._changes += 1
        for take in built:
            take()
        for listener in self._listeners:
            listener(draft.identity)
        return draft.identity


def _with_crls(bundle: Bundle, given: Bundles) -> Bundle:
    """A bundle endpoint publishes no CRLs: those that the source of our SVID gave of that domain hold on."""
    before = given.get(bundle.trust_domain)
    return replace(bundle, revocations=before.revocations) if before is not None else bundle


def _check(svid: X509Svid, bundles: Bundles, now: float) -> None:
    if any(name != bundle.trust_domain for name, bundle in bundles.items()):
        raise IdentityInvalid("a bundle stands under the name of another trust domain")
    own = bundles.get(svid.spiffe_id.trust_domain)
    if own is None:
        raise IdentityInvalid("there is no bundle of our own trust domain")
    try:
        verify_path(svid.certificates, own, now)
    except CertificateExpired as error:
        raise IdentityInvalid("the SVID or one of its intermediates is not valid now") from error
    except ConnectionRefusal as error:
        raise IdentityInvalid(f"the SVID does not verify against its own bundle: {error.detail}") from error
