"""Why something was refused: one class per reason.

``TokenExpired`` is ``token_expired`` as metric label, audit word, and ``reason`` of the answer (``flow/rescue.py``).
Names are stable: dashboards hold them. A detail is for people: it names rule and limit, never a value from outside.
"""

from proxy.connection_refusals import (
    CertificateExpired,
    CertificateMissing,
    CertificateRevoked,
    ConnectionRefusal,
    GrantEnded,
    HandshakeFailed,
    HandshakeTimeout,
    NotAnSvid,
    PeerNotAllowed,
    PeerRevoked,
    Plaintext,
    RevocationUnknown,
    UnknownTrustDomain,
    UntrustedChain,
)
from proxy.reason import REASONS, ProxyError, Side

__all__ = [
    "REASONS",
    "CertificateExpired",
    "CertificateMissing",
    "CertificateRevoked",
    "ConnectionRefusal",
    "GrantEnded",
    "HandshakeFailed",
    "HandshakeTimeout",
    "NotAnSvid",
    "PeerNotAllowed",
    "PeerRevoked",
    "Plaintext",
    "ProxyError",
    "RevocationUnknown",
    "Side",
    "UnknownTrustDomain",
    "UntrustedChain",
]
"""What everybody takes from here though it stands elsewhere; the classes below need not be named."""


class Unavailable(ProxyError, group=True):
    """We cannot serve now; the caller may come back."""

    side = Side.INTERNAL


class Overloaded(Unavailable):
    """A limit of ours is reached."""


class NotReady(Unavailable):
    """Identity, keys or policy are not loaded yet."""


class TransactionsFull(Unavailable):
    """More transactions are with the app than can be remembered for its outbound requests."""


class SiblingUnavailable(Unavailable):
    """What other processes of the app know of transactions cannot be had, so none can be told from another."""


class UsedTransactionsFull(Unavailable):
    """More used transactions are remembered than the limit, so a new one cannot be told from an old one."""


class AuthoriserUnavailable(Unavailable):
    """An authoriser outside of the policy gives no answer, and without one nothing passes."""


class RevocationStale(Unavailable):
    """What was revoked is not known: its source has been silent for longer than revocation.max_age."""


class BadMessage(ProxyError, group=True):
    """The message is refused as HTTP (specs 6)."""


class BadRequest(BadMessage):
    """The head breaks the grammar of RFC 9112."""


class BadFraming(BadMessage):
    """Two parsers could read the length of this message differently."""


class BadHost(BadMessage):
    """Host is missing, repeated or malformed."""


class BadVersion(BadMessage):
    """Not HTTP/1.0 or HTTP/1.1."""


class HeadTooLarge(BadMessage):
    """The head is larger than the limit."""


class TooManyFields(BadMessage):
    """The head has more fields than the limit."""


class TargetTooLong(BadMessage):
    """The request target is longer than the limit."""


class HeadTimeout(BadMessage):
    """The head did not come in time."""


class BodyTimeout(BadMessage):
    """The body did not come in time."""


class MethodRefused(BadMessage):
    """This method is not served here."""


class CodingUnknown(BadMessage):
    """A transfer coding other than chunked."""


class ExpectationUnknown(BadMessage):
    """An expectation other than 100-continue."""


class AmbiguousPath(BadMessage):
    """The path can be read in two ways."""


class OwnedField(BadMessage):
    """A field that only the sidecar may set or drop."""


class LoopDetected(BadMessage):
    """The request has passed here before."""


class ClientClosed(BadMessage):
    """The caller went away before the answer."""


class BodyTooLarge(BadMessage):
    """The body is larger than what may be read of it before it is forwarded."""


class FactUnusable(BadMessage):
    """A fact that a token is asked for with, or held against, is missing, or can be read in two ways."""


class TokenRefusal(ProxyError, group=True):
    """The transaction token is refused (specs 1.5)."""


class TokenMissing(TokenRefusal):
    """No Txn-Token."""


class TokenRepeated(TokenRefusal):
    """More than one Txn-Token."""


class TokenTooLarge(TokenRefusal):
    """The token is larger than the limit."""


class TokenMalformed(TokenRefusal):
    """Not a compact JWS."""


class TokenWrongType(TokenRefusal):
    """Typ is not txntoken+jwt."""


class TokenAlgorithmRefused(TokenRefusal):
    """The algorithm is not the one of the key."""


class TokenUnknownKey(TokenRefusal):
    """No key has this kid."""


class TokenBadSignature(TokenRefusal):
    """The signature does not verify."""


class TokenClaimsInvalid(TokenRefusal):
    """A required claim is missing or has the wrong type."""


class TokenExpired(TokenRefusal):
    """Exp has passed."""


class TokenFromFuture(TokenRefusal):
    """Iat is in the future."""


class TokenLifetimeTooLong(TokenRefusal):
    """Exp - iat is longer than the limit."""


class TokenWrongAudience(TokenRefusal):
    """Aud is another trust domain."""


class TokenWrongIssuer(TokenRefusal):
    """Iss is not the issuer of the keys."""


class TokenActorLoop(TokenRefusal):
    """Somebody stands twice among those who act (specs 1.19)."""


class TokenActorsTooDeep(TokenRefusal):
    """More act for the subject than the limit (specs 1.19)."""


class TokenRevoked(TokenRefusal):
    """The token was taken back: by itself, its transaction, its subject, an actor, or when it was issued."""


class AccessTokenMissing(TokenRefusal):
    """The request brings no token to trade for a transaction token."""


class AccessTokenMalformed(TokenRefusal):
    """The request brings more than one token to trade, or what cannot be one."""


class AccessTokenRefused(TokenRefusal):
    """The token that the request brings is not taken: by the Transaction Token Service, or as a JWT-SVID by us."""


class Denied(ProxyError, group=True):
    """The policy does not allow it."""


class RouteNotAllowed(Denied):
    """No route of the grant matches."""


class ScopeMissing(Denied):
    """The route needs a scope that the token lacks."""


class BeyondGrant(Denied, group=True):
    """The token may be good, and this connection may never use it. Some of these end the connection."""


class ScopeBeyondGrant(BeyondGrant):
    """The token holds a scope that this connection may not use."""


class ActorNotAllowed(Denied):
    """Whoever acts for the subject may not use this route."""


class ConditionUnmet(Denied):
    """A condition of the rule does not hold, or cannot be told."""


class DeniedByRule(Denied):
    """A rule with `effect: deny` speaks of this request."""


class FactUnauthorised(Denied):
    """The token does not speak of a fact that the route holds it against."""


class FactMismatch(Denied):
    """A fact of the request is another than the one that the token authorises."""


class TransactionReplayed(Denied):
    """The route takes each transaction once, and has taken this one."""


class TransactionAmbiguous(Denied):
    """The request of the app could belong to several transactions."""


class TransactionMismatch(Denied):
    """The token that the app put in is of another transaction than the request that it works on."""


class AudienceBeyondGrant(BeyondGrant):
    """The token is for an audience that this connection may not use."""


class DestinationUnknown(Denied):
    """No destination has this authority."""


class AuthoriserDenied(Denied):
    """An authoriser outside of the policy refuses what the policy allows."""


class TunnelEnded(ProxyError, group=True):
    """We have ended a tunnel that was open."""


class BytesSpent(TunnelEnded):
    """The tunnel has carried as many bytes as its rule allows."""


class TunnelIdle(TunnelEnded):
    """Nothing has moved in the tunnel for too long."""

    side = Side.INTERNAL


class UpstreamFailure(ProxyError, group=True):
    """The one whom we called failed."""

    side = Side.UPSTREAM


class UpstreamDown(UpstreamFailure):
    """No connection could be made."""


class UpstreamTimeout(UpstreamFailure):
    """No answer in time."""


class UpstreamReset(UpstreamFailure):
    """The connection ended before the answer was whole."""


class UpstreamBadResponse(UpstreamFailure):
    """The answer breaks the grammar or framing of RFC 9112."""


class UpstreamRefusedUs(UpstreamFailure):
    """The upstream ended the TLS handshake: it does not accept our identity."""


class UpstreamUntrusted(UpstreamFailure):
    """The upstream is not the workload that the destination names."""


class UpstreamOverloaded(UpstreamFailure):
    """All connections to the upstream are in use."""


class TunnelRefused(UpstreamFailure):
    """The sidecar over there has refused the tunnel."""


class TtsUnavailable(UpstreamFailure):
    """The Transaction Token Service cannot be reached."""


class TtsRefused(UpstreamFailure):
    """The Transaction Token Service refused the request."""


class TtsRefusedUs(UpstreamFailure):
    """The Transaction Token Service does not take us as a client."""


class TtsBadAnswer(UpstreamFailure):
    """The answer of the Transaction Token Service breaks RFC 8693 or the draft."""


class Unusable(ProxyError, group=True):
    """What we were given to work with cannot be used."""

    side = Side.INTERNAL


class KeysUnavailable(Unusable):
    """No verification keys are loaded."""


class ConfigInvalid(Unusable):
    """The configuration is refused."""


class IdentityInvalid(Unusable):
    """The SVID, key or bundle is refused."""


class RevocationsInvalid(Unusable):
    """The list of what is revoked, or an event of the feed, is refused."""


class KeysInvalid(Unusable):
    """The JWK Set is refused."""


class Internal(Unusable):
    """A fault of ours."""
