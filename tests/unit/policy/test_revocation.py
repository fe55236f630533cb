"""The set of what is revoked: who and what it names, and nobody beside it."""

from dataclasses import replace

import pytest
from support.revocation import KEY, NOW, OTHER_KEY, entry, peer, token

from proxy.errors import PeerRevoked, RevocationStale, RevocationUnknown, TokenRevoked
from proxy.policy.revocation import Ending, Kind, Revoked


@pytest.mark.parametrize(
    ("members", "named"),
    [
        ({"spiffe_id": "spiffe://example.org/edge"}, True),
        ({"spiffe_id": "spiffe://example.org/edge/1"}, False),
        ({"spiffe_id": "spiffe://example.org/Edge"}, False),
        ({"serial": "0x1f2e", "issuer": "example.org"}, True),
        ({"serial": "0x00001F2E", "issuer": "example.org"}, True),
        ({"serial": "1f:2e", "issuer": KEY.hex().upper()}, True),
        ({"serial": "dec:7982", "issuer": "example.org"}, True),
        ({"serial": "0x1f2e", "issuer": "other.org"}, False),
        ({"serial": "0x1f2e", "issuer": OTHER_KEY.hex()}, False),
        ({"serial": "0x1f2f", "issuer": "example.org"}, False),
        ({"txn": "spiffe://example.org/edge"}, False),
    ],
)
def test_a_peer(members: dict[str, object], named: bool) -> None:  # noqa: FBT001
    """By its whole ID, or by a serial of its own issuer, however that is written."""
    revoked = Revoked([entry(**members)])
    assert (revoked.of_peer(peer()) is not None) is named
    for check in (revoked.admit, revoked.recheck):
        if named:
            with pytest.raises(PeerRevoked):
                check(peer())
        else:
            check(peer())


def test_an_intermediate() -> None:
    """A serial may be of any certificate of the chain: whoever was issued by it is out."""
    revoked = Revoked([entry(serial="0x7", issuer=OTHER_KEY.hex())])
    assert revoked.of_peer(peer("spiffe://example.org/edge", (KEY, 1), (OTHER_KEY, 7)))
    assert not revoked.of_peer(peer("spiffe://example.org/edge", (KEY, 7), (OTHER_KEY, 1)))


@pytest.mark.parametrize(
    ("members", "changes", "named"),
    [
        ({"txn": "task-1"}, {}, True),
        ({"txn": "task-1"}, {"txn": "task-10"}, False),
        ({"txn": "task-1"}, {"txn": "TASK-1"}, False),
        ({"txn": "alice"}, {}, False),
        ({"sub": "alice"}, {}, True),
        ({"sub": "alice"}, {"sub": "alice "}, False),
        ({"sub": "caf\u00e9"}, {"sub": "cafe\u0301"}, False),
        ({"sub": "alice", "issuer": "https://tts"}, {}, True),
        ({"sub": "alice", "issuer": "https://tts"}, {"iss": None}, False),
        ({"sub": "alice", "issuer": "https://tts"}, {"iss": "https://tts/"}, False),
        ({"sub": "alice", "issued_before": NOW}, {}, False),
        ({"sub": "alice", "issued_before": NOW}, {"iat": NOW - 0.001}, True),
        ({"sub": "alice", "issued_before": NOW}, {"iat": NOW - 5, "sub": "bob"}, False),
        ({"act": "agent-1"}, {"actors": ("agent-2", "agent-1")}, True),
        ({"act": "alice"}, {"actors": ("agent-1",)}, False),
        ({"act": "agent-1"}, {}, False),
        ({"act": "agent-1", "issued_before": NOW}, {"actors": ("agent-1",), "iat": NOW + 1}, False),
        ({"token_sha256": "0F" * 32}, {}, True),
        ({"token_sha256": "0e" * 32}, {}, False),
        ({"issued_before": NOW}, {}, False),
        ({"issued_before": NOW + 1}, {}, True),
        ({"issued_before": NOW + 1, "issuer": "https://other"}, {}, False),
        ({"issued_before": NOW + 1, "issuer": "https://tts"}, {}, True),
    ],
)
def test_a_token(members: dict[str, object], changes: dict[str, object], named: bool) -> None:  # noqa: FBT001
    """By exactly what it says; ``iat`` of that very second is not earlier."""
    revoked = Revoked([entry(**members)])
    assert (revoked.of_token(token(**changes)) is not None) is named
    assert revoked.passes(token(**changes)) is not named
    if named:
        with pytest.raises(TokenRevoked):
            revoked.check(token(**changes))
    else:
        revoked.check(token(**changes))


def test_who_is_blind_lets_nobody_in() -> None:
    """Nobody new, and no token; who is in stays, unless it is named."""
    revoked = Revoked()
    revoked.blind = True
    with pytest.raises(RevocationUnknown):
        revoked.admit(peer())
    with pytest.raises(RevocationStale):
        revoked.check(token())
    revoked.recheck(peer())
    assert not revoked.passes(token())
    assert revoked.has_tokens


def test_two_may_name_one() -> None:
    """What one source takes back, another's word still stands for."""
    one = entry(txn="task-1")
    revoked = Revoked([one, one])
    revoked.discard(one)
    assert not revoked.passes(token())
    revoked.discard(one)
    revoked.discard(one)
    assert revoked.passes(token())
    assert (len(revoked), revoked.count(Kind.TXN), revoked.has_tokens) == (0, 0, False)


def test_adding_weakens_nothing() -> None:
    """Of two with one id the stronger stays, for the longer of their times; the whole and a part are two."""
    early, late = entry(sub="alice", issued_before=NOW - 50), entry(sub="alice", issued_before=NOW)
    assert early.id == late.id != entry(sub="alice").id
    for joined in (early.joined(late), late.joined(early)):
        assert joined.before == NOW
    short, cut = entry(txn="t", expires=NOW + 1), replace(entry(txn="t"), ending=Ending.CUT, told=NOW)
    joined = short.joined(cut)
    assert (joined.expires, joined.ending, joined.told) == (cut.expires, Ending.CUT, NOW)


def test_ids_cannot_be_forged() -> None:
    """No value can be written so that it has the id of another."""
    assert entry(sub="a", issuer="b").id != entry(sub="b", issuer="a").id
    assert entry(txn="a").id != entry(sub="a").id


def test_iteration_gives_all() -> None:
    """For those who list."""
    entries = [entry(txn="a"), entry(sub="b"), entry(spiffe_id="spiffe://example.org/c")]
    assert set(Revoked(entries)) == set(entries)
