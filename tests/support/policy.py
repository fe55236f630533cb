"""Policies, peers and tokens for the tests of the policy room."""

from collections.abc import Iterable, Sequence

from proxy.identity.peer import Peer
from proxy.identity.spiffe_id import SpiffeId
from proxy.policy.compile import compile_policy
from proxy.policy.grant import Grant, admit
from proxy.policy.rules import Policy
from proxy.policy.settings import Ambiguity, PolicySettings, RouteSettings, RuleSettings
from proxy.tokens.claims import TxnToken

EDGE = "spiffe://example.org/edge"
AUDIENCE = "example.org"
UNTIL = 1000.0
NOW = 500.0


def peer(uri: str = EDGE) -> Peer:
    """Return a verified peer with this SPIFFE ID."""
    return Peer(
        spiffe_id=SpiffeId.parse(uri),
        uri=uri,
        certificate_sha256="ab" * 32,
        serial=1,
        not_after=UNTIL,
    )


def token(*scopes: str, aud: str = AUDIENCE) -> TxnToken:
    """Return a verified token with these scopes."""
    return TxnToken(
        txn="t-1",
        sub="alice",
        aud=aud,
        scopes=frozenset(scopes),
        req_wl=EDGE,
        iat=0.0,
        exp=UNTIL,
        iss=None,
        tctx=None,
        rctx=None,
        digest="0" * 64,
    )


def rule(
    name: str = "edge",
    routes: Iterable[tuple[str, Iterable[str]]] = (),
    *,
    peers: Sequence[str] = (EDGE,),
    scopes: Iterable[str] | None = None,
    audiences: Sequence[str] = (),
) -> RuleSettings:
    """Return a rule; its scopes are those that its routes need unless they are named."""
    settings = tuple(RouteSettings(match=match, scopes=tuple(needs)) for match, needs in routes)
    needed = {scope for route in settings for scope in route.scopes}
    return RuleSettings(
        name=name,
        peers=tuple(peers),
        scopes=tuple(sorted(needed) if scopes is None else scopes),
        audiences=tuple(audiences),
        routes=settings,
    )


def policy(*rules: RuleSettings, allow: Iterable[Ambiguity] = ()) -> Policy:
    """Compile these rules for our audience."""
    return compile_policy(PolicySettings(rules=rules, allow=frozenset(allow)), AUDIENCE)


def grant(*rules: RuleSettings, allow: Iterable[Ambiguity] = (), uri: str = EDGE, until: float = UNTIL) -> Grant:
    """Admit this peer under these rules."""
    return admit(policy(*rules, allow=allow), peer(uri), until)
