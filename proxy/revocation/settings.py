"""Where revocations come from, and what happens when their source is silent. Seconds and counts."""

from dataclasses import dataclass
from enum import StrEnum

from proxy.policy.revocation import Ending


class Stale(StrEnum):
    """What happens when a source has been silent for too long."""

    REFUSE = "refuse"
    SERVE = "serve"


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedSettings:
    """Security Event Tokens of one transmitter (RFC 8417), which is polled (RFC 8936), or pushes (RFC 8935).

    ``keys`` as ``tokens.keys``. ``poll_url`` empty: it pushes, to the admin port.
    """

    issuer: str
    audience: str
    keys: str
    keys_spiffe_id: str | None = None
    poll_url: str = ""
    spiffe_id: str | None = None  # who must answer there; None: by the Web PKI
    poll_s: float = 1.0  # a revocation is in force this long after it was issued, at most
    skew_s: float = 60.0  # of an iat in the future: transmitters are other organisations, with other clocks
    window_s: float = 604_800.0  # an older event is refused: a week is longer than any outage that nobody noticed


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisSettings:
    """A hash in Redis that the sidecars of a fleet share. ``address``: ``host:port``, or the path of a Unix socket.

    ``username`` None and a ``password_file``: the user ``default``. Without a file there is no AUTH.
    """

    address: str
    key: str = "svidecar:revocations"
    username: str | None = None
    password_file: str | None = None
    tls: bool = False
    share_feed: bool = False  # each sidecar of a fleet can follow the feed itself; that is one place less to trust
    refresh_s: float = 1.0  # a fleet agrees within about that; a look is one small question


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationSettings:
    """A source that is None is not there. ``state`` None: what the operator says ends with us."""

    file: str | None = None
    state: str | None = None
    feed: FeedSettings | None = None
    redis: RedisSettings | None = None
    stale: Stale = Stale.REFUSE  # law 6: who cannot know whether somebody was taken back lets nobody in
    max_age_s: float = 300.0  # a restart of the transmitter, or a mistake in the file that somebody mends at once
    max_entries: int = 10_000  # some 8 MB; tokens live minutes, so more is another trouble
    ending: Ending = Ending.DRAIN  # as for a policy that changes: what is nearly done may be done
    grace_s: float = 0.4  # with the time that it takes to judge ten thousand connections, all ends within a second

    @property
    def is_awaited(self) -> bool:
        """Whether nothing passes before every source was heard."""
        return self.stale is Stale.REFUSE and any((self.file, self.state, self.feed, self.redis))
