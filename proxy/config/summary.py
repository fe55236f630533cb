"""What a sidecar with these settings would do, in plain words, for ``svidecar check``."""

from collections.abc import Iterator
from pathlib import Path

from proxy.config.address import HostPort
from proxy.config.advice import is_url
from proxy.config.auditing import describe_audit
from proxy.config.authorising import describe_authoriser
from proxy.config.number import write_duration
from proxy.config.settings import SidecarSettings
from proxy.config.tcp_check import described
from proxy.policy.compile import compile_destinations, compile_policy
from proxy.policy.describe import describe


def summarise(settings: SidecarSettings) -> list[str]:
    """A line for each thing that it would do, in the order of a request."""
    return [
        f"service {settings.service} of trust domain {settings.identity.trust_domain}",
        *_identity(settings),
        *_inbound(settings),
        *_outbound(settings),
        *_tokens(settings),
        *_allowed(settings),
        *describe_authoriser(settings.authoriser),
        *_operators(settings),
    ]


def _identity(settings: SidecarSettings) -> Iterator[str]:
    api, files = settings.identity.workload_api, settings.identity.files
    if api is not None:
        which = f"the SVID with the hint {api.hint}" if api.hint else "its first SVID"
        yield f"identity: {which} of the agent at {api.socket}, followed by its stream"
    if files is None:
        return
    yield f"identity: SVID {_file(files.svid)}, key {_file(files.key)}, bundle {_file(files.bundle)}"
    for domain, path in files.federated.items():
        yield f"  trusts {domain} by {_file(path)}"
    for relation in settings.federation:
        who = f"if {relation.spiffe_id} answers" if relation.spiffe_id else "if its certificate is one of the Web PKI"
        yield f"  trusts {relation.trust_domain} by {relation.url}, {who}"
    yield f"  looks for a rotation every {write_duration(files.poll_s)}"


def _file(path: Path) -> str:
    return f"{path} ({'there' if path.exists() else 'not there'})"


def _inbound(settings: SidecarSettings) -> Iterator[str]:
    if settings.inbound is None:
        yield "inbound: none"
        return
    listener = settings.inbound.listener
    tls = "TLS 1.3" if settings.tls.min_version == "1.3" else "TLS 1.2 or 1.3"
    app = HostPort(settings.inbound.app_host, settings.inbound.app_port)
    goes_to = f"{settings.inbound.protocol}://{app}"
    yield f"inbound: takes mTLS ({tls}) on {HostPort(listener.host, listener.port)}; what is allowed goes to {goes_to}"


def _outbound(settings: SidecarSettings) -> Iterator[str]:
    yield from described(settings.tcp)
    if settings.outbound is None:
        if not settings.tcp:
            yield "outbound: none"
        return
    listener, number = settings.outbound.listener, len(settings.destinations)
    noun = "destination" if number == 1 else "destinations"
    yield f"outbound: takes the app's HTTP on {HostPort(listener.host, listener.port)}; {number} {noun}"


def _tokens(settings: SidecarSettings) -> Iterator[str]:
    tokens = settings.tokens
    if tokens.keys:
        issuer = f" from issuer {tokens.issuer}" if tokens.issuer else ""
        yield f"tokens: for audience {tokens.audience}{issuer}, verified with the keys {_keys(settings)}"
    if tokens.service:
        yield f"token service: {tokens.service.url}, if {tokens.service.spiffe_id} answers"


def _keys(settings: SidecarSettings) -> str:
    tokens = settings.tokens
    if not is_url(tokens.keys):
        return f"in {_file(Path(tokens.keys))}"
    who = "if its certificate is one of the Web PKI" if tokens.keys.startswith("https:") else "without protection"
    if tokens.keys_spiffe_id:
        who = f"if {tokens.keys_spiffe_id} answers"
    return f"of {tokens.keys}, {who}, read again every {write_duration(tokens.refresh_s)}"


def _allowed(settings: SidecarSettings) -> Iterator[str]:
    policy = compile_policy(settings.policy, settings.tokens.audience)
    destinations = compile_destinations(settings.destinations, settings.identity.trust_domain)
    yield "allowed:"
    for line in describe(policy, destinations):
        yield f"  {line}"


def _operators(settings: SidecarSettings) -> Iterator[str]:
    admin = settings.admin
    yield f"metrics: http://{HostPort(admin.metrics_host, admin.metrics_port)}/metrics"
    yield f"health: http://{HostPort(admin.health_host, admin.health_port)}/healthz/ready and /healthz/live"
    yield f"admin: http://{HostPort(admin.admin_host, admin.admin_port)}/"
    yield f"access log: {settings.access_log.path}; event loop: {settings.event_loop}"
    yield from describe_audit(settings.audit)
    yield f"end: SIGTERM gives what is running {write_duration(settings.shutdown_grace_s)}"
