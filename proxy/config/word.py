"""Kinds of the mesh's own words: addresses by what they are for, SPIFFE IDs, scopes, paths."""

from typing import NamedTuple

from proxy.config.address import HostPort, is_ip, is_loopback, parse_host, parse_host_port, parse_url
from proxy.config.value import Unfit, Value, text
from proxy.flow.settings import AppProtocol
from proxy.identity.spiffe_id import InvalidSpiffeId, SpiffeId, parse_trust_domain
from proxy.policy.authority import InvalidAuthority, parse_authority
from proxy.workload_api.endpoint import InvalidEndpoint, parse_endpoint


def listen_address() -> Value[HostPort]:
    """An IP address of this machine and a port; port 0 is a free one."""
    return Value(expected="an address to listen on", example="0.0.0.0:15006", parse=_parse_listen)


def loopback_address() -> Value[HostPort]:
    """The same, of the loopback interface alone."""
    return Value(expected="a loopback address and a port", example="127.0.0.1:15000", parse=_parse_loopback)


def dial_address() -> Value[str]:
    """A host and a port to connect to."""
    return Value(expected="host:port", example="ledger.default.svc:15006", parse=_parse_dial)


def called_host() -> Value[str]:
    """What the app calls: a name, or a name and a port."""
    return Value(expected="a host, with a port or without", example="ledger", parse=_parse_called)


class App(NamedTuple):
    """Where the app is, and what it speaks."""

    host: str
    port: int
    protocol: AppProtocol


def app_url() -> Value[App]:
    """``http://host:port`` of the app, or ``tcp://host:port``."""
    return Value(expected="the URL of the app", example="http://127.0.0.1:8080", parse=_parse_app)


def https_url() -> Value[str]:
    """An https URL."""
    return Value(expected="an https URL", example="https://tts.default.svc/token", parse=_parse_https)


def keys_location() -> Value[str]:
    """The path of a JWK Set, or its http or https URL."""
    return Value(expected="the path or URL of a JWK Set", example="https://tts.default.svc/jwks", parse=_parse_keys)


def spiffe_id() -> Value[str]:
    """The SPIFFE ID of a workload."""
    return Value(expected="a SPIFFE ID", example="spiffe://example.org/ledger", parse=_parse_spiffe_id)


def trust_domain() -> Value[str]:
    """The name of a trust domain."""
    return Value(expected="a trust domain", example="example.org", parse=_parse_trust_domain)


def endpoint() -> Value[str]:
    """The address of a Workload API."""
    return Value(
        expected="the address of a Workload API",
        example="unix:///run/spire/agent/public/api.sock",
        parse=_parse_endpoint,
    )


def redis_address() -> Value[str]:
    """Where a Redis is: a host and a port, or the absolute path of its Unix socket."""
    return Value(expected="host:port, or the path of a socket", example="127.0.0.1:6379", parse=_parse_redis)


def scope() -> Value[str]:
    """One scope-token (RFC 6749 section 3.3)."""
    return text("one scope, without spaces", "orders.read", r"[\x21\x23-\x5B\x5D-\x7E]+", longest=256)


def file_path() -> Value[str]:
    """A path; a relative one begins at the folder of the YAML file."""
    return text("a path", "/run/svidecar/svid.pem", longest=4096)


def _parse_listen(raw: str) -> HostPort:
    address = parse_host_port(raw)
    if address.host == "localhost":
        return HostPort("127.0.0.1", address.port)  # sockets are bound to addresses, not to names
    if not is_ip(address.host):
        raise Unfit("names a host: listen on an IP address of this machine (0.0.0.0 for every interface)")
    return address


def _parse_loopback(raw: str) -> HostPort:
    address = _parse_listen(raw)
    if not is_loopback(address.host):
        raise Unfit(
            "is not a loopback address: whoever reaches the admin port can end this sidecar and see whom it talks to, "
            "and nothing there asks who is calling; write 127.0.0.1:15000"
        )
    return address


def _parse_dial(raw: str) -> str:
    if parse_host_port(raw).port == 0:
        raise Unfit("has port 0, to which nothing can connect")
    return _spelled_once(raw)


def _parse_redis(raw: str) -> str:
    if "://" in raw:
        raise Unfit("is a URL: write host:port, or the path of a socket; tls and the password have keys of their own")
    if raw.startswith("/"):
        return file_path().parse(raw)
    return _parse_dial(raw)


def _parse_called(raw: str) -> str:
    if "://" in raw:
        raise Unfit("is a URL: write the host alone, as the app names it in http://host/")
    if ":" in raw and not raw.endswith("]"):
        return _parse_dial(raw)
    parse_host(raw)
    return _spelled_once(raw)


def _spelled_once(raw: str) -> str:
    """As the policy room reads it, which compares names."""
    try:
        parse_authority(raw)
    except InvalidAuthority as why:
        raise Unfit(f"is refused: {why}") from None
    return raw


def _parse_app(raw: str) -> App:
    if raw.startswith("tcp://"):
        address = parse_host_port(raw.removeprefix("tcp://"))
        if address.port == 0:
            raise Unfit("has port 0, to which nothing can connect")
        return App(*address, AppProtocol.TCP)
    if "://" not in raw:
        raise Unfit("has no scheme: write http://127.0.0.1:8080, or tcp://127.0.0.1:5432 for what is not HTTP")
    if raw.startswith("https://"):
        raise Unfit("is https: the sidecar ends TLS and speaks plain HTTP to the app, http://127.0.0.1:8080")
    url = parse_url(raw)
    if url.path not in {"", "/"}:
        raise Unfit("has a path: requests keep their own, so write http://host:port alone")
    if url.address.port == 0:
        raise Unfit("has port 0, to which nothing can connect")
    return App(*url.address, AppProtocol.HTTP)


def _parse_https(raw: str) -> str:
    if raw.startswith("http://"):
        raise Unfit("is plain http: tokens travel over TLS alone, write https://")
    return parse_url(raw).raw


def _parse_keys(raw: str) -> str:
    if "://" in raw:
        return parse_url(raw).raw
    return file_path().parse(raw)


def _parse_spiffe_id(raw: str) -> str:
    try:
        parsed = SpiffeId.parse(raw)
    except InvalidSpiffeId as why:
        raise Unfit(f"is refused: {why}") from None
    if not parsed.path:
        raise Unfit("names a trust domain; a workload has a path too, such as spiffe://example.org/ledger")
    return raw


def _parse_endpoint(raw: str) -> str:
    try:
        return str(parse_endpoint(raw))
    except InvalidEndpoint as why:
        raise Unfit(f"is refused: it {why}") from None


def _parse_trust_domain(raw: str) -> str:
    if raw.startswith("spiffe://"):
        raise Unfit("is an ID: a trust domain is the name alone, such as example.org")
    try:
        return parse_trust_domain(raw)
    except InvalidSpiffeId as why:
        raise Unfit(f"is refused: {why}") from None
