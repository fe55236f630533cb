"""Uses of transactions: each once, none forgotten early, bounded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import TransactionReplayed, UsedTransactionsFull
from proxy.tokens.once import UsedTransactions, use_of

WINDOW_S = 100.0


def test_a_use_is_one_of_a_route() -> None:
    """Another route, and another transaction, are other uses."""
    used = UsedTransactions(10, WINDOW_S)
    used.use(use_of("POST /pay", "t"), 10, 0)
    with pytest.raises(TransactionReplayed):
        used.use(use_of("POST /pay", "t"), 10, 0)
    used.use(use_of("POST /other", "t"), 10, 0)
    used.use(use_of("POST /pay", "u"), 10, 0)
    used.use(use_of("POST /pa", "yt"), 10, 0)
    assert len(used) == 4


def test_it_is_remembered_until_the_token_and_the_window_have_ended() -> None:
    """Whichever is later; a refused token of the transaction that lives longer keeps it longer."""
    used = UsedTransactions(10, WINDOW_S)
    used.use(use_of("r", "short"), 10, 0)
    used.use(use_of("r", "long"), 300, 0)
    for now in (0, 50, 99.9):
        with pytest.raises(TransactionReplayed):
            used.use(use_of("r", "short"), 10, now)
    used.use(use_of("r", "short"), 110, 100)
    with pytest.raises(TransactionReplayed):
        used.use(use_of("r", "long"), 400, 299.9)
    with pytest.raises(TransactionReplayed):
        used.use(use_of("r", "long"), 400, 399.9)
    used.use(use_of("r", "long"), 500, 400)


def test_a_token_that_ends_sooner_shortens_nothing() -> None:
    """The transaction is remembered as long as the token that lives longest."""
    used = UsedTransactions(10, WINDOW_S)
    used.use(use_of("r", "t"), 300, 0)
    with pytest.raises(TransactionReplayed):
        used.use(use_of("r", "t"), 10, 0)
    used.learn(use_of("r", "t"), 10)
    with pytest.raises(TransactionReplayed):
        used.use(use_of("r", "t"), 10, 299)


def test_the_bound_of_entries() -> None:
    """The last that has room, the first that has none; a known one is still told apart; time makes room."""
    used = UsedTransactions(3, WINDOW_S)
    for number in range(3):
        used.use(use_of("r", str(number)), 10, number)
    with pytest.raises(UsedTransactionsFull):
        used.use(use_of("r", "3"), 10, 3)
    with pytest.raises(TransactionReplayed):
        used.use(use_of("r", "0"), 10, 3)
    used.use(use_of("r", "3"), 10, WINDOW_S)
    with pytest.raises(UsedTransactionsFull):
        used.use(use_of("r", "4"), 10, WINDOW_S)
    assert len(used) == 3


def test_fullness() -> None:
    """From nothing to the limit, and back when time has passed, though nobody came."""
    used = UsedTransactions(2, WINDOW_S)
    found = [used.fullness(0)]
    for txn in ("0", "1"):
        used.use(use_of("r", txn), 10, 0)
        found.append(used.fullness(0))
    assert found == [0.0, 0.5, 1.0]
    assert used.fullness(WINDOW_S + 10) == 0.0


def test_what_is_known() -> None:
    """Each use with its end, for those who share the list; what has ended is not told."""
    used = UsedTransactions(5, WINDOW_S)
    used.use(use_of("r", "short"), 10, 0)
    used.use(use_of("r", "long"), 300, 0)
    short, long = use_of("r", "short"), use_of("r", "long")
    assert used.known(WINDOW_S - 0.1) == {short: WINDOW_S, long: 300}
    assert used.known(WINDOW_S) == {long: 300}


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 60), st.integers(0, 30)), max_size=60))
def test_no_transaction_passes_twice_within_its_time(steps: list[tuple[int, int, int]]) -> None:
    """Against a model that forgets nothing."""
    used, passed, now = UsedTransactions(5, 20.0), {}, 0
    until: dict[int, float] = {}
    for txn, life, later in steps:
        now += later
        known = until.get(txn, 0.0) > now
        try:
            used.use(use_of("r", str(txn)), now + life, now)
        except TransactionReplayed:
            assert known
            until[txn] = max(until[txn], now + life)
        except UsedTransactionsFull:
            assert not known
            assert sum(end > now for end in until.values()) >= 5
        else:
            assert not known
            passed[txn] = now
            until[txn] = max(now + life, now + 20.0)
        assert len(used) <= 5
