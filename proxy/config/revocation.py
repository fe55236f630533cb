"""The section ``revocation``, what must fit together in it, and the list that an operator keeps beside it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from proxy.config.address import is_loopback
from proxy.config.compose import compose, decode
from proxy.config.document import Items, Node, Scalar, Table
from proxy.config.draft import Draft
from proxy.config.number import DAY, HOUR, MINUTE, count, duration
from proxy.config.problem import MAX_LOGGED, ConfigInvalid, Place, Problem
from proxy.config.shape import Key, Record, Section
from proxy.config.value import choice, flag, text
from proxy.config.word import file_path, https_url, keys_location, redis_address, spiffe_id
from proxy.errors import RevocationsInvalid
from proxy.policy.revocation import Ending
from proxy.revocation.listing import Members
from proxy.revocation.settings import FeedSettings, RedisSettings, RevocationSettings, Stale

_FEED = Record(
    FeedSettings,
    (
        Key(
            "issuer",
            text("an issuer", "https://idp.example.org"),
            "What iss of an event must be.",
            required="issuer: https://idp.example.org",
        ),
        Key(
            "audience",
            text("an audience", "https://mesh.example.org"),
            "What aud of an event must name.",
            required="audience: https://mesh.example.org",
        ),
        Key(
            "keys",
            keys_location(),
            "The JWK Set that events are verified with: a file, or a URL.",
            required="keys: https://idp.example.org/jwks (or the path of a JWK Set)",
        ),
        Key(
            "keys_spiffe_id",
            spiffe_id(),
            "Who must serve the keys.",
            fallback="by the Web PKI",
            into=(FeedSettings, "keys_spiffe_id"),
        ),
        Key(
            "poll",
            https_url(),
            "Where events are asked for (RFC 8936).",
            fallback="they are pushed to `/revocations/events` of the admin port (RFC 8935)",
            into=(FeedSettings, "poll_url"),
        ),
        Key(
            "spiffe_id",
            spiffe_id(),
            "Who must answer there.",
            fallback="by the Web PKI",
            into=(FeedSettings, "spiffe_id"),
        ),
        Key("interval", duration(0.1, HOUR), "How often it is polled.", into=(FeedSettings, "poll_s")),
        Key("skew", duration(0, HOUR), "How far its clock may be ahead.", into=(FeedSettings, "skew_s")),
        Key("window", duration(MINUTE, 30 * DAY), "An older event is refused.", into=(FeedSettings, "window_s")),
    ),
)

_REDIS = Record(
    RedisSettings,
    (
        Key(
            "address",
            redis_address(),
            "Where Redis is: host:port, or the path of its socket.",
            required="address: 127.0.0.1:6379",
        ),
        Key(
            "key",
            text("the name of a key", "svidecar:revocations", r"[!-~]+", longest=256),
            "The hash that the fleet shares.",
            into=(RedisSettings, "key"),
        ),
        Key(
            "username",
            text("a user of Redis", "svidecar", r"[!-~]+", longest=256),
            "Whom the password is of.",
            fallback="the user default",
            into=(RedisSettings, "username"),
        ),
        Key(
            "password_file",
            file_path(),
            "A file with the password; read anew for each connection.",
            fallback="no AUTH",
            into=(RedisSettings, "password_file"),
        ),
        Key(
            "tls",
            flag(),
            "TLS, by the Web PKI; without it Redis is on this machine.",
            into=(RedisSettings, "tls"),
        ),
        Key(
            "share_feed",
            flag(),
            "What our feed says is shared too, for sidecars that do not follow it.",
            into=(RedisSettings, "share_feed"),
        ),
        Key("refresh", duration(0.1, MINUTE), "How often it is looked at.", into=(RedisSettings, "refresh_s")),
    ),
)

REVOCATION = Section(
    (
        Key(
            "file",
            file_path(),
            "A list of what is revoked, YAML or JSON; watched, and taken whole.",
            fallback="none",
            into=(RevocationSettings, "file"),
        ),
        Key(
            "state",
            file_path(),
            "Where what the admin port and the feed say is kept over a restart; processes that share it agree.",
            fallback="none",
            into=(RevocationSettings, "state"),
        ),
        Key(
            "feed",
            _FEED,
            "Security Event Tokens (RFC 8417), polled or pushed. Needs state.",
            fallback="none",
            into=(RevocationSettings, "feed"),
        ),
        Key(
            "redis",
            _REDIS,
            "What the admin port says is shared with a fleet through Redis.",
            fallback="none",
            into=(RevocationSettings, "redis"),
        ),
        Key(
            "stale",
            choice(of=tuple(Stale)),
            "When a source is silent for max_age: nobody new and no token passes, or all as before.",
            into=(RevocationSettings, "stale"),
        ),
        Key("max_age", duration(1, 7 * DAY), "How long that is.", into=(RevocationSettings, "max_age_s")),
        Key(
            "max_entries",
            count(1, 1_000_000),
            "Of all sources; a list that is longer is refused whole.",
            into=(RevocationSettings, "max_entries"),
        ),
        Key(
            "end",
            choice(of=tuple(Ending)),
            "How open connections end that are admitted no more, for whatever reason: with the answer, or at once.",
            into=(RevocationSettings, "ending"),
        ),
        Key(
            "grace",
            duration(0, MINUTE),
            "How long drain waits for an answer.",
            into=(RevocationSettings, "grace_s"),
        ),
    )
)


def revocation(values: dict[str, Any], base_dir: Path) -> RevocationSettings:
    """Make the settings; relative paths begin at the folder of the YAML."""
    given = REVOCATION.gather(values.get("revocation", {}), RevocationSettings)
    for name in ("file", "state"):
        if given.get(name):
            given[name] = str(base_dir / given[name])
    feed: FeedSettings | None = given.get("feed")
    if feed is not None and "://" not in feed.keys:
        given["feed"] = replace(feed, keys=str(base_dir / feed.keys))
    redis: RedisSettings | None = given.get("redis")
    if redis is not None and redis.password_file is not None:
        given["redis"] = replace(redis, password_file=str(base_dir / redis.password_file))
    return RevocationSettings(**given)


def check_revocation(draft: Draft) -> None:
    """Note what does not fit together."""
    _check_feed(draft)
    _check_redis(draft)


def _check_redis(draft: Draft) -> None:
    redis: RedisSettings | None = draft.get("revocation.redis")
    if redis is None:
        return
    is_socket = redis.address.startswith("/")
    if is_socket and redis.tls:
        draft.refuse("revocation.redis.tls", "is for host:port; a Unix socket does not leave this machine")
    if not is_socket and not redis.tls and not is_loopback(redis.address.rpartition(":")[0].strip("[]")):
        draft.refuse(
            "revocation.redis.address",
            "is another machine, and whoever is on the way there could revoke and lift: write tls: true, or reach it "
            "through a sidecar (protocol tcp) or another tunnel at 127.0.0.1",
        )
    if redis.username and redis.password_file is None:
        draft.refuse("revocation.redis.username", "has no password: write password_file, or leave it out")
    if redis.share_feed and not draft.is_written("revocation.feed"):
        draft.refuse("revocation.redis.share_feed", "shares revocation.feed, and there is none")


def _check_feed(draft: Draft) -> None:
    feed: FeedSettings | None = draft.get("revocation.feed")
    if feed is None:
        return
    if draft.get("revocation.state") is None:
        draft.refuse(
            "revocation.feed",
            "needs revocation.state: what was acknowledged is never sent again, and would be lost with a restart",
        )
    if feed.spiffe_id is not None and not feed.poll_url:
        draft.refuse("revocation.feed.spiffe_id", "says who answers a poll; write poll: https://..., or leave it out")
    if feed.keys_spiffe_id is not None and not feed.keys.startswith("https://"):
        draft.refuse("revocation.feed.keys_spiffe_id", "applies to an https URL in keys; remove it")


def read_yaml(raw: bytes) -> Sequence[Members]:
    """Read the list of an operator, each entry with its line. Raises RevocationsInvalid."""
    place = Place("", [])
    try:
        document = compose(decode(raw), place)
    except ConfigInvalid as error:
        raise RevocationsInvalid(_told(error.problems)) from None
    if place.problems:
        raise RevocationsInvalid(_told(place.problems))
    match document:
        case Table(entries=[entry]) if entry.key == "revoked":
            return [_members(node) for node in _items(entry.node)]
    raise RevocationsInvalid(f"line {document.line}: is not a list of entries under the one key 'revoked:'")


def _items(node: Node) -> Sequence[Node]:
    if isinstance(node, Items):
        return node.nodes
    raise RevocationsInvalid(f"line {node.line}: 'revoked:' holds no list; nothing is revoked by 'revoked: []'")


def _members(node: Node) -> Members:
    if not isinstance(node, Table):
        raise RevocationsInvalid(f"line {node.line}: an entry is a mapping, for example {{txn: ...}}")
    found: dict[str, object] = {}
    for entry in node.entries:
        if not isinstance(entry.node, Scalar):
            raise RevocationsInvalid(f"line {entry.line}: {entry.key} is not one value")
        found[entry.key] = entry.node.text
    return node.line, found


def _told(problems: Sequence[Problem]) -> str:
    return "; ".join(
        ": ".join(part for part in (f"line {one.line}" if one.line else "", one.path, one.message) if part)
        for one in problems[:MAX_LOGGED]
    )
