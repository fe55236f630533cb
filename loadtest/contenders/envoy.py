"""Envoy, doing the same work: mTLS with SAN matchers, jwt_authn, RBAC on peer, route and scope, XFCC, statistics.

What costs Envoy time without being asked for by the comparison is off: request ids, access logs, hot restart, admin
tracing. One worker thread. Configuration is written as JSON, which Envoy reads as YAML.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loadtest.contenders.pair import CURVE, Contender, Duty, Pair, Site
from loadtest.material import EDGE, ORDERS, SCOPE, TRUST_DOMAIN, Credential
from loadtest.processes import Command

Json = dict[str, Any]

FILTERS = "type.googleapis.com/envoy.extensions.filters"
TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3"
JWT_FILTER = "envoy.filters.http.jwt_authn"
JWT_CACHE_SIZE = 1000
ROUTES = {"GET": ("/orders/", "/seen/", "/files/"), "POST": ("/uploads/",)}
"""What the token's scope opens, as in svidecar's policy."""


def prepare_cached(program: str, site: Site) -> Pair:
    """With the JWT cache on, as an operator who knows Envoy would have it."""
    return _prepare(program, site, jwt_cache=True)


def prepare_uncached(program: str, site: Site) -> Pair:
    """With the JWT cache off: Envoy's default."""
    return _prepare(program, site, jwt_cache=False)


def _prepare(program: str, site: Site, *, jwt_cache: bool) -> Pair:
    ports, admin = site.ports, site.ports.spare
    configs = {
        "egress": _bootstrap(admin[0], _egress_listener(site), _cluster(ports.dial, _client_tls(site))),
        "ingress": _bootstrap(admin[3], _ingress_listener(site, jwt_cache=jwt_cache), _cluster(ports.backend, None)),
    }
    texts = {side: json.dumps(config, indent=1) for side, config in configs.items()}
    commands = [_command(program, site.directory, side, text) for side, text in texts.items()]
    metrics = tuple(f"http://127.0.0.1:{port}/stats/prometheus" for port in (admin[0], admin[3]))
    return Pair(commands[0], commands[1], texts, metrics)


def _command(program: str, directory: Path, side: str, text: str) -> Command:
    path = directory / f"envoy-{side}.json"
    path.write_text(text)
    arguments = ("-c", str(path), "--concurrency", "1", "--disable-hot-restart", "--log-level", "error")
    return Command(f"envoy {side}", (program, *arguments), {})


def _bootstrap(admin_port: int, listener: Json, cluster: Json) -> Json:
    return {
        "admin": {"address": _address(admin_port)},
        "static_resources": {"listeners": [listener], "clusters": [cluster]},
    }


def _egress_listener(site: Site) -> Json:
    return _listener(site.ports.egress, _http_connection_manager("egress", [], {}), None)


def _ingress_listener(site: Site, *, jwt_cache: bool) -> Json:
    told = {
        "forward_client_cert_details": "SANITIZE_SET",
        "set_current_client_cert_details": {"uri": True},
    }
    filters = [_jwt_authn(site.material.jwks, jwt_cache=jwt_cache), _rbac()]
    return _listener(site.ports.ingress, _http_connection_manager("ingress", filters, told), _server_tls(site))


def _listener(port: int, manager: Json, tls: Json | None) -> Json:
    chain: Json = {"filters": [manager]}
    if tls is not None:
        chain["transport_socket"] = tls
    return {"address": _address(port), "tcp_backlog_size": 4096, "filter_chains": [chain]}


def _http_connection_manager(name: str, filters: list[Json], more: Mapping[str, Any]) -> Json:
    router = _typed("envoy.filters.http.router", f"{FILTERS}.http.router.v3.Router")
    route = {"match": {"prefix": "/"}, "route": {"cluster": "next", "timeout": "0s"}}
    return _typed(
        "envoy.filters.network.http_connection_manager",
        f"{FILTERS}.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix=name,
        codec_type="HTTP1",
        generate_request_id=False,
        http_filters=[*filters, router],
        route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        **more,
    )


def _jwt_authn(jwks: Path, *, jwt_cache: bool) -> Json:
    provider: Json = {
        "audiences": [TRUST_DOMAIN],
        "require_expiration": True,
        "clock_skew_seconds": 2,
        "from_headers": [{"name": "Txn-Token"}],
        "forward": True,
        "payload_in_metadata": "txn",
        "local_jwks": {"filename": str(jwks)},
    }
    if jwt_cache:
        provider["jwt_cache_config"] = {"jwt_cache_size": JWT_CACHE_SIZE}
    rule = {"match": {"prefix": "/"}, "requires": {"provider_name": "tts"}}
    name = f"{FILTERS}.http.jwt_authn.v3.JwtAuthentication"
    return _typed(JWT_FILTER, name, providers={"tts": provider}, rules=[rule])


def _rbac() -> Json:
    """The peer by its certificate, the scope by the verified claims, the routes by method and path."""
    scope = {"safe_regex": {"regex": f"(.* )?{SCOPE.replace('.', '[.]')}( .*)?"}}
    claim = {"filter": JWT_FILTER, "path": [{"key": "txn"}, {"key": "scope"}], "value": {"string_match": scope}}
    peer = {"authenticated": {"principal_name": {"exact": EDGE}}}
    policy = {
        "permissions": [{"or_rules": {"rules": [_permission(m, p) for m, p in ROUTES.items()]}}],
        "principals": [{"and_ids": {"ids": [peer, {"metadata": claim}]}}],
    }
    rules = {"action": "ALLOW", "policies": {"edge may order": policy}}
    return _typed("envoy.filters.http.rbac", f"{FILTERS}.http.rbac.v3.RBAC", rules=rules)


def _permission(method: str, prefixes: tuple[str, ...]) -> Json:
    paths = [{"url_path": {"path": {"prefix": prefix}}} for prefix in prefixes]
    is_method = {"header": {"name": ":method", "string_match": {"exact": method}}}
    return {"and_rules": {"rules": [is_method, {"or_rules": {"rules": paths}}]}}


def _cluster(port: int, tls: Json | None) -> Json:
    endpoint = {"endpoint": {"address": _address(port)}}
    cluster: Json = {
        "name": "next",
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": {"cluster_name": "next", "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
    if tls is not None:
        cluster["transport_socket"] = tls
    return cluster


def _client_tls(site: Site) -> Json:
    context = _tls_context(site, site.material.edge, {"exact": ORDERS})
    return _typed("envoy.transport_sockets.tls", f"{TLS}.UpstreamTlsContext", common_tls_context=context)


def _server_tls(site: Site) -> Json:
    context = _tls_context(site, site.material.orders, {"prefix": f"spiffe://{TRUST_DOMAIN}/"})
    return _typed(
        "envoy.transport_sockets.tls",
        f"{TLS}.DownstreamTlsContext",
        common_tls_context=context,
        require_client_certificate=True,
        disable_stateless_session_resumption=True,
        disable_stateful_session_resumption=True,
    )


def _tls_context(site: Site, own: Credential, peer: Mapping[str, str]) -> Json:
    return {
        "tls_params": {
            "tls_minimum_protocol_version": "TLSv1_3",
            "tls_maximum_protocol_version": "TLSv1_3",
            "ecdh_curves": [CURVE],
        },
        "alpn_protocols": ["http/1.1"],
        "tls_certificates": [
            {"certificate_chain": {"filename": str(own.certificate)}, "private_key": {"filename": str(own.key)}}
        ],
        "validation_context": {
            "trusted_ca": {"filename": str(site.material.bundle)},
            "match_typed_subject_alt_names": [{"san_type": "URI", "matcher": peer}],
        },
    }


def _typed(name: str, url: str, **fields: Any) -> Json:
    return {"name": name, "typed_config": {"@type": url, **fields}}


def _address(port: int) -> Json:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


DUTIES = frozenset(Duty) - {Duty.TOKEN_TYPE}
NOTES = {Duty.TOKEN_TYPE: "no: not offered by jwt_authn"}

ENVOY = Contender(name="envoy", program="envoy", duties=DUTIES, prepare=prepare_cached, notes=NOTES)
ENVOY_UNCACHED = Contender(
    name="envoy-uncached",
    program="envoy",
    duties=DUTIES - {Duty.TOKEN_CACHE},
    prepare=prepare_uncached,
    notes={**NOTES, Duty.TOKEN_CACHE: "no: its default"},
)
