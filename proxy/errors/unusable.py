"""What we were given to work with cannot be used: configuration, keys, identity; or we are at fault."""

from proxy.errors.reason import ProxyError, Side


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
