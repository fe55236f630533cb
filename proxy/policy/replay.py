"""What a policy would have decided about requests and connections that an audit has recorded.

The audit holds who asked, with which token, for what; not headers, bodies, ``tctx`` and whatever else a condition may
ask for. Where a rule that speaks of a request asks for something of that kind, it is not judged, and that is told:
a verdict is never guessed. Of a tunnel that showed no token nothing is missing: no condition is asked of it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from proxy.errors import (
    AudienceBeyondGrant,
    BadHost,
    DeniedByRule,
    PeerNotAllowed,
    ProxyError,
    ScopeBeyondGrant,
    TokenMissing,
)
from proxy.identity.peer import Peer
from proxy.identity.spiffe_id import InvalidSpiffeId, SpiffeId
from proxy.policy.binding import Undecided
from proxy.policy.conditions import Condition, OfContext, OfHost, OfSubject
from proxy.policy.connect import permit_tunnel, spelled
from proxy.policy.grant import Grant, admit
from proxy.policy.modes import let_pass
from proxy.policy.rules import Policy
from proxy.policy.when import When
from proxy.tokens.claims import TxnToken
from proxy.tokens.facts import Facts

ALLOW: Final = "allow"
DENY: Final = "deny"
WOULD_REFUSE: Final = "would_refuse"

STATE: Final = frozenset({"transaction_replayed", "grant_ended"})
"""Refusals that hang on what was before, which no policy tells."""

_CONNECT: Final = b"CONNECT"

_OF_NO_TOKEN: Final = frozenset({TokenMissing.reason, DeniedByRule.reason})
"""Refusals of a tunnel without a token that are the policy's own."""

_BEFORE_ANY_RULE: Final = (AudienceBeyondGrant, ScopeBeyondGrant)

_RECORDED: Final = frozenset(
    {
        *("peer.spiffe_id", "peer.trust_domain", "peer.path", "time.now", "request.method", "request.path"),
        *("token.txn", "token.sub", "token.aud", "token.req_wl", "token.scopes", "token.actors"),
        *("token.iat", "token.exp"),
    }
)
"""What ``when`` may ask of a recorded request."""

_FAR: Final = 1e12


class NotRecorded(Exception):
    """It cannot be judged; the message says what the audit does not hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """One request or tunnel, or without a ``method`` the admission of a connection.

    ``token`` None: none was shown, which may be right for a tunnel. ``target`` of a tunnel is in the one spelling.
    ``templated``: its path is that of its route.
    """

    n: int
    peer: Peer
    now: float
    method: bytes = b""
    target: bytes = b""
    token: TxnToken | None = None
    hides_subject: bool = False
    templated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was decided, and by which rule."""

    decision: str
    reason: str = ""
    rule: str = ""


def read_record(line: Mapping[str, Any], now: float) -> Recorded | None:
    """Read a line of an audit; None where no policy has judged it. ``now``: the time of the decision.

    Raises:
        NotRecorded: it was judged, and the line does not hold what would be needed to judge it again.

    """
    kind, reason = line.get("kind"), line.get("reason", "")
    if line.get("direction") != "inbound" or kind not in {"request", "connection"} or reason in STATE:
        return None
    if kind == "connection":
        is_admission = line.get("decision") in {ALLOW, WOULD_REFUSE} or reason == PeerNotAllowed.reason
        return Recorded(n=line["n"], peer=_peer(line), now=now) if is_admission else None
    method = str(line.get("method", "")).encode("ascii", "replace")
    shows_token = "scope" in line
    if not shows_token and not (method == _CONNECT and ("route" in line or reason in _OF_NO_TOKEN)):
        return None  # refused before it was for the policy to judge
    target, templated = _target(line)
    if method == _CONNECT:
        try:
            target, templated = spelled(target), False  # the route of a tunnel is its one destination
        except BadHost:  # which no policy is asked about
            return None
    return Recorded(
        n=line["n"],
        peer=_peer(line),
        now=now,
        method=method,
        target=target,
        token=_token(line) if shows_token else None,
        hides_subject="sub" not in line,
        templated=templated,
    )


def judge(policy: Policy, recorded: Recorded) -> Verdict:
    """Return what this policy decides.

    Raises:
        NotRecorded: one of its rules asks for what the audit does not hold.

    """
    try:
        grant = admit(policy, recorded.peer, _FAR, recorded.now)
    except PeerNotAllowed as refusal:
        return Verdict(decision=DENY, reason=refusal.reason)
    if recorded.token is not None:
        return _judge_request(grant, recorded, recorded.token)
    if recorded.method == _CONNECT:
        return _judge_without_token(grant, recorded)
    return Verdict(decision=WOULD_REFUSE, reason=grant.barred) if grant.barred else Verdict(decision=ALLOW)


def _judge_without_token(grant: Grant, recorded: Recorded) -> Verdict:
    try:
        permit = permit_tunnel(grant, recorded.target, None, recorded.now)
    except ProxyError as refusal:
        return Verdict(decision=DENY, reason=refusal.reason)
    return Verdict(decision=ALLOW, rule=permit.rule)


def _judge_request(grant: Grant, recorded: Recorded, token: TxnToken) -> Verdict:
    method, target, now = recorded.method, recorded.target, recorded.now
    facts = Facts(method=method, target=target, lines=(), peer=recorded.peer.uri)
    try:
        try:
            permit = grant.permit(method, target, token, now, facts)
        except _BEFORE_ANY_RULE as refusal:
            permit = let_pass(grant, method, target, token, now, facts, refusal)
        except ProxyError as refusal:
            _check_recorded(grant, recorded)
            permit = let_pass(grant, method, target, token, now, facts, refusal)
        else:
            _check_recorded(grant, recorded)
    except Undecided:
        raise NotRecorded("the body of the request") from None
    except ProxyError as refusal:
        return Verdict(decision=DENY, reason=refusal.reason)
    if permit.audited:
        return Verdict(decision=WOULD_REFUSE, reason=permit.audited, rule=permit.rule)
    return Verdict(decision=ALLOW, rule=permit.rule)


def _check_recorded(grant: Grant, recorded: Recorded) -> None:
    """Raise NotRecorded where a rule that speaks of the request asks for what is not there."""
    for condition in _asked(grant, recorded):
        if isinstance(condition, OfContext):
            raise NotRecorded("tctx")
        if isinstance(condition, OfHost):
            raise NotRecorded("the host that was asked for")
        if isinstance(condition, OfSubject) and recorded.hides_subject:
            raise NotRecorded("the subject: audit.sub is not plain")
        if isinstance(condition, When):
            missing = sorted(name for name in condition.names if not _holds(name, recorded))
            if missing:
                raise NotRecorded(f"{missing[0]}, which when asks for")


def _asked(grant: Grant, recorded: Recorded) -> Iterator[Condition]:
    for denials in (grant.denials, grant.watched):
        if denials is not None:
            for denial in denials.of(recorded.method, recorded.target):
                yield from denial.conditions
    for alternatives in grant.routes.find(recorded.method, recorded.target):
        for route in alternatives:
            if route.demands is not None:
                yield from route.demands.conditions
                if route.demands.terms is not None:
                    raise NotRecorded("the facts of the request")


def _holds(name: str, recorded: Recorded) -> bool:
    if name == "token.sub" and recorded.hides_subject:
        return False
    if name == "request.path" and recorded.templated:
        return False
    return name in _RECORDED or name.startswith("environment.")


# ---- one line


def _peer(line: Mapping[str, Any]) -> Peer:
    try:
        spiffe_id = SpiffeId.parse(str(line.get("peer", "")))
    except InvalidSpiffeId:
        raise NotRecorded("who the peer was") from None
    return Peer(spiffe_id=spiffe_id, uri=str(spiffe_id), certificate_sha256="", serial=0, not_after=_FAR)


def _target(line: Mapping[str, Any]) -> tuple[bytes, bool]:
    """Return the path, or one that the template of its route matches; and whether it is such a one."""
    path, route = line.get("path"), line.get("route")
    if isinstance(path, str):
        return path.encode("ascii", "replace"), False
    if not isinstance(route, str):
        raise NotRecorded("the path: audit.path is not full")
    segments = ["x" if segment == "**" or segment.startswith("{") else segment for segment in route.split("/")]
    return "/".join(segments).encode("ascii", "replace"), True


def _token(line: Mapping[str, Any]) -> TxnToken:
    act = line.get("act", ())
    return TxnToken(
        txn=str(line.get("txn", "")),
        sub=str(line.get("sub", "")),
        aud=str(line.get("aud", "")),
        scopes=frozenset(str(line["scope"]).split()),
        req_wl=str(line.get("req_wl", "")),
        iat=_number(line, "iat"),
        exp=_number(line, "exp"),
        iss=None,
        tctx=None,
        rctx=None,
        digest=str(line.get("token_sha256", "")),
        actors=tuple(str(actor) for actor in act) if isinstance(act, list) else (),
    )


def _number(line: Mapping[str, Any], name: str) -> float:
    value = line.get(name)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else 0.0
