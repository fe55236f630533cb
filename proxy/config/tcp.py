"""Raw TCP: ports of the app's own, each of which leads to one destination."""

from dataclasses import dataclass

from proxy.config.address import HostPort
from proxy.config.shape import Key, ListOf, Record
from proxy.config.word import dial_address, listen_address, scope, spiffe_id
from proxy.policy.settings import DestinationSettings
from proxy.tokens.settings import AskSettings

TCP = "outbound.tcp"


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpPort:
    """One entry, before it has its limits and timeouts."""

    listen: HostPort
    destination: DestinationSettings


def _port(*, listen: HostPort, host: str, address: str, spiffe_id: str, token: AskSettings | None = None) -> TcpPort:
    named = DestinationSettings(host=host, address=address, spiffe_id=spiffe_id, token=token)
    return TcpPort(listen=listen, destination=named)


_TOKEN = Record(
    AskSettings,
    (
        Key(
            "scope",
            ListOf(item=scope(), example="[db.query]", at_least=1, words=True),
            "The scopes to ask for; a list, or words with a space between.",
            required="scope: db.query",
        ),
    ),
)

TCP_PORT = Record(
    _port,
    (
        Key(
            "listen",
            listen_address(),
            "Where the app finds this destination, and only this one.",
            required="listen: 127.0.0.1:15432",
        ),
        Key(
            "host",
            dial_address(),
            "What it is called over there, host:port: the authority of the rule's CONNECT.",
            required="host: db:5432",
        ),
        Key("address", dial_address(), "Whom to dial, host:port.", required="address: db.default.svc:15006"),
        Key(
            "spiffe_id",
            spiffe_id(),
            "Who must answer there.",
            required="spiffe_id: spiffe://example.org/db",
        ),
        Key(
            "token",
            _TOKEN,
            "Asked of the token service for each connection, in the name of this workload.",
            fallback="none: the rule over there must say token: none",
        ),
    ),
)
