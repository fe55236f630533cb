"""Warnings: what is allowed, and still likely to surprise. None of them keeps a sidecar from starting."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

from proxy.config.address import is_loopback, parse_url
from proxy.config.auditing import advise_audit
from proxy.config.authorising import advise_authoriser
from proxy.config.settings import SidecarSettings
from proxy.errors import IdentityInvalid, KeysInvalid, KeysUnavailable
from proxy.flow.settings import InboundSettings, ListenerSettings, OutboundSettings, TcpSettings
from proxy.identity.sources.file_set import read_set
from proxy.policy.compile import compile_policy
from proxy.policy.conflicts import conflicts
from proxy.policy.settings import Mode, PolicySettings
from proxy.tokens.keys import KeySet
from proxy.tokens.source import FileSource
from proxy.workload_api.endpoint import parse_endpoint

Advice = tuple[str, str]
"""Path in the YAML, and what is to be said about it."""


def advise(settings: SidecarSettings, now: float) -> list[Advice]:
    """All warnings. It reads the files that are named, and opens no connection."""
    return [
        *_identity(settings, now),
        *_keys(settings),
        *_exposure(settings),
        *_unused(settings),
        *_policy(settings),
        *_proportions(settings),
        *_access_log(settings),
        *advise_audit(settings.audit),
        *_modes(settings.policy),
        *advise_authoriser(settings.authoriser),
    ]


def is_url(keys: str) -> bool:
    """Whether ``tokens.keys`` names a URL rather than a file."""
    return "://" in keys


def _identity(settings: SidecarSettings, now: float) -> Iterator[Advice]:
    if settings.identity.workload_api is not None:
        path = parse_endpoint(settings.identity.workload_api.socket).path
        if path and not Path(path).is_socket():
            yield "identity", f"there is no socket at {path} now: until there is one, the sidecar waits for its agent"
        return
    try:
        _, bundles = read_set(settings.identity, now)
    except IdentityInvalid as error:
        yield "identity.files", f"the identity would not load now: {error.detail}"
        return
    for name, bundle in bundles.items():
        if bundle.revocations.waiting and bundle.authorities:
            own = name == settings.identity.trust_domain
            path = "identity.files.crl" if own else f"identity.files.federated_crls.{name}"
            yield path, "holds a CRL of nobody in the bundle: it counts for peers that show its signer in their chain"


def _keys(settings: SidecarSettings) -> Iterator[Advice]:
    keys = settings.tokens.keys
    if not keys or is_url(keys):
        return
    try:
        raw = asyncio.run(FileSource(Path(keys)).read())
        for reason in KeySet.parse(raw or b"").refused:
            yield "tokens.keys", f"a key would not be used: {reason}"
    except (KeysUnavailable, KeysInvalid) as error:
        yield "tokens.keys", f"the keys in {keys} would not load now: {error.detail}"


def _exposure(settings: SidecarSettings) -> Iterator[Advice]:
    inbound, outbound, keys = settings.inbound, settings.outbound, settings.tokens.keys
    if inbound and not is_loopback(inbound.app_host):
        yield "inbound.app", "is not on loopback: what comes in over mTLS goes on over the network in plain text"
    if outbound and not is_loopback(outbound.listener.host):
        yield "outbound.listen", "is not on loopback: whoever reaches it speaks with the identity of this workload"
    for index, port in enumerate(settings.tcp):
        if not is_loopback(port.listener.host):
            path = f"outbound.tcp[{index}].listen"
            yield path, "is not on loopback: whoever reaches it speaks with the identity of this workload"
    if keys.startswith("http://") and not is_loopback(parse_url(keys).address.host):
        yield "tokens.keys", "is plain http: whoever can change the answer on its way can sign tokens; use https"


def _unused(settings: SidecarSettings) -> Iterator[Advice]:
    if settings.inbound is None and settings.policy.rules:
        yield "policy", "applies to what comes in, and there is no inbound:"
    verifies = settings.tokens.service is not None or settings.sharing is not None
    if settings.inbound is None and settings.tokens.keys and not verifies:
        yield "tokens", "verifies what comes in, and there is no inbound:"
    asked = any(one.token is not None or one.narrow is not None for one in settings.destinations) or any(
        route.exchange is not None for rule in settings.policy.rules for route in rule.routes
    )
    asked = asked or any(port.destination.token is not None for port in settings.tcp)
    if settings.tokens.service is not None and not asked:
        yield "tokens.service", "is never asked: no destination has token or narrow, and no route exchange"


def _policy(settings: SidecarSettings) -> Iterator[Advice]:
    yield from conflicts(compile_policy(settings.policy, settings.tokens.audience), settings.tokens.audience)
    for number, rule in enumerate(settings.policy.rules):
        if rule.max_token_age_s is not None and rule.max_token_age_s >= settings.tokens.max_lifetime_s:
            yield f"policy[{number}].max_token_age", "is not below tokens.max_lifetime: no token ever lives longer"


def _modes(policy: PolicySettings) -> Iterator[Advice]:
    if policy.mode is Mode.AUDIT:
        yield "inbound.mode", "is audit: nothing that the policy refuses is kept out, only told"
    for number, rule in enumerate(policy.rules):
        if rule.mode is Mode.AUDIT:
            yield f"policy[{number}].mode", f"is audit: what the rule {rule.name!r} refuses is not kept out, only told"


def _proportions(settings: SidecarSettings) -> Iterator[Advice]:
    sides: list[InboundSettings | OutboundSettings | TcpSettings]
    sides = [side for side in (settings.inbound, settings.outbound) if side is not None]
    sides = sides or list(settings.tcp)
    listener: ListenerSettings = sides[0].listener  # all have the same limits and timeouts
    pool, limits = sides[0].pool, listener.limits
    if limits.target_bytes > limits.head_bytes:
        yield "limits.target", "is larger than limits.head, of which it is a part"
    if settings.tokens.max_bytes > limits.head_bytes:
        yield "tokens.max_size", "is larger than limits.head, of which the token is a part"
    if pool.max_idle > pool.max_connections:
        yield "limits.upstream_idle_connections", "is more than limits.upstream_connections"
    if settings.outbound and settings.outbound.pool.idle_s >= listener.timeouts.idle_s:
        yield (
            "timeouts.upstream_idle",
            "is not below timeouts.idle: where the sidecar over there has the same timeouts, each close is a race",
        )


def _access_log(settings: SidecarSettings) -> Iterator[Advice]:
    path = settings.access_log.path
    if path not in {"off", "stdout", "stderr"} and not Path(path).parent.is_dir():
        yield "access_log", f"there is no folder {Path(path).parent} for the log"
