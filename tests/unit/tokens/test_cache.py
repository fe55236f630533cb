"""cache.py: bounded, and what is in use stays."""

from dataclasses import replace

import pytest
from support.tokens import TokenMint

from proxy.tokens.cache import MAX_BYTES, TokenCache
from proxy.tokens.claims import TxnToken, read_claims

TOKEN = read_claims(TokenMint().claims(0), "digest")


def name(number: int) -> bytes:
    """Make the bytes of one of many tokens."""
    return b"token-%d" % number


def test_recall() -> None:
    """What was remembered is recalled by its exact bytes, in whatever object they come."""
    cache = TokenCache(10)
    assert cache.recall(b"raw") is None
    cache.remember(b"raw", TOKEN)
    assert cache.recall(bytes(bytearray(b"raw"))) is TOKEN
    assert cache.recall(b"raw ") is None
    assert cache.recall(b"Raw") is None


@pytest.mark.parametrize("bound", [2, 3, 10, 1000])
def test_entries_n_and_n_plus_1(bound: int) -> None:
    """Never more than the bound, however many come."""
    cache = TokenCache(bound)
    for number in range(bound * 3 + 1):
        cache.remember(name(number), TOKEN)
        assert 1 <= len(cache) <= bound
        assert cache.recall(name(number)) is TOKEN


@pytest.mark.parametrize("bound", [0, 1])
def test_no_cache(bound: int) -> None:
    """A bound below two is no cache."""
    cache = TokenCache(bound)
    cache.remember(b"raw", TOKEN)
    assert cache.recall(b"raw") is None
    assert len(cache) == 0


def test_the_last_half_is_always_there() -> None:
    """At least the newest half of the bound is held."""
    cache = TokenCache(10)
    for number in range(100):
        cache.remember(name(number), TOKEN)
        assert all(name(recent) in {*cache._young, *cache._old} for recent in range(max(0, number - 4), number + 1))


def test_a_token_in_use_survives_a_flood() -> None:
    """What is asked for stays young while a hundred times the bound of others goes by."""
    cache = TokenCache(10)
    cache.remember(b"hot", TOKEN)
    cache.remember(b"cold", TOKEN)
    for number in range(1000):
        cache.remember(name(number), TOKEN)
        if number % 4 == 0:
            assert cache.recall(b"hot") is TOKEN
        assert len(cache) <= 10
    assert cache.recall(b"cold") is None


def test_clear() -> None:
    """Nothing is left of either generation."""
    cache = TokenCache(4)
    for number in range(4):
        cache.remember(name(number), TOKEN)
    cache.clear()
    assert len(cache) == 0
    assert [cache.recall(name(number)) for number in range(4)] == [None] * 4


def test_bytes_are_bounded_whatever_the_entries() -> None:
    """Large tokens push each other out long before there are many; the newest is always there."""
    cache, size = TokenCache(1_000_000), 16 * 1024
    most = 0
    for number in range(3 * MAX_BYTES // size):
        raw = name(number).ljust(size, b".")
        cache.remember(raw, TOKEN)
        assert cache.recall(raw) is TOKEN
        most = max(most, len(cache) * size)
    assert MAX_BYTES // 2 <= most <= MAX_BYTES + 2 * size


@pytest.mark.parametrize("forget", ["flood", "doubt", "clear"])
def test_large_tokens_of_before_do_not_count(forget: str) -> None:
    """What has gone takes no room: a bound of small tokens is held again."""
    cache = TokenCache(8, lambda _: True)
    for number in range(4):
        cache.remember(name(number).ljust(MAX_BYTES // 6, b"."), TOKEN)
    if forget == "doubt":
        cache.doubt()
    elif forget == "clear":
        cache.clear()
    for number in range(4):
        cache.remember(name(number), TOKEN)
    assert all(cache.recall(name(number)) is TOKEN for number in range(4))
    assert len(cache._young) == 4


def test_doubt_of_large_tokens_loses_none() -> None:
    """Their bytes were counted once, and the next that comes pushes none of them out."""
    cache = TokenCache(8, lambda _: True)
    large = [name(number).ljust(MAX_BYTES // 6, b".") for number in range(4)]
    for raw in large:
        cache.remember(raw, TOKEN)
    cache.doubt()
    cache.remember(b"small", TOKEN)
    assert cache.recall(large[-1]) is TOKEN


def test_doubt_of_more_than_the_bound_keeps_the_newest() -> None:
    """What was asked for last is what is asked anew."""
    cache = TokenCache(4, lambda _: True)
    for _ in range(2):
        for number in range(4):
            cache.remember(name(number), TOKEN)
        cache.doubt()
        cache.remember(b"newest", TOKEN)
        cache.doubt()
        assert cache.recall(b"newest") is TOKEN


def test_doubt_asks_anew_and_loses_nothing() -> None:
    """Each token is asked about once more, when it is next recalled; those that are good stay remembered."""
    asked: list[TxnToken] = []
    bad: list[TxnToken] = []

    def is_good(token: TxnToken) -> bool:
        asked.append(token)
        return token not in bad

    cache = TokenCache(8, is_good)
    tokens = {name(number): replace(TOKEN, txn=f"t{number}") for number in range(4)}
    for raw, token in tokens.items():
        cache.remember(raw, token)
    cache.doubt()
    cache.doubt()
    bad.append(tokens[name(0)])
    assert [cache.recall(raw) is not None for raw in tokens] == [False, True, True, True]
    assert len(asked) == 4
    assert [cache.recall(raw) is not None for raw in tokens] == [False, True, True, True]
    assert len(asked) == 4
    assert len(cache) == 3


def test_doubt_holds_the_bound() -> None:
    """However often it comes."""
    cache = TokenCache(8, lambda _: True)
    for number in range(100):
        cache.remember(b"%d" % number, TOKEN)
        if number % 3 == 0:
            cache.doubt()
        assert len(cache) <= 12
