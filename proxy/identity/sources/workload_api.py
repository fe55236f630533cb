"""The identity that an agent gives by the Workload API: followed for ever, taken whole, the last good kept.

What the standard says of each failure (Workload Endpoint, appendix A) and what we make of it:

- Nobody listens, the connection was lost, Unavailable: the SVID that we hold is used until it ends, and we come back.
- PermissionDenied: there is no identity for us (yet), so we come back. After a stream that worked it means that our
  identity was taken away: we cease to use it at once (Workload API 5.2.1).
- InvalidArgument, Unimplemented: it is a mistake of ours or of the configuration; the standard forbids to try again. So
  that agent is not asked again, unless an operator says so (SIGHUP); one that is started in its place is.
- A message that breaks a rule is told and discarded; the last good one serves on.

A stream can hang without a word. So when less is left of our SVID than an agent lets come, we ask anew.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from proxy.errors import IdentityInvalid
from proxy.identity.settings import IdentitySettings, WorkloadApiSettings
from proxy.identity.sources.source import Told
from proxy.identity.sources.x509_response import SvidTakenBack, read_response
from proxy.identity.store import IdentityStore
from proxy.workload_api.endpoint import parse_endpoint
from proxy.workload_api.failure import CallFailed, Failure
from proxy.workload_api.follow import Follower
from proxy.workload_api.messages import JWTBundlesResponse, JWTSVIDResponse, X509SVIDResponse

if TYPE_CHECKING:
    from proxy.workload_api.client import WorkloadApiClient

_log = logging.getLogger(__name__)

OVERDUE: Final = 0.3
"""The part of the SVID's life that is left when we ask anew. SPIRE renews when half is left, give or take 10 %."""

ANOTHER_S: Final = 1.0
"""How often it is looked whether an agent that is not to be asked again is still the one that we are connected with."""

MIN_PATIENCE_S: Final = 5.0
"""An agent that gives the same old SVID again is asked no more often than this."""


_GIVEN_UP: Final = "it is not asked again: mend it and start it anew, or send SIGHUP to svidecar"


class WorkloadApiSource:
    """Fills the store from the agent's stream. ``jitter`` gives 0 to 1, ``now`` is Unix time."""

    def __init__(
        self,
        settings: IdentitySettings,
        store: IdentityStore,
        now: Callable[[], float],
        jitter: Callable[[], float],
        told: Told,
    ) -> None:
        if settings.workload_api is None:
            raise IdentityInvalid("identity.workload_api is not configured")
        self._settings: WorkloadApiSettings = settings.workload_api
        self._trust_domain = settings.trust_domain
        self._endpoint = parse_endpoint(self._settings.socket)
        self._store = store
        self._now = now
        self._jitter = jitter
        self._told = told
        self._client: WorkloadApiClient | None = None
        self._said = ""
        self._asked_anew = asyncio.Event()
        self._remarked: tuple[str, ...] = ()

    def begin(self) -> None:
        """Nothing comes without waiting."""
        self._told.stream("x509", False)

    @property
    def trouble(self) -> str:
        """Why the stream of our X509-SVIDs does not work, or what of its last message could not be used."""
        return self._said

    def ask_anew(self) -> None:
        """Ask an agent that was given up."""
        self._asked_anew.set()

    def close(self) -> None:
        """End the connection."""
        if self._client is not None:
            self._client.close()
            self._client = None

    async def watch(self) -> None:
        """Follow our X509-SVIDs."""
        client = self._connected()
        follower = self._follower("x509", self._ended)
        await follower.keep(lambda take: client.x509_svids(take, self._patience_s), self._take)

    async def watch_jwt_bundles(self, on_bundles: Callable[[JWTBundlesResponse], None]) -> None:
        """Follow the keys of JWT-SVIDs."""
        client = self._connected()
        await self._follower("jwt_bundles", lambda _failure: None).keep(client.jwt_bundles, on_bundles)

    async def jwt_svids(self, audience: str) -> JWTSVIDResponse:
        """Ask for a JWT-SVID of the identity that we use, or of all while there is none. Raises CallFailed."""
        identity = self._store.current
        try:
            return await self._connected().jwt_svids(audience, str(identity.svid.spiffe_id) if identity else "")
        except CallFailed as failure:
            self._told.failed("jwt_svid", failure.kind)
            raise

    def _connected(self) -> "WorkloadApiClient":
        if self._client is None:
            # Imported where it is used: who takes an identity from files does not pay for gRPC.
            from proxy.workload_api.client import WorkloadApiClient  # noqa: PLC0415

            self._client = WorkloadApiClient(self._endpoint)
        return self._client

    def _follower(self, stream: str, ended: Callable[[CallFailed], None]) -> Follower:
        def failed(failure: CallFailed) -> None:
            self._told.failed(stream, failure.kind)
            ended(failure)

        return Follower(
            state=lambda is_up: self._told.stream(stream, is_up),
            failed=failed,
            jitter=self._jitter,
            another=self._another,
        )

    async def _another(self) -> None:
        """Wait until the agent is another one, or an operator wants it asked again."""
        self._asked_anew.clear()
        while self._connected().is_connected:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._asked_anew.wait(), ANOTHER_S)
                return

    # ---- what the stream brings

    async def _take(self, response: X509SVIDResponse) -> None:
        try:
            await self._take_checked(response)
        except SvidTakenBack as error:
            self._told.failed("x509", Failure.BAD_ANSWER)
            self._cease(str(error))
        except IdentityInvalid as error:
            self._told.failed("x509", Failure.BAD_ANSWER)
            self._say(error.detail)
        except Exception:  # noqa: BLE001 - a fault of ours must not end the stream: the next message may be good
            _log.exception("identity_load_failed")
            self._say("a fault of ours while the agent's message was read; the log has it")

    async def _take_checked(self, response: X509SVIDResponse) -> None:
        settings, known = self._settings, self._store.trusted
        given = read_response(response, self._trust_domain, settings.hint, self._now(), known)
        if given.remarks != self._remarked:
            self._remarked = given.remarks
            for remark in given.remarks:
                _log.warning("identity: %s", remark)
        if not self._store.holds(given.svid, given.bundles):
            identity = await self._store.renew(given.svid, given.bundles, self._now())
            self._told.loaded(True, f"took the SVID of {given.svid.spiffe_id} as generation {identity.generation}")
        self._said = ""

    def _ended(self, failure: CallFailed) -> None:
        detail = f"{failure.detail}; {_GIVEN_UP}" if failure.kind.is_final else failure.detail
        if failure.kind is Failure.PERMISSION_DENIED:
            self._cease(detail)
        else:
            self._say(detail)

    def _cease(self, detail: str) -> None:
        if self._store.current is not None:
            self._store.withdraw()
            self._told.taken_back(detail)
        self._say(detail)

    def _say(self, detail: str) -> None:
        """Tell a failure once, not at each of its returns."""
        if detail != self._said:
            self._said = detail
            self._told.loaded(False, detail)

    def _patience_s(self) -> float:
        identity = self._store.current
        if identity is None:
            return float("inf")
        life = identity.svid.not_after - identity.svid.not_before
        return max(identity.svid.not_after - OVERDUE * life - self._now(), MIN_PATIENCE_S)
