"""What the demo tries, in order, and how each has to end. Each of these is a test as well."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from proxy.demo import mint
from proxy.demo.configuration import TRUST_DOMAIN

EDGE, ORDERS, SUPPORT, INTRUDER = (
    f"spiffe://{TRUST_DOMAIN}/{name}" for name in ("edge", "orders", "support", "intruder")
)

FOREIGN = "foreign-ca"
"""Whose SVID the driver shows when it is not one of this trust domain: a CA of its own says that it is edge."""


class Door(StrEnum):
    """Where the driver goes in."""

    APP = "the app of edge"
    OUTBOUND = "the outbound port of edge's sidecar"
    INBOUND = "the inbound port of orders' sidecar"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One request. At ``Door.INBOUND``, ``peer`` says whose SVID the driver shows; None speaks no TLS at all.

    ``times``: so many, one after the other; all of them have to end well, and the median of their times is shown.
    """

    door: Door = Door.INBOUND
    peer: str | None = "edge"
    method: str = "GET"
    target: str = "/orders/7"
    host: str = "orders"
    tokens: tuple[mint.Kind, ...] = ()
    body: bytes = b""
    times: int = 1


@dataclass(frozen=True, slots=True)
class Way:
    """One sidecar on the way of a request. ``peer``: the SPIFFE ID of who called; outbound, that of its own app."""

    sidecar: str
    direction: str
    peer: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One row. ``status`` is None where the connection ends before HTTP begins, ``reason`` where it is allowed."""

    group: str
    name: str
    attempt: Attempt
    status: int | None
    reason: str | None = None
    ways: tuple[Way, ...] = (Way("orders", "inbound", EDGE),)

    @property
    def verdict(self) -> str:
        """What has to come of it."""
        return "deny" if self.reason else "allow"


FROM_ORDERS = (Way("orders", "outbound", ORDERS), Way("ledger", "inbound", ORDERS))
FROM_EDGE = (Way("edge", "outbound", EDGE), Way("orders", "inbound", EDGE), *FROM_ORDERS)

ALLOWED = "Allowed (the first call opens the connections, and asks the token service)"
TOKEN = "Refused: the transaction token"  # noqa: S105 - a heading
POLICY = "Refused: what the token and the connection may do"
PEER = "Refused: who calls, and who is called"

READ, WRITE, CANCEL = "orders.read", "orders.write", "orders.cancel"

TIMES = 30
"""Enough for a median: by then connections are open, the token is known, and the code has run."""

_BODY = b'{"item": "book"}'

CASES: Sequence[Case] = (
    Case(
        group=ALLOWED,
        name="edge reads an order, first call",
        attempt=Attempt(door=Door.APP),
        status=200,
        ways=FROM_EDGE,
    ),
    Case(
        group=ALLOWED,
        name="edge reads it, median of 30",
        attempt=Attempt(door=Door.APP, times=TIMES),
        status=200,
        ways=FROM_EDGE,
    ),
    Case(
        group=ALLOWED,
        name="edge places an order (POST)",
        attempt=Attempt(door=Door.APP, method="POST", target="/orders", body=_BODY),
        status=201,
        ways=FROM_EDGE,
    ),
    Case(
        group=ALLOWED,
        name="support cancels it (DELETE)",
        attempt=Attempt(peer="support", method="DELETE", tokens=(mint.with_scope(CANCEL),)),
        status=200,
        ways=(Way("orders", "inbound", SUPPORT), *FROM_ORDERS),
    ),
    Case(group=TOKEN, name="no token", attempt=Attempt(), status=401, reason="token_missing"),
    Case(
        group=TOKEN,
        name="two tokens",
        attempt=Attempt(tokens=(mint.good, mint.good)),
        status=400,
        reason="token_repeated",
    ),
    Case(
        group=TOKEN, name="expired token", attempt=Attempt(tokens=(mint.expired,)), status=401, reason="token_expired"
    ),
    Case(
        group=TOKEN,
        name="token for another audience",
        attempt=Attempt(tokens=(mint.for_another_audience,)),
        status=401,
        reason="token_wrong_audience",
    ),
    Case(
        group=TOKEN,
        name="forged signature",
        attempt=Attempt(method="POST", target="/orders", tokens=(mint.forged,), body=_BODY),
        status=401,
        reason="token_bad_signature",
    ),
    Case(
        group=TOKEN,
        name="token signed with an unknown key",
        attempt=Attempt(tokens=(mint.of_an_unknown_key,)),
        status=401,
        reason="token_unknown_key",
    ),
    Case(
        group=POLICY,
        name="token lacks the route's scope",
        attempt=Attempt(method="POST", target="/orders", tokens=(mint.with_scope(READ),), body=_BODY),
        status=403,
        reason="scope_missing",
    ),
    Case(
        group=POLICY,
        name="scope beyond edge's connection",
        attempt=Attempt(method="DELETE", tokens=(mint.with_scope(CANCEL),)),
        status=403,
        reason="scope_beyond_grant",
    ),
    Case(
        group=POLICY,
        name="route that no rule has",
        attempt=Attempt(target="/orders/7/invoice", tokens=(mint.good,)),
        status=403,
        reason="route_not_allowed",
    ),
    Case(
        group=POLICY,
        name="ambiguous path",
        attempt=Attempt(target="/orders/..%2fadmin", tokens=(mint.good,)),
        status=400,
        reason="ambiguous_path",
    ),
    Case(
        group=PEER,
        name="destination that is not known",
        attempt=Attempt(door=Door.OUTBOUND, host="payroll"),
        status=403,
        reason="destination_unknown",
        ways=(Way("edge", "outbound", EDGE),),
    ),
    Case(
        group=PEER,
        name="upstream is not who it should be",
        attempt=Attempt(door=Door.OUTBOUND, host="billing"),
        status=502,
        reason="upstream_untrusted",
        ways=(Way("edge", "outbound", EDGE),),
    ),
    Case(
        group=PEER,
        name="peer that no rule names",
        attempt=Attempt(peer="intruder", tokens=(mint.good,)),
        status=None,
        reason="peer_not_allowed",
        ways=(Way("orders", "inbound", INTRUDER),),
    ),
    Case(
        group=PEER,
        name="certificate from a foreign CA",
        attempt=Attempt(peer=FOREIGN, tokens=(mint.good,)),
        status=None,
        reason="untrusted_chain",
        ways=(Way("orders", "inbound", None),),
    ),
    Case(
        group=PEER,
        name="plaintext to the mTLS port",
        attempt=Attempt(peer=None, tokens=(mint.good,)),
        status=None,
        reason="plaintext",
        ways=(Way("orders", "inbound", None),),
    ),
)
