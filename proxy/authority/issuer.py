"""What the authority makes: its root, the keys that sign, the SVIDs of its workloads, its bundle; when each is due."""

from proxy.authority.bundle import Published, publish
from proxy.authority.ca import IssuedSvid, Root, make_root
from proxy.authority.keys import SigningKey, jwks, tended
from proxy.authority.settings import RESERVED, AuthoritySettings
from proxy.authority.state import JWT_SVID_KEYS, TOKEN_KEYS, State, StateUnusable
from proxy.identity.bundle import Bundle
from proxy.identity.spiffe_id import SpiffeId
from proxy.identity.store import IdentityStore
from proxy.identity.svid import X509Svid


class Issuer:
    """Holds the newest of all. The SVID of the authority itself goes to ``store``."""

    def __init__(self, settings: AuthoritySettings, state: State, store: IdentityStore, now: float) -> None:
        self._settings = settings
        self._state = state
        self._store = store
        self.root = self._take_root(now)
        self.bundle = Bundle.from_pem(settings.trust_domain, self.root.bundle_pem)
        self.keys: tuple[SigningKey, ...] = state.signing_keys()
        self.jwt_keys: tuple[SigningKey, ...] = state.signing_keys(JWT_SVID_KEYS)
        self.changes = 0
        self.issued: dict[str, IssuedSvid] = {}
        self._published: Published | None = state.published()
        self._named = {workload.name: workload.selectors is None for workload in settings.workloads}

    def document(self) -> bytes:
        """Give the SPIFFE bundle as it is published now."""
        return self._published.document(self._settings.refresh_hint_s) if self._published is not None else b""

    def publish(self) -> None:
        """Write what verifiers read. Raises StateUnusable."""
        self._state.publish(jwks(self.keys), self.root.bundle_pem)

    def tend(self, now: float) -> None:
        """Renew what is due: keys by age, SVIDs by half of their life; ``changes`` counts what workloads may have.

        Raises:
            StateUnusable, IdentityInvalid: not all is renewed; what was handed out before stays.

        """
        self._tend_keys(now)
        for name in (RESERVED, *self._named):
            issued = self.issued.get(name)
            if issued is None or not issued.not_before <= now < issued.renew_at:
                self._renew(name, now)
                self.changes += 1

    def _tend_keys(self, now: float) -> None:
        keys = tended(self.keys, now)
        if keys != self.keys:
            self._state.keep_signing_keys(keys, TOKEN_KEYS)
            self.keys = keys
            self.publish()
        jwt_keys = tended(self.jwt_keys, now)
        if jwt_keys != self.jwt_keys:
            self._state.keep_signing_keys(jwt_keys, JWT_SVID_KEYS)
            self.jwt_keys = jwt_keys
            self.changes += 1
        published = publish(self.root, self.jwt_keys, self._published, now)
        if published is not self._published:
            self._state.keep_published(published.document(self._settings.refresh_hint_s))
            self._published = published

    def _renew(self, name: str, now: float) -> None:
        spiffe_id = SpiffeId(trust_domain=self._settings.trust_domain, path=f"/{name}")
        issued = self.root.issue(spiffe_id, now, self._settings.svid_lifetime_s)
        if self._named.get(name, True):  # who is attested has no file with his key
            self._state.hand_out(name, issued, self.root.bundle_pem)
        if name == RESERVED:
            own = X509Svid.from_pem(issued.chain_pem, issued.key_pem)
            self._store.replace(own, {self._settings.trust_domain: self.bundle}, now)
        self.issued[name] = issued

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
