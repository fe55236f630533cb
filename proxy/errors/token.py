"""A token, or what it should have been traded for, is refused (specs 1.5)."""

from proxy.errors.reason import ProxyError


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
