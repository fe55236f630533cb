"""One event: verified before a word of it is believed, read strictly, and turned into what it takes back."""

from typing import Any

import pytest
from support.events import AUDIENCE, CAEP, ISSUER, OWN, RISC, EventMint
from support.revocation import NOW, entry
from support.tokens import ABSENT, TokenMint

from proxy.errors import TokenUnknownKey
from proxy.policy.revocation import Kind
from proxy.revocation.events import MAX_BYTES, Event, SetRefused, read_event
from proxy.revocation.settings import FeedSettings
from proxy.tokens.keys import KeySet

MINT = EventMint(NOW)
KEYS = KeySet.parse(MINT.mint.jwks())
FEED = FeedSettings(issuer=ISSUER, audience=AUDIENCE, keys="jwks.json")
ALICE = {"subject": {"format": "iss_sub", "iss": ISSUER, "sub": "alice"}}
REVOKED = RISC + "account-disabled"


def read(raw: bytes, now: float = NOW) -> Event:
    """Read it."""
    return read_event(raw, KEYS, now, FEED)


@pytest.mark.parametrize(
    ("claims", "header", "code"),
    [
        ({}, {"typ": "JWT"}, "invalid_request"),
        ({}, {"typ": "txntoken+jwt"}, "invalid_request"),
        ({}, {"typ": ABSENT}, "invalid_request"),
        ({}, {"typ": 1}, "invalid_request"),
        ({}, {"alg": "none"}, "invalid_request"),
        ({}, {"alg": "HS256"}, "invalid_request"),
        ({}, {"alg": "RS256"}, "invalid_key"),
        ({}, {"jwk": MINT.mint.jwk}, "invalid_request"),
        ({}, {"crit": ["x"]}, "invalid_request"),
        ({"iss": "https://idp.example.org/"}, {}, "invalid_issuer"),
        ({"iss": ABSENT}, {}, "invalid_issuer"),
        ({"aud": "https://other.example.org"}, {}, "invalid_audience"),
        ({"aud": ABSENT}, {}, "invalid_audience"),
        ({"aud": {AUDIENCE: 1}}, {}, "invalid_audience"),
        ({"aud": [[AUDIENCE]]}, {}, "invalid_audience"),
        ({"iat": ABSENT}, {}, "invalid_request"),
        ({"iat": str(NOW)}, {}, "invalid_request"),
        ({"iat": True}, {}, "invalid_request"),
        ({"iat": NOW * 1000}, {}, "invalid_request"),
        ({"iat": NOW + FEED.skew_s + 1}, {}, "invalid_request"),
        ({"iat": NOW - FEED.window_s - 1}, {}, "invalid_request"),
        ({"exp": NOW - FEED.skew_s}, {}, "invalid_request"),
        ({"jti": ABSENT}, {}, "invalid_request"),
        ({"jti": ""}, {}, "invalid_request"),
        ({"jti": "a\nb"}, {}, "invalid_request"),
        ({"jti": "a" * 1025}, {}, "invalid_request"),
        ({"jti": 5}, {}, "invalid_request"),
        ({"events": ABSENT}, {}, "invalid_request"),
        ({"events": {}}, {}, "invalid_request"),
        ({"events": [REVOKED]}, {}, "invalid_request"),
        ({"events": {REVOKED: None}}, {}, "invalid_request"),
        ({"events": {f"urn:x:{n}": {} for n in range(17)}}, {}, "invalid_request"),
        ({"events": {REVOKED: {}}}, {}, "invalid_request"),
        ({"events": {REVOKED: {"subject": "alice"}}}, {}, "invalid_request"),
        ({"events": {REVOKED: {"subject": {"format": "iss_sub", "iss": "x"}}}}, {}, "invalid_request"),
        ({"events": {REVOKED: {"subject": {"format": "jwt_id", "iss": "x", "jti": "y"}}}}, {}, "invalid_request"),
        ({"events": {REVOKED: {"subject": {"format": "opaque", "id": ""}}}}, {}, "invalid_request"),
        ({"events": {REVOKED: {"subject": {"format": "aliases", "identifiers": []}}}}, {}, "invalid_request"),
        ({"events": {REVOKED: {"subject": {"format": "aliases", "identifiers": ["a"]}}}}, {}, "invalid_request"),
        ({"events": {OWN + "revoked": {}}}, {}, "invalid_request"),
        ({"events": {OWN + "revoked": {"spiffe_id": "SPIFFE://example.org/a"}}}, {}, "invalid_request"),
        ({"events": {OWN + "revoked": {"issued_before": NOW + 61}}}, {}, "invalid_request"),
        ({"events": {OWN + "transaction-ended": {}}}, {}, "invalid_request"),
        ({"events": {CAEP + "session-revoked": ALICE | {"event_timestamp": "now"}}}, {}, "invalid_request"),
    ],
)
def test_what_is_refused(claims: dict[str, Any], header: dict[str, object], code: str) -> None:
    """With the registered code, and without a word of what it said."""
    with pytest.raises(SetRefused) as refused:
        read(MINT.event(REVOKED, ALICE, header=header, **claims))
    assert refused.value.code == code


def test_who_has_signed_it() -> None:
    """Another key of that name is refused; one that is unknown may be learned; garbage is garbage."""
    forged = EventMint(NOW, MINT.mint.forger()).event(REVOKED, ALICE)
    with pytest.raises(SetRefused) as refused:
        read(forged)
    assert refused.value.code == "invalid_key"
    with pytest.raises(TokenUnknownKey):
        read(EventMint(NOW, TokenMint(kid="new")).event(REVOKED, ALICE))
    good = MINT.event(REVOKED, ALICE)
    for raw in (b"", b"a.b", good + b"=", b"x" * (MAX_BYTES + 1), good.replace(b".", b"..", 1), good[:-4]):
        with pytest.raises(SetRefused):
            read(raw)


def test_at_the_limits_of_time() -> None:
    """Both are still read."""
    for iat in (NOW + FEED.skew_s, NOW - FEED.window_s):
        assert read(MINT.event(REVOKED, ALICE, iat=iat)).iat == iat
    assert read(MINT.event(REVOKED, ALICE, exp=NOW, aud=["x", AUDIENCE]))
    assert read(MINT.event(REVOKED, ALICE, header={"typ": "application/SecEvent+JWT"}))


@pytest.mark.parametrize("kind", ["account-disabled", "account-purged"])
def test_an_account_that_is_gone(kind: str) -> None:
    """Is neither about anything nor acts for anyone; a workload is not let in."""
    taken = read(MINT.event(RISC + kind, ALICE)).taken
    assert {(one.kind, one.value, one.before) for one in taken} == {
        (Kind.SUB, "alice", None),
        (Kind.ACT, "alice", None),
    }
    uri = {"format": "uri", "uri": "spiffe://example.org/edge"}
    taken = read(MINT.event(RISC + kind, {}, sub_id=uri)).taken
    assert entry(spiffe_id="spiffe://example.org/edge").id in {one.id for one in taken}
    assert all(one.told == NOW for one in taken)


@pytest.mark.parametrize(
    "kind",
    [CAEP + "session-revoked", CAEP + "token-claims-change", RISC + "sessions-revoked", RISC + "credential-compromise"],
)
def test_what_was_issued_until_then(kind: str) -> None:
    """A token of that very second may be older than the event; a time that is later than the event is the event's."""
    for payload, before in (
        (ALICE, NOW + 1),
        (ALICE | {"event_timestamp": NOW - 50}, NOW - 49),
        (ALICE | {"event_timestamp": NOW + 9999}, NOW + 1),
    ):
        taken = read(MINT.event(kind, payload)).taken
        assert {(one.kind, one.before) for one in taken} == {(Kind.SUB, before), (Kind.ACT, before)}


@pytest.mark.parametrize(
    ("subject", "names"),
    [
        ({"format": "opaque", "id": "a"}, {"a"}),
        ({"format": "email", "email": "a@example.org"}, {"a@example.org"}),
        ({"format": "account", "uri": "acct:a@example.org"}, {"acct:a@example.org"}),
        ({"format": "did", "url": "did:example:1"}, {"did:example:1"}),
        ({"format": "phone_number", "phone_number": "+12"}, {"+12"}),
        ({"subject_type": "iss-sub", "iss": "x", "sub": "a"}, {"a"}),
        ({"format": "complex", "user": {"format": "opaque", "id": "a"}, "device": {}}, {"a"}),
        (
            {"format": "aliases", "identifiers": [{"format": "opaque", "id": "a"}, {"format": "opaque", "id": "b"}]},
            {"a", "b"},
        ),
    ],
)
def test_subjects(subject: dict[str, object], names: set[str]) -> None:
    """As RFC 9493 writes them, in the event or beside it, and as RISC did before."""
    for event in (MINT.event(REVOKED, {"subject": subject}), MINT.event(REVOKED, {}, sub_id=subject)):
        assert {one.value for one in read(event).taken} == names


def test_our_own() -> None:
    """What the others cannot say: a certificate, a transaction, and that something may be again."""
    members = {"serial": "0x1f2e", "issuer": "example.org", "end": "cut"}
    taken = read(MINT.event(OWN + "revoked", members)).taken
    assert [one.id for one in taken] == [entry(**members).id]
    ended = entry(txn="task-1").id
    for event in (
        MINT.event(OWN + "transaction-ended", {"txn": "task-1"}),
        MINT.event(OWN + "transaction-ended", {}, txn="task-1"),
    ):
        assert [one.id for one in read(event).taken] == [ended]
    assert read(MINT.event(OWN + "restored", {"txn": "task-1"})).lifted == (ended,)
    assert entry(sub="alice").id in read(MINT.event(RISC + "account-enabled", ALICE)).lifted


def test_what_is_unknown_is_nothing_to_us() -> None:
    """Beside what we know, too (RFC 8417 section 2.2)."""
    read_ = read(MINT.event("https://example.org/other", {"subject": 5}))
    assert (read_.taken, read_.lifted) == ((), ())
    events = {"https://example.org/other": {}, OWN + "revoked": {"txn": "task-1"}}
    assert len(read(MINT.event("", {}, events=events)).taken) == 1
