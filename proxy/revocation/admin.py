"""What the operator says over the admin port, and the door at which a transmitter pushes its events (RFC 8935).

``GET /revocations`` lists, ``POST /revocations`` takes one entry, ``POST /revocations/lift`` takes one away by its id.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from proxy.control.message import NO_STORE, Request, Response, problem
from proxy.errors import RevocationsInvalid
from proxy.policy.revocation_text import InvalidEntry, read_entry, write_entry
from proxy.revocation.events import SetRefused
from proxy.revocation.feed import Receiver
from proxy.revocation.ledger import ADMIN, Ledger
from proxy.tokens.encoding import read_json_object

SET_TYPE: Final = "application/secevent+jwt"


class RevocationAdmin:
    """The handlers. They are called for a request that no web page has sent."""

    def __init__(
        self,
        ledger: Ledger,
        receiver: Receiver | None,
        now: Callable[[], float],
        told: Callable[[], Mapping[str, object]],
        lift: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """Make it; ``lift`` is asked for what this port has not told of: another of the fleet may have."""
        self._lift = lift
        self._ledger = ledger
        self._receiver = receiver
        self._now = now
        self._told = told

    async def on_revocations(self, request: Request) -> Response:
        """List, or take one."""
        if request.method == "GET":
            return _json(200, {**self._told(), "revoked": list(self._listed())})
        if request.method != "POST":
            return problem(405, "only GET and POST are served here", fields=(("Allow", "GET, POST"),))
        members = _members(request)
        if isinstance(members, Response):
            return members
        try:
            entry = read_entry(members, self._now())
            if entry.expires <= self._now():
                return problem(400, "expires has passed: it would end before it begins")
            entry = self._ledger.put(ADMIN, [entry])[0]
        except InvalidEntry as error:
            return problem(400, f"the entry {error}")
        except RevocationsInvalid as error:
            return problem(503, error.detail, reason=error.reason)
        return _json(201, {"id": entry.id, **write_entry(entry), "kept": self._ledger.is_kept})

    async def on_lift(self, request: Request) -> Response:
        """Take one away again."""
        if request.method != "POST":
            return problem(405, "only POST is served here", fields=(("Allow", "POST"),))
        members = _members(request)
        if isinstance(members, Response):
            return members
        key = members.get("id")
        if set(members) != {"id"} or type(key) is not str:
            return problem(400, 'write {"id": "..."}, as GET /revocations shows it')
        try:
            if not self._ledger.drop(ADMIN, [key]) and not self._lift(key):
                return problem(404, "the admin port has told of no such entry; a file or a feed lifts its own")
        except RevocationsInvalid as error:
            return problem(503, error.detail, reason=error.reason)
        return _json(200, {"lifted": True})

    async def on_event(self, request: Request) -> Response:
        """Take a token that is pushed."""
        if self._receiver is None:
            return problem(404, "there is no revocation.feed in the configuration")
        if request.method != "POST":
            return problem(405, "only POST is served here", fields=(("Allow", "POST"),))
        if request.fields.get("content-type", "").partition(";")[0].strip().lower() != SET_TYPE:
            return _refused("invalid_request", f"the content type is not {SET_TYPE}")
        try:
            await self._receiver.receive(request.body)
        except SetRefused as refused:
            return _refused(refused.code, refused.detail)
        except RevocationsInvalid as error:
            return problem(503, error.detail, reason=error.reason)
        self._receiver.heard()
        return Response(202)

    def _listed(self) -> Iterable[dict[str, object]]:
        register = self._ledger.register
        for source in register.sources:
            for key, entry in register.entries(source).items():
                yield {"id": key, "source": source, "told": entry.told, **write_entry(entry)}


def _members(request: Request) -> dict[str, object] | Response:
    """Read the body; or say what is wrong with it."""
    if request.fields.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        return problem(415, "send application/json")
    try:
        return read_json_object(request.body)
    except ValueError:
        return problem(400, "the body is not a JSON object, or can be read in two ways")


def _refused(code: str, detail: str) -> Response:
    body = json.dumps({"err": code, "description": detail}).encode()
    return Response(400, body, "application/json", (NO_STORE, ("Content-Language", "en")))


def _json(status: int, value: Mapping[str, object]) -> Response:
    return Response(status, json.dumps(value).encode() + b"\n", "application/json", (NO_STORE,))
