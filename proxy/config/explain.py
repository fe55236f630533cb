"""``svidecar explain``: what a sidecar with this YAML would do with one request, which rule decides, and why.

The head is read, the claims are judged and the verdict is given by the code of the sidecar itself. What is not asked
here: the signature of a token, and whether it was revoked or its transaction used; whether the peer is who it says, and
for how long; whether the app answers.
"""

import json
from argparse import Namespace
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from proxy.config.settings import SidecarSettings
from proxy.errors import ProxyError
from proxy.http1.head import parse_request_head
from proxy.http1.limits import Limits
from proxy.identity.peer import Peer
from proxy.identity.spiffe_id import InvalidSpiffeId, SpiffeId
from proxy.policy.compile import compile_destinations, compile_policy
from proxy.policy.describe import describe_destination
from proxy.policy.explain import Case, explain
from proxy.policy.findings import Considered, Explanation, Finding
from proxy.tokens.claims import MAX_DATE
from proxy.tokens.command import moment
from proxy.tokens.encoding import read_json_object
from proxy.tokens.facts import Facts
from proxy.tokens.verify import Expect, judge_claims

ALLOWED, REFUSED = 0, 1
"""Exit codes, beside the one for usage."""

ASSUMED_LIFETIME_S = 60.0
"""Of claims that say nothing of time."""

_FAR = float(MAX_DATE)


class BadUse(ValueError):
    """The question cannot be asked so; the message says what would be right."""


def answer(settings: SidecarSettings, options: Namespace, now: float) -> tuple[Explanation, tuple[str, ...]]:
    """Return the explanation and what was assumed. Raises BadUse."""
    if options.outbound:
        return _outbound(settings, options.host), ()
    try:
        at = now if options.at is None else moment(options.at)
    except ValueError as error:
        raise BadUse(f"--at: {error}") from None
    claims, assumed = _claims(options.claims, settings, at)
    return _inbound(settings, options, claims, at), assumed


def _outbound(settings: SidecarSettings, host: str) -> Explanation:
    destinations = compile_destinations(settings.destinations, settings.identity.trust_domain)
    try:
        permit = destinations.permit(host.encode("utf-8", "surrogateescape"))
    except ProxyError as refusal:
        known = ", ".join(each.name for each in destinations.all) or "none"
        advice = (f"a destination with this host; those that there are: {known}",)
        return Explanation(allowed=False, reason=refusal.reason, detail=refusal.detail, advice=advice)
    told = describe_destination(permit.destination) if permit.destination is not None else ""
    return Explanation(allowed=True, rule=permit.rule, detail=told)


def _inbound(settings: SidecarSettings, options: Namespace, claims: Mapping[str, Any] | None, at: float) -> Explanation:
    peer = _peer(options.peer)
    policy = compile_policy(settings.policy, settings.tokens.audience)
    nothing = Facts(method=b"GET", target=b"/", lines=[])
    try:
        request = _request(settings, options, peer)
        token = None if claims is None else judge_claims(claims, "", at, Expect.of(settings.tokens))
    except ProxyError as refusal:
        connected = explain(policy, Case(peer=peer, request=nothing, token=None, now=at))
        if connected.reason == "peer_not_allowed":  # which comes before anything that it sends
            return connected
        return Explanation(allowed=False, reason=refusal.reason, detail=refusal.detail)
    return explain(policy, Case(peer=peer, request=request, token=token, now=at))


def _peer(raw: str) -> Peer:
    try:
        spiffe_id = SpiffeId.parse(raw)
    except InvalidSpiffeId as error:
        raise BadUse(f"--peer: {error}") from None
    return Peer(spiffe_id=spiffe_id, uri=raw, certificate_sha256="", serial=0, not_after=_FAR)


def _request(settings: SidecarSettings, options: Namespace, peer: Peer) -> Facts:
    """Read the request as the sidecar would. Raises BadMessage."""
    host = [f"Host: {options.host}"] if options.host is not None else []
    rows = [f"{options.method} {options.path} HTTP/1.1", *host, *options.header]
    if any("\r" in row or "\n" in row for row in rows):
        raise BadUse("a method, path, host or header is one line")
    if any(row.lower().startswith("txn-token:") for row in rows):
        raise BadUse("a token is shown by its claims alone: --claims F")
    if options.host is None and not options.path.startswith("http"):
        raise BadUse("--host is missing: HTTP/1.1 needs one")
    raw = "\r\n".join([*rows, "", ""]).encode("utf-8", "surrogateescape")
    limits = settings.inbound.listener.limits if settings.inbound is not None else Limits()
    head = parse_request_head(raw, limits)
    try:
        body = options.body.read_bytes() if options.body is not None else None
    except OSError as error:
        raise BadUse(f"--body: {options.body}: {error.strerror}") from None
    return Facts(
        method=head.method,
        target=head.target,
        lines=head.lines,
        source=options.source,
        peer=peer.uri,
        body=body,
        authority=head.authority,
    )


def _claims(
    path: Path | None, settings: SidecarSettings, at: float
) -> tuple[Mapping[str, Any] | None, tuple[str, ...]]:
    if path is None:
        return None, ()
    try:
        written = read_json_object(path.read_bytes())
    except OSError as error:
        raise BadUse(f"--claims: {path}: {error.strerror}") from None
    except ValueError as error:
        raise BadUse(f"--claims: {path}: {error}") from None
    iat = written.get("iat", at)
    usual = {
        "txn": "assumed",
        "aud": settings.tokens.audience,
        "req_wl": "assumed",
        "iat": iat,
        "exp": iat + ASSUMED_LIFETIME_S if isinstance(iat, int | float) else at + ASSUMED_LIFETIME_S,
        **({"iss": settings.tokens.issuer} if settings.tokens.issuer else {}),
    }
    assumed = {name: value for name, value in usual.items() if name not in written}
    return written | assumed, tuple(assumed)


def print_words(explanation: Explanation, assumed: tuple[str, ...], *, outbound: bool) -> Iterator[str]:
    """Yield the explanation as lines for a person."""
    if explanation.allowed:
        by = f": {explanation.detail}" if outbound else f" by the rule {explanation.rule!r}" if explanation.rule else ""
        yield f"allowed{by}" + (f", {explanation.route}" if explanation.route else "")
        if explanation.would_refuse:
            yield f"in audit mode alone: enforced, it would be refused: {explanation.would_refuse}"
    else:
        yield f"refused: {explanation.reason}: {explanation.detail}"
    if explanation.connection:
        yield "the connection"
        yield from map(_told, explanation.connection)
    for each in explanation.considered:
        yield _heading(each)
        yield from map(_told, each.findings)
    if explanation.advice:
        yield "what would have made it pass"
        yield from (f"  {line}" for line in explanation.advice)
    if assumed:
        yield f"assumed of the token, because the claims do not say it: {', '.join(assumed)}"
    if not outbound:
        yield "not asked here: the signature of the token, revocation, the peer's certificate, once"


def _heading(each: Considered) -> str:
    verdict = ("denies it" if each.effect == "deny" else "allows it") if each.decides else "does not decide"
    where = f", {each.route}" if each.route else ""
    return f"{each.place} {each.rule!r} ({each.effect}){where}: {verdict}"


def _told(finding: Finding) -> str:
    mark = {True: "yes", False: "no ", None: "?  "}[finding.holds]
    return f"  {mark} {finding.name}: {finding.asked}; found: {finding.found or 'nothing'}"


def as_json(explanation: Explanation, assumed: tuple[str, ...]) -> str:
    """The same as data."""
    return json.dumps(explanation.as_data() | {"assumed": list(assumed)}, indent=2)
