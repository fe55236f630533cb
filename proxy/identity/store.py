"""The one identity that this process holds: built aside, swapped whole, the last good kept (law 7)."""

from collections.abc import Callable
from dataclasses import dataclass

from proxy.errors import CertificateExpired, ConnectionRefusal, IdentityInvalid, NotReady
from proxy.identity.bundle import Bundles
from proxy.identity.peer import verify_path
from proxy.identity.svid import X509Svid


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Our SVID and the bundles that we trust, as one. ``generation`` counts from 1; ``loaded_at`` is wall clock."""

    svid: X509Svid
    bundles: Bundles
    generation: int
    loaded_at: float


Listener = Callable[[Identity], None]


class IdentityStore:
    """Holds the current identity and tells others of a new one."""

    __slots__ = ("_current", "_generation", "_listeners", "_preparers", "_withdrawals")

    def __init__(self) -> None:
        self._current: Identity | None = None
        self._generation = 0
        self._withdrawals: list[Callable[[], None]] = []
        self._preparers: list[Listener] = []
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

    def prepare(self, callback: Listener) -> None:
        """Have ``callback`` build aside from each identity that is about to be taken.

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
            for callback in self._withdrawals:
                callback()

    def replace(self, svid: X509Svid, bundles: Bundles, now: float) -> Identity:
        """Take a new identity, if all of it is good. Raises IdentityInvalid, and then the old one stays."""
        _check(svid, bundles, now)
        identity = Identity(svid=svid, bundles=bundles, generation=self._generation + 1, loaded_at=now)
        for prepare in self._preparers:
            prepare(identity)
        self._current, self._generation = identity, identity.generation
        for listener in self._listeners:
            listener(identity)
        return identity


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
