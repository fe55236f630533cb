"""What is with the app: found by mark or trace id, refused where it could be another's, bounded, forgotten in time."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import TransactionAmbiguous, TransactionsFull
from proxy.tokens.passage import Passage, Passages

GRACE_S = 2.0


def passages(entries: int = 100, size_bytes: int = 10_000) -> Passages:
    """A store whose marks are numbers."""
    numbers = itertools.count()
    return Passages(entries, size_bytes, GRACE_S, lambda count: next(numbers).to_bytes(count))


def enter(store: Passages, trace: bytes = b"T", raw: bytes = b"token", txn: str = "t", now: float = 0.0) -> Passage:
    """Remember one."""
    return store.enter(trace, raw, txn, 1e9, now)


def find(store: Passages, mark: bytes | None = None, trace: bytes = b"T", now: float = 0.0) -> bytes | None:
    """The token of what is found, by trace id too."""
    found = store.find(trace, mark, now, by_trace=True)
    return None if found is None else found.raw


def test_one_is_found_by_its_trace_and_by_its_mark() -> None:
    """And by nothing else; a trace id alone is believed only where that is wanted."""
    store = passages()
    mark = enter(store).mark
    assert find(store) == find(store, mark) == b"token"
    assert find(store, trace=b"U") is None
    assert store.find(b"T", None, 0.0, by_trace=False) is None
    assert store.find(b"T", mark, 0.0, by_trace=False) is not None
    assert find(store, b"0" * 31 + b"9") is None
    assert find(store, b"") is None
    with pytest.raises(TransactionAmbiguous):
        find(store, mark, trace=b"U")


def test_two_tokens_of_one_trace_are_told_apart_by_marks_alone() -> None:
    """The same token twice is no doubt; another one is, also of the same transaction."""
    store = passages()
    first, again = enter(store), enter(store)
    assert find(store) == b"token"
    other = enter(store, raw=b"replaced")
    with pytest.raises(TransactionAmbiguous):
        find(store)
    assert [find(store, each.mark) for each in (first, again, other)] == [b"token", b"token", b"replaced"]
    other.leave(0.0)
    with pytest.raises(TransactionAmbiguous):
        find(store, now=GRACE_S - 0.1)
    assert find(store, now=GRACE_S) == b"token"


def test_one_that_does_not_propagate_is_noted() -> None:
    """It has no token to give, and keeps another's from being taken for its own."""
    store = passages()
    silent = enter(store, raw=b"")
    assert find(store) is None
    assert find(store, silent.mark) is None
    victim = enter(store, raw=b"victim")
    with pytest.raises(TransactionAmbiguous):
        find(store)
    assert find(store, victim.mark) == b"victim"
    assert find(store, silent.mark) is None


def test_what_the_app_copied_is_compared_with_all_that_it_could_be() -> None:
    """``of`` gives each of them."""
    store = passages()
    first, other = enter(store, txn="a"), enter(store, raw=b"other", txn="b")
    assert {each.txn for each in store.of(b"T", None, 0.0, by_trace=True)} == {"a", "b"}
    assert [each.txn for each in store.of(b"T", other.mark, 0.0, by_trace=False)] == ["b"]
    assert list(store.of(b"T", None, 0.0, by_trace=False)) == []
    assert list(store.of(b"T", b"0" * 31 + b"9", 0.0, by_trace=True)) == []
    first.leave(0.0)
    assert {each.txn for each in store.of(b"T", None, GRACE_S, by_trace=True)} == {"b"}


def test_it_is_forgotten_after_the_grace_once() -> None:
    """Leaving twice changes nothing, and nothing is left behind."""
    store = passages()
    passage = enter(store)
    assert find(store, now=1000.0) == b"token", "in flight for long"
    passage.leave(1000.0)
    passage.leave(1001.0)
    assert find(store, now=1001.9) == b"token"
    assert find(store, now=1002.0) is None
    assert len(store) == store._bytes == len(store._by_trace) == len(store._leaving) == 0


def test_the_bound_of_entries() -> None:
    """In flight or in grace: the last that has room, the first that has none, and room again."""
    store = passages(entries=3)
    first, *_ = (enter(store, trace=bytes([number])) for number in range(3))
    with pytest.raises(TransactionsFull):
        enter(store)
    first.leave(0.0)
    with pytest.raises(TransactionsFull):
        enter(store, now=GRACE_S - 0.1)
    enter(store, now=GRACE_S)
    assert len(store) == 3


def test_the_bound_of_bytes() -> None:
    """Of tokens and their transactions: exactly as many, and not one more."""
    store = passages(size_bytes=20)
    enter(store, raw=b"x" * 9, txn="t")
    enter(store, raw=b"x" * 8, txn="tt")
    with pytest.raises(TransactionsFull):
        enter(store, raw=b"", txn="t")
    with pytest.raises(TransactionsFull):
        enter(passages(size_bytes=20), raw=b"x" * 20)
    assert len(store) == 2


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("enter"), st.integers(0, 2), st.integers(0, 3)),
        st.tuples(st.just("leave"), st.integers(0, 30), st.just(0)),
        st.tuples(st.just("wait"), st.integers(0, 4), st.just(0)),
    ),
    max_size=40,
)


@given(STEPS)
def test_never_the_token_of_another(steps: list[tuple[str, int, int]]) -> None:
    """Against a model: by trace id a token is found only if all who could be meant have it; by mark only its own."""
    store, model, now = passages(), list[tuple[Passage, float]](), 0.0
    for step, number, token in steps:
        if step == "enter":
            raw = b"" if token == 0 else b"token%d" % token
            model.append((enter(store, b"T%d" % number, raw, f"t{token}", now), float("inf")))
        elif step == "leave" and number < len(model):
            passage, ends = model[number]
            passage.leave(now)
            model[number] = (passage, min(ends, now + GRACE_S))
        elif step == "wait":
            now += number
        live = [passage for passage, ends in model if ends > now]
        for trace in (b"T0", b"T1", b"T2"):
            could = {passage.raw for passage in live if passage.trace_id == trace}
            if len(could) > 1:
                with pytest.raises(TransactionAmbiguous):
                    find(store, trace=trace, now=now)
            else:
                assert find(store, trace=trace, now=now) == (next(iter(could), b"") or None)
        for passage, ends in model:
            assert find(store, passage.mark, passage.trace_id, now) == ((passage.raw or None) if ends > now else None)
        assert len(store) == len(live)


def test_fullness() -> None:
    """The nearer one of both limits counts."""
    store = passages(entries=4, size_bytes=100)
    assert store.fullness == 0.0
    first = enter(store, raw=b"x", txn="")
    assert store.fullness == 0.25
    second = enter(store, raw=b"x" * 79, txn="")
    assert store.fullness == 0.8
    for one in (first, second):
        one.leave(0.0)
    store.sweep(GRACE_S)
    assert store.fullness == 0.0
