"""Policy as it is written: strings, before ``compile`` has understood them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from proxy.tokens.settings import AskSettings

Literal = str | bool | int | float
"""A value of ``tctx`` as a rule may write it."""


class Effect(StrEnum):
    """What a rule does where it speaks of a request. Deny wins, and where no rule allows all is denied."""

    ALLOW = "allow"
    DENY = "deny"


class TokenNeed(StrEnum):
    """Whether a tunnel shows a token before its first byte."""

    REQUIRED = "required"
    NONE = "none"  # mTLS alone: only where the operator says so by name


class TunnelEnd(StrEnum):
    """What ends a tunnel that was opened with a token, besides the SVIDs and the limits of its rule."""

    TOKEN = "token"  # noqa: S105 - its exp
    LIMIT = "limit"  # the rule's time alone: the token only opened it


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSettings:
    """``limits`` of a rule; None: no limit. Bytes count both ways together: of all bodies of a connection, of a tunnel.

    ``max_s``: of a connection, and of each tunnel. ``refusals``: tokens beyond the Grant; the last ends the connection.
    """

    max_bytes: int | None = None
    max_s: float | None = None
    refusals: int = 10  # a few are a token that was mixed up; more are somebody who tries what passes


class Mode(StrEnum):
    """What becomes of a refusal by the policy: it holds, or it is only told (``policy/modes.py``)."""

    ENFORCE = "enforce"
    AUDIT = "audit"


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteSettings:
    """One ``{match: "GET /orders/{id}", scopes: [...]}``, or ``{match: "CONNECT db:5432"}``, a tunnel.

    ``exchange``: the edge of the mesh; the token that the request brings is traded for a transaction token.
    ``facts``: by members of ``tctx``, the names of the facts that have to equal them. ``once``: each transaction is
    taken once. ``propagate``: whether destinations that ask for it get its token. ``token``, ``ends``: of tunnels.
    """

    match: str
    scopes: tuple[str, ...] = ()
    exchange: AskSettings | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    once: bool = False
    propagate: bool = True
    token: TokenNeed = TokenNeed.REQUIRED
    ends: TunnelEnd = TunnelEnd.TOKEN


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSettings:
    """One rule: these peers may hold tokens of at most these scopes, and use these routes; or may not.

    ``peers``: ``spiffe://td/path`` exactly, ``spiffe://td/path/*`` everything below that path, ``spiffe://td/*``
    every workload of the trust domain, which ``trust_domains`` say too. ``audiences`` empty means: the audience of
    ``tokens:`` alone. ``actors``: who may act for the subject of a token (see ``policy/actors.py``); empty means:
    whoever the token names, or nobody. The conditions behind them are ``policy/conditions.py``.

    With ``Effect.DENY`` scopes and audiences are conditions too (``policy/denials.py``), and what is left out is
    anything: peers, routes, all.
    """

    name: str
    peers: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    audiences: tuple[str, ...] = ()
    routes: tuple[RouteSettings, ...] = ()
    actors: tuple[str, ...] = ()
    effect: Effect = Effect.ALLOW
    trust_domains: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    tctx: Mapping[str, Literal | tuple[Literal, ...]] = field(default_factory=dict)
    max_token_age_s: float | None = None
    when: str = ""
    limits: LimitSettings = field(default_factory=LimitSettings)
    mode: Mode = Mode.ENFORCE


class Ambiguity(StrEnum):
    """The ways in which a path can be read twice; each is refused unless it is allowed by this name.

    An allowed one passes only if rules permit every reading of the path: ``path`` says which they are.
    """

    EMPTY_SEGMENT = "empty_segment"  # //
    DOT_SEGMENT = "dot_segment"  # /./ and /../, also as %2e
    ENCODED_SLASH = "encoded_slash"  # %2f
    BACKSLASH = "backslash"  # \ and %5c
    SEMICOLON = "semicolon"  # ; and %3b
    ENCODED_NUL = "encoded_nul"  # %00
    ENCODED_UNRESERVED = "encoded_unreserved"  # %61 for a: two spellings of one path
    DOUBLE_ENCODING = "double_encoding"  # %252f: %2f for a second decoder
    BAD_ENCODING = "bad_encoding"  # % without two hexadecimal digits


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySettings:
    """All rules of the inbound listener, and their ``mode``; ``environment``: what ``when`` may ask of where we are."""

    rules: tuple[RuleSettings, ...]
    allow: frozenset[Ambiguity] = frozenset()
    environment: Mapping[str, str] = field(default_factory=dict)
    mode: Mode = Mode.ENFORCE


class Protection(StrEnum):
    """How a destination is reached."""

    MTLS = "mtls"  # a workload, known by its SPIFFE ID
    WEB = "web"  # https outside the mesh, known by its host name and the system's certificate store
    PLAIN = "plain"  # http, unprotected; only where the operator says so by name


class Propagation(StrEnum):
    """How a request of the app that has no token is known to belong to a transaction (``tokens/passage.py``)."""

    NEVER = "never"
    TRACESTATE = "tracestate"  # by our mark alone
    TRACEPARENT = "traceparent"  # by our mark, or where it did not come by the trace id


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationSettings:
    """One entry of ``outbound.destinations``.

    ``host`` is what the app calls: a name, or ``name:port`` (without a port, any port). ``address`` is
    ``host:port`` to dial. A destination in our own trust domain gets the transaction's token; any other never does.
    ``token``: what to ask the token service for when the app brought no token; None means never ask. ``narrow``: the
    most that a token of a transaction may hold there; None means that it goes as it is.
    """

    host: str
    address: str
    protection: Protection = Protection.MTLS
    spiffe_id: str | None = None
    token: AskSettings | None = None
    propagate: Propagation = Propagation.NEVER
    narrow: tuple[str, ...] | None = None
