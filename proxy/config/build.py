"""Good values -> the frozen Settings of every room. Nothing is refused here any more."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from proxy.admin.settings import AdminSettings
from proxy.config.address import HostPort, parse_url
from proxy.config.allowed import OUTBOUND_LISTEN
from proxy.config.auditing import audit_settings
from proxy.config.authorising import authoriser_settings
from proxy.config.identity import identity_settings
from proxy.config.revocation import revocation
from proxy.config.schema import SIDECAR
from proxy.config.sections import INBOUND_LISTEN, TOKENS
from proxy.config.settings import SidecarSettings
from proxy.config.sharing import sharing_settings
from proxy.config.tuning import LIMITS, OUTBOUND_POOL, SHUTDOWN, TIMEOUTS, TLS
from proxy.config.word import App
from proxy.federation.settings import RelationSettings
from proxy.flow.settings import InboundSettings, ListenerSettings, OutboundSettings, TcpSettings, Timeouts
from proxy.http1.limits import Limits
from proxy.identity.lifetime import LifetimeSettings
from proxy.net.transport import EventLoop
from proxy.observe.settings import AccessLogSettings
from proxy.policy.settings import DestinationSettings, Mode, PolicySettings
from proxy.tls.settings import TlsSettings
from proxy.tokens.settings import TokenSettings
from proxy.upstream.settings import PoolSettings

Values = dict[str, Any]


def build(values: Values, base_dir: Path, environ: Mapping[str, str]) -> SidecarSettings:
    """All of it. ``values`` have passed the schema and the cross-checks."""
    return SidecarSettings(
        service=values["service"],
        event_loop=values.get("event_loop", EventLoop.FAST),
        identity=identity_settings(values, base_dir, environ),
        federation=_federation(values, base_dir),
        tls=TlsSettings(**TLS.gather(values.get("tls", {}), TlsSettings)),
        lifetime=LifetimeSettings(**TLS.gather(values.get("tls", {}), LifetimeSettings)),
        tokens=_tokens(values, base_dir),
        policy=policy(values),
        destinations=destinations(values),
        inbound=_inbound(values),
        outbound=_outbound(values),
        tcp=_tcp(values),
        sharing=sharing_settings(values),
        admin=_admin(values),
        access_log=_access_log(values, base_dir),
        authoriser=authoriser_settings(values.get("authoriser", {})),
        audit=audit_settings(values.get("audit", {}), base_dir),
        revocation=revocation(values, base_dir),
        **SHUTDOWN.gather(values.get("shutdown", {}), SidecarSettings),
    )


def policy(values: Values) -> PolicySettings:
    """The rules, and what they may leave ambiguous."""
    return PolicySettings(
        rules=values.get("policy", ()),
        allow=frozenset(values.get("allow_ambiguous", ())),
        environment=values.get("environment", {}),
        mode=values.get("inbound", {}).get("mode", Mode.ENFORCE),
    )


def destinations(values: Values) -> tuple[DestinationSettings, ...]:
    """Whom the app may call."""
    found: tuple[DestinationSettings, ...] = values.get("outbound", {}).get("destinations", ())
    return found


def _federation(values: Values, base_dir: Path) -> tuple[RelationSettings, ...]:
    relations: tuple[RelationSettings, ...] = values.get("identity", {}).get("federation", ())
    return tuple(
        replace(relation, bundle=base_dir / relation.bundle) if relation.bundle is not None else relation
        for relation in relations
    )


def _tokens(values: Values, base_dir: Path) -> TokenSettings:
    written = values.get("tokens", {})
    given = {"audience": values["trust_domain"], "keys": "", **TOKENS.gather(written, TokenSettings)}
    keys, service = given["keys"], given.get("service")
    if keys and "://" not in keys:
        given["keys"] = str(base_dir / keys)
    if given.get("keys_copy"):
        given["keys_copy"] = str(base_dir / given["keys_copy"])
    if keys.startswith("https://") and service and parse_url(keys).address == parse_url(service.url).address:
        # One server shows one certificate: the keys that the token service publishes are served under its own SVID.
        given.setdefault("keys_spiffe_id", service.spiffe_id)
    return TokenSettings(**given)


def _inbound(values: Values) -> InboundSettings | None:
    if "inbound" not in values:
        return None
    written = values["inbound"]
    app: App = written["app"]
    return InboundSettings(
        listener=_listener(values, written.get("listen", INBOUND_LISTEN)),
        app_host=app.host,
        app_port=app.port,
        protocol=app.protocol,
        pool=replace(PoolSettings(), **_pool(values)),
        **LIMITS.gather(values.get("limits", {}), InboundSettings),
        **TIMEOUTS.gather(values.get("timeouts", {}), InboundSettings),
    )


def _outbound(values: Values) -> OutboundSettings | None:
    if not destinations(values):
        return None
    pool = _pool(values) | {"idle_s": values.get("timeouts", {}).get("upstream_idle", OUTBOUND_POOL.idle_s)}
    listener = _listener(values, values["outbound"].get("listen", OUTBOUND_LISTEN))
    return OutboundSettings(listener=listener, pool=replace(OUTBOUND_POOL, **pool))


def _tcp(values: Values) -> tuple[TcpSettings, ...]:
    pool = replace(PoolSettings(), **_pool(values))
    return tuple(
        TcpSettings(listener=_listener(values, port.listen), destination=port.destination, pool=pool)
        for port in values.get("outbound", {}).get("tcp", ())
    )


def _listener(values: Values, listen: HostPort) -> ListenerSettings:
    limits, timeouts = values.get("limits", {}), values.get("timeouts", {})
    return ListenerSettings(
        host=listen.host,
        port=listen.port,
        limits=Limits(**LIMITS.gather(limits, Limits)),
        timeouts=Timeouts(**TIMEOUTS.gather(timeouts, Timeouts)),
        **LIMITS.gather(limits, ListenerSettings),
    )


def _pool(values: Values) -> Values:
    limits, timeouts = values.get("limits", {}), values.get("timeouts", {})
    return LIMITS.gather(limits, PoolSettings) | TIMEOUTS.gather(timeouts, PoolSettings)


def _admin(values: Values) -> AdminSettings:
    given: Values = {}
    for name in ("metrics", "health", "admin"):
        if "listen" in values.get(name, {}):
            given[f"{name}_host"], given[f"{name}_port"] = values[name]["listen"]
    return AdminSettings(**given)


def _access_log(values: Values, base_dir: Path) -> AccessLogSettings:
    given = SIDECAR.gather(values, AccessLogSettings)
    if given.get("path", "off") not in {"off", "stdout", "stderr"}:
        given["path"] = str(base_dir / given["path"])
    return AccessLogSettings(**given)
