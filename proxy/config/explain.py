"""``svidecar explain``: what a sidecar with this YAML would do with one request, which rule decides, and why.

The head is read, the claims are judged and the verdict is given by the code of the sidecar itself; where the app speaks
raw TCP, of a tunnel to ``--host``. What is not asked here: the signature of a token, and whether its transaction was
used; whether the peer is who it says, and for how long; an authoriser outside; whether the app answers. What is revoked
is known as ``told_revoked`` says. All of that stands in the answer.
"""

import contextlib
import json
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from proxy.config.settings import SidecarSettings
from proxy.config.tcp_check import describe_port
from proxy.config.told_revoked import told_revoked
from proxy.errors import PeerNotAllowed, PeerRevoked, ProxyError, RevocationsInvalid, RevocationUnknown
from proxy.flow.settings import AppProtocol
from proxy.http1.connect import read_connect
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
_NOTHING = Facts(method=b"GET", target=b"/", lines=[])
_UNASKED = ("the signature of the token", "the peer's certificate")
_OF_CONNECTIONS = frozenset({PeerNotAllowed.reason, PeerRevoked.reason, RevocationUnknown.reason})


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
    trust_domain, authority = settings.identity.trust_domain, host.encode("utf-8", "surrogateescape")
    destinations = compile_destinations(settings.destinations, trust_domain)
    try:
        permit = destinations.permit(authority)
    except ProxyError as refusal:
        for port in settings.tcp:
            with contextlib.suppress(ProxyError):
                permit = compile_destinations([port.destination], trust_domain).permit(authority)
                return Explanation(allowed=True, rule=permit.rule, detail=describe_port(port))
        known = ", ".join(
            [*(each.name for each in destinations.all), *(port.destination.host for port in settings.tcp)]
        )
        advice = (f"a destination with this host; those that there are: {known or 'none'}",)
        return Explanation(allowed=False, reason=refusal.reason, detail=refusal.detail, advice=advice)
    told = describe_destination(permit.destination) if permit.destination is not None else ""
    return Explanation(allowed=True, rule=permit.rule, detail=told)


def _inbound(settings: SidecarSettings, options: Namespace, claims: Mapping[str, Any] | None, at: float) -> Explanation:
    peer = _peer(options.peer)
    policy = compile_policy(settings.policy, settings.tokens.audience)
    try:
        told = told_revoked(options.revocations, settings.revocation, at)
    except OSError as error:
        raise BadUse(f"--revocations: {options.revocations}: {error.strerror}") from None
    except RevocationsInvalid as error:
        raise BadUse(f"--revocations: {options.revocations}: {error.detail}") from None
    is_tunnel = settings.inbound is not None and settings.inbound.protocol is AppProtocol.TCP
    case = Case(peer=peer, request=_NOTHING, token=None, now=at, revoked=told.revoked)
    try:
        request = _tunnel(settings, options, peer) if is_tunnel else _request(settings, options, peer)
        token = None if claims is None else judge_claims(claims, "", at, Expect.of(settings.tokens))
    except ProxyError as refusal:
        found = explain(policy, case)
        if found.reason not in _OF_CONNECTIONS:  # which come before anything that it sends
            found = Explanation(allowed=False, reason=refusal.reason, detail=refusal.detail)
    else:
        found = explain(policy, replace(case, request=request, token=token, tunnel=is_tunnel))
    return replace(found, unknown=(*_UNASKED, *_authoriser(settings), *told.unknown, *found.unknown))


def _authoriser(settings: SidecarSettings) -> Iterator[str]:
    if settings.authoriser.opa is not None or settings.authoriser.ext_authz is not None:
        yield "the authoriser outside, which can only refuse"


def _peer(raw: str) -> Peer:
    try:
        spiffe_id = SpiffeId.parse(raw)
    except InvalidSpiffeId as error:
        raise BadUse(f"--peer: {error}") from None
    return Peer(spiffe_id=spiffe_id, uri=raw, certificate_sha256="", serial=0, not_after=_FAR)


def _tunnel(settings: SidecarSettings, options: Namespace, peer: Peer) -> Facts:
    """Read a CONNECT as the sidecar would. Raises BadMessage."""
    target = options.path or options.host
    if target is None:
        raise BadUse("--host is missing: a tunnel leads to host:port")
    rows = _rows(f"{options.method or 'CONNECT'} {target} HTTP/1.1", options.host or target, options.header)
    head = read_connect(rows, _limits(settings))
    return Facts(
        method=head.method,
        target=head.target,
        lines=head.lines,
        source=options.source,
        peer=peer.uri,
        authority=head.authority,
    )


def _rows(first: str, host: str | None, headers: Sequence[str]) -> list[bytes]:
    rows = [first, *([f"Host: {host}"] if host is not None else []), *headers]
    if any("\r" in row or "\n" in row for row in rows):
        raise BadUse("a method, path, host or header is one line")
    if any(row.lower().startswith("txn-token:") for row in rows):
        raise BadUse("a token is shown by its claims alone: --claims F")
    return [row.encode("utf-8", "surrogateescape") for row in rows]


def _limits(settings: SidecarSettings) -> Limits:
    return settings.inbound.listener.limits if settings.inbound is not None else Limits()


def _request(settings: SidecarSettings, options: Namespace, peer: Peer) -> Facts:
    """Read the request as the sidecar would. Raises BadMessage."""
    if options.path is None:
        raise BadUse("name --path too")
    rows = _rows(f"{options.method or 'GET'} {options.path} HTTP/1.1", options.host, options.header)
    if options.host is None and not options.path.startswith("http"):
        raise BadUse("--host is missing: HTTP/1.1 needs one")
    head = parse_request_head(b"\r\n".join([*rows, b"", b""]), _limits(settings))
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
        yield f"not asked here: {'; '.join(explanation.unknown)}"


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
