"""Why something was refused: one class per reason.

The reason is the metric label, the audit word and the ``reason`` of the problem document: the name of the class with
underscores (``TokenExpired`` is ``token_expired``). Names are stable: dashboards hold them. The HTTP answer to each
stands in ``flow/rescue.py``. A detail is for people: it names the rule and the limit, never a value from outside.
"""

from proxy.reason import REASONS, ProxyError, Side

__all__ = ["REASONS", "ProxyError", "Side"]
"""Those of ``reason``, which everybody takes from here; the classes need not be named."""


class ConnectionRefusal(ProxyError, group=True):
    """The connection is refused before a byte of it reaches the app."""


class Plaintext(ConnectionRefusal):
    """Bytes that are not TLS came to a TLS port."""


class HandshakeFailed(ConnectionRefusal):
    """The TLS handshake failed."""


class HandshakeTimeout(ConnectionRefusal):
    """The TLS handshake passed its deadline."""


class CertificateMissing(ConnectionRefusal):
    """The peer showed no certificate."""


class CertificateExpired(ConnectionRefusal):
    """The certificate is not valid now."""


class UntrustedChain(ConnectionRefusal):
    """The chain does not end in the bundle of the trust domain that the leaf claims."""


class NotAnSvid(ConnectionRefusal):
    """The certificate breaks a rule of X509-SVID (specs 2.2)."""


class UnknownTrustDomain(ConnectionRefusal):
    """No bundle is known for the trust domain that the leaf claims."""


class CertificateRevoked(ConnectionRefusal):
    """A CRL of its trust domain names a certificate of the chain."""


class RevocationUnknown(ConnectionRefusal):
    """What was revoked is not known: the CRL of its trust domain has passed its next update, or its feed is silent."""


class PeerRevoked(ConnectionRefusal):
    """Its SPIFFE ID, or a certificate of its chain, is named in what we were told is revoked."""


class PeerNotAllowed(ConnectionRefusal):
    """No policy admits this SPIFFE ID."""


class GrantEnded(ConnectionRefusal):
    """The grant of this connection has ended."""


class Unavailable(ProxyError, group=True):
    """We cannot serve now; the caller may come back."""

    side = Side.INTERNAL


class Overloaded(Unavailable):
    """A limit of ours is reached."""


class NotReady(Unavailable):
    """Identity, keys or policy are not loaded yet."""


class TransactionsFull(Unavailable):
    """More transactions are with the app than can be remembered for its outbound requests."""


class UsedTransactionsFull(Unavailable):
    """More used transactions are remembered than the limit, so a new one cannot be told from an old one."""


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


class ScopeBeyondGrant(Denied):
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


class AudienceBeyondGrant(Denied):
    """The token is for an audience that this connection may not use."""


class DestinationUnknown(Denied):
    """No destination has this authority."""


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
