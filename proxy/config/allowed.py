"""What is allowed: whom the app may call, and who may call the app. Nothing else is forwarded."""

from dataclasses import replace
from typing import Any

from proxy.config.address import HostPort
from proxy.config.conditions import CONDITIONS, EFFECT, MODE, TRUST_DOMAINS
from proxy.config.number import DAY, count, duration, size
from proxy.config.shape import Key, ListOf, Record, Section, TableOf
from proxy.config.tcp import TCP_PORT
from proxy.config.value import choice, flag, text
from proxy.config.word import (
    called_host,
    dial_address,
    listen_address,
    scope,
    spiffe_id,
)
from proxy.policy.compile import MAX_NAME
from proxy.policy.settings import (
    DestinationSettings,
    LimitSettings,
    Propagation,
    Protection,
    RouteSettings,
    RuleSettings,
    TokenNeed,
    TunnelEnd,
)
from proxy.tokens.settings import AskSettings, SubjectSettings

OUTBOUND_LISTEN = HostPort("127.0.0.1", 15001)
"""The port by which a mesh's operators know the way out."""


_SCOPES = ListOf(item=scope(), example="[orders.read, orders.write]")

_FACTS = TableOf(
    key=text("the name of a member", "quantity", r"[^\x00-\x1f\x7f]+", longest=64),
    item=text("the name of a fact", "body:/quantity", longest=512),
    example="{quantity: 'body:/quantity', action: method}",
)

_SUBJECT = Record(
    SubjectSettings,
    (
        Key(
            "type",
            text("a type of subject token", "access_token", longest=255),
            "access_token, id_token, jwt, jwt_svid, saml1, saml2, self_signed, unsigned_json, txn_token, or a URN.",
            into=(SubjectSettings, "type"),
        ),
        Key(
            "from",
            text("bearer, or header:NAME", "bearer", longest=255),
            "bearer (Authorization), or header:NAME. The field goes no further.",
            into=(SubjectSettings, "taken"),
        ),
        Key(
            "audience",
            text("an audience", "spiffe://example.org/tts"),
            "Whom a jwt_svid must be for: the token service's issuer identifier. It is verified by us, too.",
            into=(SubjectSettings, "audience"),
            fallback="with jwt_svid alone",
        ),
    ),
)

_ASK = (
    Key(
        "scope",
        ListOf(item=scope(), example="[ledger.write]", at_least=1, words=True),
        "The scopes to ask for; a list, or words with a space between.",
        required="scope: ledger.write",
    ),
    Key(
        "subject",
        _SUBJECT,
        "The token that the request brings, and that is traded.",
        into=(AskSettings, "subject"),
        fallback="in the name of this workload itself",
    ),
    Key("details", _FACTS, "Facts for request_details, which become tctx.", fallback="none"),
    Key("context", _FACTS, "Facts for request_context, which become rctx.", fallback="none"),
)

_TOKEN = Record(AskSettings, _ASK)

_BOUND = replace(_FACTS, example="{quantity: 'body:/quantity', stock: path:stock}")


def _traded(**values: Any) -> AskSettings:
    """At the edge there is always a token to trade."""
    return AskSettings(**{"subject": SubjectSettings(), **values})


_AT_THE_EDGE = {"subject": "{type: access_token, from: bearer}"}
_EXCHANGE = Record(_traded, tuple(replace(key, fallback=_AT_THE_EDGE.get(key.name, key.fallback)) for key in _ASK))

_DESTINATION = Record(
    DestinationSettings,
    (
        Key("host", called_host(), "What the app calls: a name, or name:port.", required="host: ledger"),
        Key("address", dial_address(), "Whom to dial, host:port.", required="address: ledger.default.svc:15006"),
        Key(
            "spiffe_id",
            spiffe_id(),
            "Who must answer there; required for mtls.",
            into=(DestinationSettings, "spiffe_id"),
        ),
        Key(
            "protection",
            choice(of=tuple(Protection)),
            "mtls: a workload of the mesh. web: https outside of it. plain: http, unprotected.",
            into=(DestinationSettings, "protection"),
        ),
        Key(
            "token",
            _TOKEN,
            "Asked of the token service when the app brought no token.",
            into=(DestinationSettings, "token"),
            fallback="never asked",
        ),
        Key(
            "propagate",
            choice(of=tuple(Propagation)),
            "How a request without a token is known to belong to one that is with the app: never, by tracestate, or "
            "by traceparent too.",
            into=(DestinationSettings, "propagate"),
        ),
        Key(
            "narrow",
            ListOf(item=scope(), example="[ledger.read]", at_least=1, words=True),
            "The most that a transaction's token may hold there; a wider one is traded for a narrower one.",
            into=(DestinationSettings, "narrow"),
            fallback="it goes as it is",
        ),
    ),
)

OUTBOUND = Section(
    (
        Key("listen", listen_address(), "Where the app reaches the mesh, plain HTTP.", fallback=str(OUTBOUND_LISTEN)),
        Key(
            "destinations",
            ListOf(
                item=_DESTINATION,
                example="- {host: ledger, address: ledger.default.svc:15006, spiffe_id: spiffe://example.org/ledger}",
                at_least=1,
                partial=True,
            ),
            "Whom the app may call; nothing else is forwarded.",
            fallback="none, which is for who has tcp alone",
        ),
        Key(
            "tcp",
            ListOf(
                item=TCP_PORT,
                example="- {listen: 127.0.0.1:15432, host: 'db:5432', address: ..., spiffe_id: spiffe://...}",
                at_least=1,
                partial=True,
            ),
            "Ports for raw TCP, each of which leads to one destination.",
            fallback="none",
        ),
    )
)

_ROUTE = Record(
    RouteSettings,
    (
        Key(
            "match",
            text("a method and a path", '"GET /orders/{id}"', longest=2048),
            "Method and path template; CONNECT host:port for a tunnel to an app of raw TCP.",
            required='match: "GET /orders/{id}"',
        ),
        Key(
            "scopes",
            _SCOPES,
            "What the token must hold, all of them.",
            into=(RouteSettings, "scopes"),
            fallback="none",
        ),
        Key(
            "exchange",
            _EXCHANGE,
            "The edge of the mesh: the request brings an access token, which is traded for a transaction token.",
            into=(RouteSettings, "exchange"),
            fallback="it brings a Txn-Token",
        ),
        Key(
            "facts",
            _BOUND,
            "Members of tctx, and the fact of the request that must equal each.",
            into=(RouteSettings, "facts"),
            fallback="none",
        ),
        Key("once", flag(), "Each transaction may use this route once.", into=(RouteSettings, "once")),
        Key(
            "propagate",
            flag(),
            "Whether destinations that propagate get the token of a request on this route.",
            into=(RouteSettings, "propagate"),
        ),
        Key(
            "token",
            choice(of=tuple(TokenNeed)),
            "Of a tunnel: none lets it open by mTLS alone.",
            into=(RouteSettings, "token"),
        ),
        Key(
            "ends",
            choice(of=tuple(TunnelEnd)),
            "What ends a tunnel: the exp of its token, or limits.time of the rule alone.",
            into=(RouteSettings, "ends"),
        ),
    ),
)

_LIMITS = Record(
    LimitSettings,
    (
        Key(
            "bytes",
            size(1, 1 << 40),
            "Of each connection, both ways together: of all its bodies, and of its tunnel; websockets are tunnels too.",
            into=(LimitSettings, "max_bytes"),
            fallback="no limit",
        ),
        Key(
            "time",
            duration(0.1, 30 * DAY),
            "Of each connection, and of each tunnel.",
            into=(LimitSettings, "max_s"),
            fallback="as long as both SVIDs",
        ),
        Key(
            "refusals",
            count(1, 1_000_000),
            "Tokens beyond what the connection may use; the last of them ends it.",
            into=(LimitSettings, "refusals"),
        ),
    ),
)

_RULE = Record(
    RuleSettings,
    (
        Key(
            "name",
            text("a name", "edge may order", longest=MAX_NAME),
            "In metrics and logs.",
            required="name: edge may order",
        ),
        EFFECT,
        MODE,
        Key(
            "peers",
            ListOf(
                item=text("a SPIFFE ID, or one that ends in /*", "spiffe://example.org/edge", longest=2050),
                example="[spiffe://example.org/edge]",
                at_least=1,
            ),
            "Who: an ID, spiffe://td/path/* for all below a path, or spiffe://td/* for a whole trust domain.",
            into=(RuleSettings, "peers"),
            fallback="trust_domains alone; deny: everybody",
        ),
        TRUST_DOMAINS,
        Key(
            "scopes",
            _SCOPES,
            "The ceiling: the most that a token on this peer's connections may hold. deny: it holds one of these.",
            into=(RuleSettings, "scopes"),
            fallback="none; deny: whatever",
        ),
        Key(
            "audiences",
            ListOf(item=text("an audience", "example.org"), example="[example.org]"),
            "Audiences that a token on this peer's connections may name. deny: it names one of these.",
            into=(RuleSettings, "audiences"),
            fallback="tokens.audience alone; deny: whatever",
        ),
        Key(
            "actors",
            ListOf(
                item=text("none, an actor, or a beginning and *", "agents/*", longest=1024),
                example="[none]",
                at_least=1,
            ),
            "Who may act for the subject: none, a name, or the beginning of names and *.",
            into=(RuleSettings, "actors"),
            fallback="whoever the token names, or nobody",
        ),
        Key(
            "routes",
            ListOf(item=_ROUTE, example='- {match: "GET /orders/{id}", scopes: [orders.read]}'),
            "What they may call; nothing else is forwarded. deny: what they may not.",
            into=(RuleSettings, "routes"),
            fallback="required; deny: everything",
        ),
        *CONDITIONS,
        Key(
            "limits",
            _LIMITS,
            "How much, and how long; of several rules for one peer, a connection has the widest of each.",
            into=(RuleSettings, "limits"),
            fallback="10 refusals",
        ),
    ),
)

POLICY = ListOf(item=_RULE, example="- {name: ..., peers: [...], scopes: [...], routes: [...]}", partial=True)
