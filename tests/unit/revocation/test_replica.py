"""The words of a fleet: joined in any order they say one thing, and only a later word lifts."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.revocation import NOW, entry

from proxy.policy.revocation import Ending, Entry, Revoked
from proxy.policy.revocation_text import InvalidEntry
from proxy.revocation.register import DEFAULT_TTL_S, Register
from proxy.revocation.replica import MAX_AHEAD_S, MAX_LIFTED_S, Replica, Word, field_of, merged, read_word, write_word

TASK = entry(txn="task-1", expires=NOW + 900)
FIELD = field_of("admin", TASK.id)
BOUNDED = Register(Revoked(), 9, 300.0, lambda: None).bounded


def revoked(at: float, told: Entry = TASK) -> Word:
    """It is revoked."""
    return Word(at, told.expires, replace(told, told=at))


def lifted(at: float, until: float = NOW + 900) -> Word:
    """It is lifted."""
    return Word(at, until, None)


def read(field: str, **members: object) -> Word:
    """Read a word as it stands there."""
    return read_word(field, json.dumps(members).encode(), NOW, BOUNDED)


SUB = entry(sub="alice", issued_before=NOW - 5, expires=NOW + 900)
WORDS = st.one_of(
    st.builds(lifted, st.integers(1, 5).map(float), st.sampled_from([NOW + 5, NOW + 900])),
    st.builds(
        lambda at, before, ending, because: revoked(at, replace(SUB, before=before, ending=ending, because=because)),
        st.integers(1, 5).map(float),
        st.sampled_from([NOW - 5, NOW - 50]),
        st.sampled_from([None, *Ending]),
        st.sampled_from(["", "a", "b"]),
    ),
)


@given(WORDS, WORDS)
def test_two_that_join_come_to_agree(one: Word, other: Word) -> None:
    """In either order, and joining again changes nothing: no two sidecars write against each other for ever."""
    joined = merged(one, other)
    assert joined == merged(other, one)
    assert merged(joined, one) == merged(one, joined) == joined
    assert merged(joined, joined) == joined
    assert joined.at == max(one.at, other.at)


def test_the_later_word_holds_and_of_one_moment_the_one_that_revokes() -> None:
    """Revoked, lifted, revoked."""
    assert merged(revoked(1), lifted(2)).entry is None
    assert merged(lifted(1), revoked(2)).entry is not None
    assert merged(lifted(1), revoked(1)).entry is not None


@pytest.mark.parametrize("word", [revoked(NOW - 5), lifted(NOW - 5)])
def test_a_word_is_written_as_it_is_read(word: Word) -> None:
    """Both kinds, and the same again: or it would be written for ever."""
    assert read_word(FIELD, write_word(word), NOW, BOUNDED) == word


def test_both_kinds_are_read() -> None:
    """With an end that is counted from when they were told, whenever they are read."""
    word = read(FIELD, at=NOW - 50, revoked={"txn": "task-1"})
    assert word.entry is not None
    assert (word.entry.value, word.entry.told, word.expires) == ("task-1", NOW - 50, NOW - 50 + DEFAULT_TTL_S)
    assert read(FIELD, at=NOW, lifted_until=9e10) == Word(NOW, NOW + MAX_LIFTED_S, None)


@pytest.mark.parametrize(
    ("field", "members"),
    [
        ("file/" + TASK.id, {"at": NOW, "lifted_until": NOW}),
        ("admin/" + TASK.id.upper(), {"at": NOW, "lifted_until": NOW}),
        ("admin/" + TASK.id + "\n", {"at": NOW, "lifted_until": NOW}),
        (TASK.id, {"at": NOW, "lifted_until": NOW}),
        (FIELD, {}),
        (FIELD, {"at": NOW}),
        (FIELD, {"at": True, "lifted_until": NOW}),
        (FIELD, {"at": -1, "lifted_until": NOW}),
        (FIELD, {"at": NOW, "lifted_until": "x"}),
        (FIELD, {"at": NOW + MAX_AHEAD_S + 1, "lifted_until": NOW}),
        (FIELD, {"at": NOW, "lifted_until": NOW, "revoked": {"txn": "task-1"}}),
        (FIELD, {"at": NOW, "revoked": "task-1"}),
        (FIELD, {"at": NOW, "revoked": {"txn": "task-2"}}),
        (FIELD, {"at": NOW, "revoked": {"txn": "task-1", "sub": "a"}}),
        (FIELD, {"at": NOW, "revoked": {"txn": "task-1"}, "more": 1}),
    ],
)
def test_refused(field: str, members: dict[str, object]) -> None:
    """What it says is not repeated."""
    with pytest.raises(InvalidEntry) as refused:
        read(field, **members)
    assert "task" not in str(refused.value)


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b'{"at":1,"at":2,"lifted_until":3}', b"\xff", b"[" * 5000])
def test_no_object(raw: bytes) -> None:
    """It is refused, and nothing else is raised."""
    with pytest.raises(InvalidEntry):
        read_word(FIELD, raw, NOW, BOUNDED)


def test_what_is_missing_there_is_not_lifted() -> None:
    """It stays, and is written again; what we know better is written too."""
    replica = Replica()
    replica.told("admin", replace(TASK, told=NOW))
    assert list(replica.fields) == [FIELD]
    assert replica.unwritten == {FIELD}
    assert replica.heard(FIELD, lifted(NOW - 1))
    assert not replica.heard(FIELD, revoked(NOW))


def test_a_lift_here_is_later_than_what_it_lifts() -> None:
    """Whatever the clock of who told of it says; and once is enough."""
    replica = Replica()
    replica.heard(FIELD, revoked(NOW + 500))
    assert replica.lifted("admin", TASK.id, NOW, TASK.expires)
    assert not replica.lifted("admin", TASK.id, NOW + 1, TASK.expires)
    assert replica.heard(FIELD, revoked(NOW + 500))
    assert list(replica.revoked) == []
    replica.told("admin", replace(TASK, told=NOW + 1))
    assert [one.value for one in replica.revoked] == ["task-1"]


def test_a_lift_that_nobody_had_heard_of_does_not_lift_what_is_revoked_now() -> None:
    """It was lifted elsewhere by a clock that is ahead: who revokes here has the last word until it is written."""
    replica = Replica()
    replica.told("admin", replace(TASK, told=NOW))
    assert replica.heard(FIELD, lifted(NOW + 60))
    assert [one.value for one in replica.revoked] == ["task-1"]
    replica.unwritten.clear()
    assert not replica.heard(FIELD, lifted(NOW + 61))
    assert list(replica.revoked) == []


def test_what_was_kept_over_a_restart_may_have_been_lifted_since() -> None:
    """It is an old word."""
    replica = Replica()
    replica.kept("admin", replace(TASK, told=NOW - 100))
    assert not replica.heard(FIELD, lifted(NOW - 50))
    assert list(replica.revoked) == []
    assert replica.unwritten == set()


def test_all_of_it_ends() -> None:
    """Both kinds, and what was to be written of them."""
    replica = Replica()
    replica.told("admin", replace(TASK, told=NOW))
    replica.heard(field_of("feed", SUB.id), lifted(NOW, NOW + 5))
    replica.forget(NOW + 5)
    assert len(replica) == 1
    replica.forget(NOW + 900)
    assert len(replica) == 0
    assert replica.unwritten == set()
