"""The section ``revocation``, what must fit together in it, and the list that an operator keeps beside it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from proxy.config.compose import compose, decode
from proxy.config.document import Items, Node, Scalar, Table
from proxy.config.draft import Draft
from proxy.config.number import DAY, HOUR, MINUTE, count, duration
from proxy.config.problem import MAX_LOGGED, ConfigInvalid, Place, Problem
from proxy.config.shape import Key, Record, Section
from proxy.config.value import choice, text
from proxy.config.word import file_path, https_url, keys_location, spiffe_id
from proxy.errors import RevocationsInvalid
from proxy.policy.revocation import Ending
from proxy.revocation.listing import Members
from proxy.revocation.settings import FeedSettings, RevocationSettings, Stale

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
    return RevocationSettings(**given)


def check_revocation(draft: Draft) -> None:
    """Note what does not fit together."""
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
