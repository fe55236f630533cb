"""The endpoints: ``POST /token``, ``GET /jwks``, ``GET /bundle``, all behind mTLS with an SVID of the domain."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from proxy.authority.assertion import check_assertion
from proxy.authority.form import InvalidForm, read_form
from proxy.authority.issue import REFRESH_TOKEN, UNSIGNED_JSON, Rules, answer, issue
from proxy.authority.issuers import Subjects
from proxy.authority.keys import SigningKey, jwks, sign, signer
from proxy.authority.refusal import TokenRefused
from proxy.authority.subject import Brought
from proxy.control.message import NO_STORE, Request, Response, problem
from proxy.errors import KeysUnavailable
from proxy.tokens.jwt_svid import JwtSvid

FORM = "application/x-www-form-urlencoded"

_JSON = "application/json"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """The handler of the control server. ``txn`` gives the id of a new transaction; ``svids`` reads assertions."""

    rules: Rules
    bundle: Callable[[], bytes]
    keys: Callable[[], Sequence[SigningKey]]
    now: Callable[[], float]
    txn: Callable[[], str]
    subjects: Subjects | None = None
    svids: Callable[[bytes, float], JwtSvid] | None = None

    async def __call__(self, request: Request) -> Response:
        """Answer one request."""
        match request.path, request.method:
            case "/token", "POST":
                return await self._token(request)
            case "/jwks", "GET":
                return Response(200, jwks(self.keys()), "application/jwk-set+json")
            case "/bundle", "GET":
                return Response(200, self.bundle(), _JSON)
            case "/token" | "/jwks" | "/bundle" as path, _:
                allowed = "POST" if path == "/token" else "GET, HEAD"
                return problem(405, f"this endpoint takes {allowed}", fields=(("Allow", allowed),))
            case _:
                return problem(404, "there are /token, /jwks and /bundle")

    async def _token(self, request: Request) -> Response:
        if request.peer is None:  # the server has not asked for an identity: a fault of whoever built it
            return _refused(TokenRefused("invalid_client", "a client certificate is required"), "nobody")
        try:
            now = self.now()
            form = _form(request)
            if self.svids is not None:
                form = check_assertion(form, request.peer.uri, self.svids, now)
            brought = await self._brought(form, request.peer.uri, now)
            now = self.now()  # its key may have been fetched meanwhile, and the subject token have ended
            claims = issue(form, request.peer, self.rules, now, self.txn(), brought)
        except TokenRefused as refusal:
            return _refused(refusal, request.peer.uri)
        except KeysUnavailable as missing:
            _log.warning("token not issued: client=%s (%s)", request.peer.uri, missing.detail)
            return problem(503, missing.detail, fields=(("Retry-After", "1"),))
        token = sign(signer(self.keys(), now), claims)
        _log.info("token issued: client=%s txn=%s scope=%s", request.peer.uri, claims["txn"], claims["scope"])
        body = json.dumps(answer(token, claims["exp"] - claims["iat"])).encode()
        return Response(200, body, _JSON, (NO_STORE,))

    async def _brought(self, form: Mapping[str, str], requester: str, now: float) -> Brought | None:
        """Verify the subject token of a workload that we know; ``issue`` judges the rest, and who we do not know."""
        kind, raw, client = form.get("subject_token_type"), form.get("subject_token"), self.rules.clients.get(requester)
        if self.subjects is None or client is None or raw is None or kind in {None, UNSIGNED_JSON, REFRESH_TOKEN}:
            return None
        return await self.subjects.read(str(kind), raw.encode(), client, requester, now)


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleEndpoint:
    """The handler of the bundle endpoint (specs 2.6): one document, for everybody, at every path."""

    bundle: Callable[[], bytes]

    async def __call__(self, request: Request) -> Response:
        """Answer one request."""
        if request.method != "GET":
            return problem(405, "a bundle is fetched with GET", fields=(("Allow", "GET, HEAD"),))
        return Response(200, self.bundle(), _JSON)


def _form(request: Request) -> dict[str, str]:
    if request.fields.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        raise TokenRefused("invalid_request", f"the body must be {FORM}")
    if request.query:
        raise TokenRefused("invalid_request", "parameters belong into the body, not into the URL")
    if "authorization" in request.fields:
        raise TokenRefused("invalid_request", "authenticate by the client certificate alone")
    try:
        return read_form(request.body)
    except InvalidForm as error:
        raise TokenRefused("invalid_request", str(error)) from error


def _refused(refusal: TokenRefused, client: str) -> Response:
    """Answer as RFC 6749 section 5.2 says: 400, since no client here uses the Authorization field."""
    _log.info("token refused: client=%s error=%s (%s)", client, refusal.error, refusal.description)
    body = json.dumps({"error": refusal.error, "error_description": refusal.description}).encode()
    return Response(400, body, _JSON, (NO_STORE,))
