"""One entry as it is written: one reading, or a refusal that says what to write."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.revocation import NOW, entry

from proxy.policy.revocation import Ending, Kind
from proxy.policy.revocation_text import MAX_AHEAD_S, MAX_VALUE_CHARS, InvalidEntry, read_entry, write_entry


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({}, "names nothing"),
        ({"because": "x"}, "names nothing"),
        ({"txn": "a", "sub": "b"}, "txn and sub"),
        ({"txn": "a", "spiffe": "b"}, "unknown member"),
        ({"txn": ""}, "empty"),
        ({"txn": 5}, "not a text"),
        ({"txn": None}, "not a text"),
        ({"txn": ["a"]}, "not a text"),
        ({"txn": "a\n"}, "control character"),
        ({"txn": "a\x7f"}, "control character"),
        ({"sub": "a" * (MAX_VALUE_CHARS + 1)}, "longer"),
        ({"spiffe_id": "SPIFFE://example.org/edge"}, "SPIFFE ID"),
        ({"spiffe_id": "spiffe://Example.org/edge"}, "SPIFFE ID"),
        ({"spiffe_id": "spiffe://example.org/edge/"}, "SPIFFE ID"),
        ({"spiffe_id": "spiffe://example.org/*"}, "SPIFFE ID"),
        ({"spiffe_id": "spiffe://example.org/a", "issuer": "example.org"}, "issuer does not belong"),
        ({"serial": "0x1"}, "needs issuer"),
        ({"serial": "1234", "issuer": "example.org"}, "0x1f2e"),
        ({"serial": "abcd", "issuer": "example.org"}, "0x1f2e"),
        ({"serial": "0x", "issuer": "example.org"}, "0x1f2e"),
        ({"serial": "0x1 ", "issuer": "example.org"}, "0x1f2e"),
        ({"serial": "1:2", "issuer": "example.org"}, "0x1f2e"),
        ({"serial": "dec:0x1", "issuer": "example.org"}, "0x1f2e"),
        ({"serial": "dec:\u0661", "issuer": "example.org"}, "0x1f2e"),
        ({"serial": "-0x1", "issuer": "example.org"}, "0x1f2e"),
        ({"serial": "0x0", "issuer": "example.org"}, "positive"),
        ({"serial": "0x1" + "0" * 40, "issuer": "example.org"}, "20 octets"),
        ({"serial": "0x1", "issuer": "Example.org"}, "trust domain"),
        ({"serial": "0x1", "issuer": "C=US, O=SPIRE"}, "trust domain"),
        ({"serial": "0x1", "issuer": "example.org", "issued_before": 5}, "issued_before does not belong"),
        ({"token_sha256": "0f" * 31}, "64 hexadecimal"),
        ({"token_sha256": "0g" * 32}, "64 hexadecimal"),
        ({"token_sha256": "eyJ.eyJ.sig"}, "64 hexadecimal"),
        ({"txn": "a", "issued_before": 5}, "issued_before does not belong"),
        ({"act": "a", "issuer": "b"}, "issuer does not belong"),
        ({"issued_before": "yesterday"}, "2026-01-31"),
        ({"issued_before": "2026-01-31"}, "2026-01-31"),
        ({"issued_before": "2023-01-31T12:00:00"}, "2026-01-31"),
        ({"issued_before": "2023-02-31T12:00:00Z"}, "calendar"),
        ({"issued_before": True}, "2026-01-31"),
        ({"issued_before": -1}, "beyond"),
        ({"issued_before": float("nan")}, "beyond"),
        ({"issued_before": NOW * 1000}, "milliseconds"),
        ({"issued_before": NOW + MAX_AHEAD_S + 1}, "future"),
        ({"txn": "a", "expires": "soon"}, "expires"),
        ({"txn": "a", "end": "slowly"}, "drain or cut"),
        ({"txn": "a", "because": "x" * 201}, "longer"),
    ],
)
def test_what_is_refused(members: dict[str, object], said: str) -> None:
    """With a word of what would be right, and without a word of what was written."""
    with pytest.raises(InvalidEntry, match=said.replace("*", r"\*")):
        read_entry(members, NOW)


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("2023-11-14T22:13:20Z", NOW),
        ("2023-11-14t22:13:20z", NOW),
        ("2023-11-14T23:13:20+01:00", NOW),
        ("2023-11-14T22:13:20.5Z", NOW + 0.5),
        (int(NOW), NOW),
        ("1700000000", NOW),
        (NOW + MAX_AHEAD_S, NOW + MAX_AHEAD_S),
    ],
)
def test_moments(written: object, moment: float) -> None:
    """As people and programs write them, in whatever zone; never without one."""
    assert entry(issued_before=written).before == moment


def test_the_longest_serial() -> None:
    """20 octets are read, as RFC 5280 has it."""
    assert entry(serial="0x" + "f" * 40, issuer="example.org").value == "0x" + "f" * 40


def test_what_is_written_is_read_back() -> None:
    """To the last member."""
    for one in (
        entry(spiffe_id="spiffe://example.org/edge", end="cut", because="its key was lost", expires=NOW + 60),
        entry(serial="dec:7982", issuer="AB" * 32),
        entry(sub="alice", issuer="https://tts", issued_before=NOW - 0.5, end="drain"),
        entry(issued_before=NOW),
        entry(token_sha256="AB" * 32),
    ):
        assert read_entry(write_entry(one), NOW) == one
    assert entry(txn="t", end="cut").ending is Ending.CUT


@given(st.dictionaries(st.sampled_from([*Kind, "issuer", "expires", "end", "because", "x"]), st.text() | st.integers()))
def test_nothing_else_is_raised(members: dict[str, object]) -> None:
    """Whatever is written; and what is read is written again as the same."""
    try:
        read = read_entry(members, NOW)
    except InvalidEntry:
        return
    assert read_entry(write_entry(read), NOW) == read
