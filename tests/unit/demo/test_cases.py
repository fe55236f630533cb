"""The list of cases is whole, and holds together."""

import pytest

from proxy.demo.cases import CASES, Case, Door
from proxy.errors import REASONS
from proxy.flow.rescue import CONNECTION_ONLY, RESCUES

NAMES = [case.name for case in CASES]

PROMISED = {
    "no token": "token_missing",
    "two tokens": "token_repeated",
    "expired token": "token_expired",
    "token for another audience": "token_wrong_audience",
    "forged signature": "token_bad_signature",
    "token lacks the route's scope": "scope_missing",
    "scope beyond edge's connection": "scope_beyond_grant",
    "peer that no rule names": "peer_not_allowed",
    "certificate from a foreign CA": "untrusted_chain",
    "plaintext to the mTLS port": "plaintext",
}
"""What the README promises, by name."""


def test_what_was_promised_is_there() -> None:
    """Each by its reason; and the allowed chain, with a body and without."""
    reasons = {case.name: case.reason for case in CASES}
    assert PROMISED.items() <= reasons.items()
    allowed = {case.attempt.method for case in CASES if case.verdict == "allow" and case.attempt.door is Door.APP}
    assert allowed == {"GET", "POST"}


def test_names_are_names() -> None:
    """One for each, that fits into its column."""
    assert len(set(NAMES)) == len(NAMES)
    assert max(map(len, NAMES)) <= 32


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_reason_and_status_are_those_of_the_house(case: Case) -> None:
    """What ends a connection before HTTP has no status; everything else has the one of the table."""
    if case.reason is None:
        assert case.status in {200, 201}
    else:
        assert case.reason in REASONS
        expected = None if case.reason in CONNECTION_ONLY else RESCUES[case.reason].status
        assert case.status == expected
    assert case.ways, "somebody must have seen it"
