"""We cannot serve now: a limit is reached, or something is not there yet."""

from proxy.errors.reason import ProxyError, Side


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
