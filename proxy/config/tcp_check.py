"""Raw TCP: what has to fit together, and what it would do in plain words."""

from collections.abc import Iterator

from proxy.config.address import HostPort
from proxy.config.draft import Draft
from proxy.config.tcp import TCP
from proxy.flow.settings import AppProtocol, TcpSettings
from proxy.policy.settings import Mode, RouteSettings, TokenNeed

_ENFORCED = "is of requests of HTTP; a tunnel is let in or not, so with an app of raw TCP it has to be enforce"


def speaks_tcp(draft: Draft) -> bool:
    """Whether the app behind the sidecar speaks raw TCP."""
    app = draft.get("inbound.app")
    return app is not None and app.protocol is AppProtocol.TCP


def check_tcp(draft: Draft) -> None:
    """Note in ``draft`` what does not fit: tunnels to an app of HTTP, and requests to one of raw TCP."""
    if draft.is_written("outbound") and not (draft.is_written("outbound.destinations") or draft.is_written(TCP)):
        draft.refuse(
            "outbound.destinations",
            "is missing; write destinations: [{host: ledger, address: 'ledger.default.svc:15006', spiffe_id: ...}], "
            "or tcp: [{listen: 127.0.0.1:15432, host: 'db:5432', address: ..., spiffe_id: ...}]",
            near="outbound",
        )
    if draft.get("inbound.app") is None:
        return
    if speaks_tcp(draft):
        _check_only_http(draft)
    for path, route in routes(draft):
        is_tunnel = route.match.startswith("CONNECT ")
        if is_tunnel and not speaks_tcp(draft):
            draft.refuse(f"{path}.match", "is a tunnel, and the app speaks HTTP: write inbound: {app: tcp://...}")
        if speaks_tcp(draft) and not is_tunnel:
            draft.refuse(f"{path}.match", 'is a request, and the app speaks raw TCP: write "CONNECT db:5432"')


def _check_only_http(draft: Draft) -> None:
    """What would be silently not done for a tunnel is refused: nobody shall believe that it is."""
    if draft.is_written("authoriser"):
        draft.refuse("authoriser", "is asked about requests of HTTP, and the app speaks raw TCP: leave it out")
    if draft.get("inbound.mode") is Mode.AUDIT:
        draft.refuse("inbound.mode", _ENFORCED)
    for index, rule in draft.items("policy"):
        if rule.mode is Mode.AUDIT:
            draft.refuse(f"policy[{index}].mode", _ENFORCED)


def check_service(draft: Draft, message: str) -> None:
    """Note in ``draft`` each port that asks a token service, which is not there."""
    for index, port in draft.items(TCP):
        if port.destination.token is not None:
            draft.refuse(f"{TCP}[{index}].token", message)


def routes(draft: Draft) -> Iterator[tuple[str, RouteSettings]]:
    """Give every good route with its place."""
    for index, rule in draft.items("policy"):
        for number, route in enumerate(rule.routes):
            yield f"policy[{index}].routes[{number}]", route


def needs_no_token(draft: Draft) -> bool:
    """Whether every route is one of mTLS alone."""
    found = [route for _, route in routes(draft)]
    return bool(found) and all(route.token is TokenNeed.NONE for route in found)


def described(ports: tuple[TcpSettings, ...]) -> Iterator[str]:
    """Say what each port carries, and where to."""
    for port in ports:
        yield f"outbound: {describe_port(port)}"


def describe_port(port: TcpSettings) -> str:
    """Say what one port carries, and where to."""
    to, listener = port.destination, port.listener
    token = f"with a token for {' '.join(to.token.scope)}" if to.token is not None else "without a token"
    return (
        f"carries raw TCP from {HostPort(listener.host, listener.port)} to {to.host} at {to.address} "
        f"over mTLS, if {to.spiffe_id} answers, {token}"
    )
