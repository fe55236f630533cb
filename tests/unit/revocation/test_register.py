"""Who told of what: replaced whole or one by one, bounded, and forgotten in time."""

import pytest
from support.revocation import NOW, entry, token

from proxy.errors import RevocationsInvalid
from proxy.policy.revocation import Revoked
from proxy.revocation.register import DEFAULT_TTL_S, Register


class Told:
    """A register that counts its changes."""

    def __init__(self, max_entries: int = 3) -> None:
        self.changes = 0
        self.register = Register(Revoked(), max_entries, 302.0, self._changed)

    def _changed(self) -> None:
        self.changes += 1


def test_a_list_is_one_change_and_none_where_it_is_the_same() -> None:
    """What it names no more is lifted."""
    told = Told()
    told.register.replace("file", [entry(txn="task-1"), entry(txn="task-2")], NOW)
    told.register.replace("file", [entry(txn="task-2"), entry(txn="task-1")], NOW)
    assert told.changes == 1
    told.register.replace("file", [entry(txn="task-2")], NOW)
    assert told.changes == 2
    assert told.register.revoked.passes(token())


def test_at_the_limit_and_beyond() -> None:
    """A list that is too long changes nothing; one more is refused; one that is known finds room."""
    told = Told(2)
    told.register.replace("file", [entry(txn="a"), entry(txn="b")], NOW)
    with pytest.raises(RevocationsInvalid, match="max_entries"):
        told.register.replace("file", [entry(txn=name) for name in "cde"], NOW)
    with pytest.raises(RevocationsInvalid):
        told.register.put("admin", entry(txn="c"))
    with pytest.raises(RevocationsInvalid):
        told.register.check_room("admin", [entry(txn="c")])
    told.register.replace("file", [entry(txn="b"), entry(txn="c")], NOW)
    told.register.put("file", entry(txn="b"))
    assert len(told.register.revoked) == 2


def test_the_last_place() -> None:
    """One by one as many as the limit, and not one more; what is stronger takes the place of what it joins."""
    told = Told(2)
    first = told.register.put("admin", entry(sub="alice", issued_before=NOW - 50))
    assert told.register.put("admin", entry(sub="alice", issued_before=NOW - 50)) == first
    told.register.put("admin", entry(txn="b"))
    stronger = told.register.put("admin", entry(sub="alice", issued_before=NOW))
    assert stronger != first
    assert len(told.register.revoked) == 2
    assert dict(told.register.entries("admin"))[stronger.id] == stronger
    assert told.register.entries("file") == {}
    with pytest.raises(RevocationsInvalid):
        told.register.put("file", entry(txn="c"))


def test_what_is_lifted_is_good_again() -> None:
    """At once, and everybody is told."""
    told = Told()
    put = told.register.put("admin", entry(txn="task-1"))
    assert not told.register.revoked.passes(token())
    assert told.register.drop("admin", put.id)
    assert told.register.revoked.passes(token())
    assert told.changes == 2


def test_each_source_speaks_for_itself() -> None:
    """What the operator lifts, the file may still name."""
    told = Told()
    told.register.replace("file", [entry(txn="task-1")], NOW)
    put = told.register.put("admin", entry(txn="task-1"))
    assert told.register.drop("admin", put.id)
    assert not told.register.drop("admin", put.id)
    assert not told.register.revoked.passes(token())
    assert not told.register.drop("file", "unknown")
    assert list(told.register.sources) == ["file", "admin"]


def test_the_same_again_is_no_change_and_the_stronger_stays() -> None:
    """Two lines of one list, and two words of one source."""
    told = Told()
    told.register.put("admin", entry(sub="alice", issued_before=NOW))
    told.register.put("admin", entry(sub="alice", issued_before=NOW - 50))
    assert told.changes == 1
    assert not told.register.revoked.passes(token(iat=NOW - 10))
    told.register.replace("file", [entry(txn="t", expires=NOW + 1), entry(txn="t")], NOW)
    assert not told.register.expire(NOW + 2)


def test_all_of_it_ends() -> None:
    """What is told without an end lasts a day; what only names tokens, as long as they live; the rest as it says."""
    told = Told(9)
    assert told.register.bounded(entry(sub="a"), NOW).expires == NOW + DEFAULT_TTL_S
    assert told.register.bounded(entry(token_sha256="0f" * 32), NOW).expires == NOW + 302
    assert told.register.bounded(entry(issued_before=NOW - 100), NOW).expires == NOW + 202
    assert told.register.bounded(entry(txn="a", expires=NOW + 5), NOW).expires == NOW + 5
    told.register.put("admin", entry(txn="task-1", expires=NOW + 5))
    assert not told.register.expire(NOW + 4.9)
    assert told.register.expire(NOW + 5)
    assert told.register.revoked.passes(token())
    told.register.replace("file", [entry(txn="a", expires=NOW)], NOW)
    assert len(told.register.revoked) == 0
