"""One bundle endpoint, asked once: who answers is proved before a byte of the answer is believed (specs 2.6)."""

import ssl
from collections.abc import Callable
from pathlib import Path

from proxy.control.fetch import ControlFetch
from proxy.errors import IdentityInvalid, NotReady, UpstreamBadResponse
from proxy.federation.document import Document, read_bootstrap, read_document
from proxy.federation.settings import Profile, RelationSettings
from proxy.identity.bundle import Bundle, Bundles
from proxy.identity.spiffe_id import SpiffeId
from proxy.identity.store import IdentityStore
from proxy.net.transport import Transports
from proxy.tls.contexts import endpoint_client_context

TIMEOUT_S = 10.0
"""For each answer: a bundle is a few kilobytes, and the one before stays in use meanwhile."""

MAX_REDIRECTS = 3
"""Followed anew each time: a redirect is never remembered (Federation 5.1.3)."""

MAX_FILE_BYTES = 1 << 20

_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Endpoint:
    """Fetches the bundle of one trust domain. ``close`` ends kept connections."""

    def __init__(
        self, settings: RelationSettings, transports: Transports, store: IdentityStore, now: Callable[[], float]
    ) -> None:
        self._settings = settings
        self._expect = SpiffeId.parse(settings.spiffe_id) if settings.spiffe_id else None
        self._trust = _EndpointTrust()
        self._own = store
        self._last: Bundle | None = None
        trust = self._trust if settings.profile is Profile.SPIFFE else None
        self._fetch = ControlFetch(transports, None, None, now, trust=trust)

    async def ask(self) -> Document:
        """Fetch what is published now.

        Raises:
            IdentityInvalid: the answer, or the file of the endpoint's bundle, cannot be used.
            UpstreamFailure, NotReady: nobody answered, or not the one who should.

        """
        if self._expect is not None:
            self._trust.take(self._known_by(self._expect))
        raw = await self._get(self._settings.url)
        try:
            return read_document(self._settings.trust_domain, raw)
        except IdentityInvalid as error:
            raise IdentityInvalid(f"what {self._settings.url} serves {error.detail}") from error

    def taken(self, bundle: Bundle) -> None:
        """Know the endpoint by this one from now on, if it serves its own domain (Federation 5.2.2)."""
        self._last = bundle

    def close(self) -> None:
        """End kept connections."""
        self._fetch.close()

    async def _get(self, url: str) -> bytes:
        for _ in range(MAX_REDIRECTS + 1):
            answer = await self._fetch("GET", url, timeout_s=TIMEOUT_S, expect=self._expect)
            if answer.status == 200:
                return answer.body
            if answer.status not in _REDIRECTS:
                raise UpstreamBadResponse(f"the bundle endpoint answered with status {answer.status}")
            url = answer.fields.get("location", "")
            if not url.startswith("https://"):
                raise UpstreamBadResponse("the bundle endpoint redirects to what is not an https URL")
        raise UpstreamBadResponse(f"the bundle endpoint redirects more than {MAX_REDIRECTS} times")

    def _known_by(self, expect: SpiffeId) -> Bundle:
        if expect.trust_domain == self._settings.trust_domain and self._last is not None:
            return self._last
        own = self._own.require()
        if expect.trust_domain == own.svid.spiffe_id.trust_domain:
            return own.bundles[expect.trust_domain]
        if self._settings.bundle is None:
            raise NotReady("there is no bundle to know the endpoint by")
        return _bootstrap(expect.trust_domain, self._settings.bundle)


class _EndpointTrust:
    """The bundle of the endpoint's own trust domain, and no SVID of ours: an endpoint must not ask for one."""

    def __init__(self) -> None:
        self._bundle: Bundle | None = None
        self._context: ssl.SSLContext | None = None

    def take(self, bundle: Bundle) -> None:
        if bundle != self._bundle:
            self._context = endpoint_client_context(bundle)
            self._bundle = bundle

    def client(self) -> ssl.SSLContext:
        if self._context is None:
            raise NotReady("there is no bundle to know the endpoint by")
        return self._context

    def bundles(self) -> Bundles:
        return {self._bundle.trust_domain: self._bundle} if self._bundle is not None else {}


def _bootstrap(trust_domain: str, path: Path) -> Bundle:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise IdentityInvalid(f"cannot read {path}, by which the bundle endpoint is known: {error.strerror}") from error
    if len(raw) > MAX_FILE_BYTES:
        raise IdentityInvalid(f"{path} is larger than {MAX_FILE_BYTES} bytes: it is not a bundle")
    try:
        return read_bootstrap(trust_domain, raw)
    except IdentityInvalid as error:
        raise IdentityInvalid(f"the bundle of {trust_domain} in {path} {error.detail}") from error
