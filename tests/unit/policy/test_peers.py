"""Which SPIFFE IDs a pattern of peers matches."""

import pytest

from proxy.identity.spiffe_id import SpiffeId
from proxy.policy.peers import InvalidPattern, parse_pattern, patterns_of

MATCHES = [
    ("spiffe://td.example/a", "spiffe://td.example/a", True),
    ("spiffe://td.example/a", "spiffe://td.example/a/b", False),
    ("spiffe://td.example/a", "spiffe://td.example/A", False),
    ("spiffe://td.example/a", "spiffe://td.example.org/a", False),
    ("spiffe://td.example/a/*", "spiffe://td.example/a/b", True),
    ("spiffe://td.example/a/*", "spiffe://td.example/a/b/c", True),
    ("spiffe://td.example/a/*", "spiffe://td.example/a", False),
    ("spiffe://td.example/a/*", "spiffe://td.example/ab", False),
    ("spiffe://td.example/a/*", "spiffe://td.example/ab/c", False),
    ("spiffe://td.example/a/*", "spiffe://other.example/a/b", False),
    ("spiffe://td.example/*", "spiffe://td.example/a", True),
    ("spiffe://td.example/*", "spiffe://td.example/a/b/c", True),
    ("spiffe://td.example/*", "spiffe://td.example", False),
    ("spiffe://td.example/*", "spiffe://td.example.org/a", False),
    ("spiffe://td.example/*", "spiffe://other.td.example/a", False),
]

REFUSED = [
    "",
    "*",
    "spiffe://*",
    "spiffe://*/a",
    "spiffe://*.example/a",
    "spiffe://td.example",
    "spiffe://td.example/",
    "spiffe://td.example/a/",
    "spiffe://td.example/a*",
    "spiffe://td.example/*/b",
    "spiffe://td.example/a/*/b",
    "spiffe://td.example/**",
    "spiffe://td.example/a/**",
    "spiffe://td.example/*/*",
    "spiffe://td.example/a/.*",
    "spiffe://td.example//*",
    "spiffe://td.example/a?/*",
    "spiffe://td.example/[ab]",
    "spiffe://td.example/../*",
    "spiffe://TD.example/a",
    "SPIFFE://td.example/a",
    "https://td.example/a",
    "td.example/a",
    " spiffe://td.example/a",
    "spiffe://td.example/a\n",
    "spiffe://td.example:8443/a",
]


@pytest.mark.parametrize(("pattern", "uri", "expected"), MATCHES)
def test_which_ids_a_pattern_matches(pattern: str, uri: str, *, expected: bool) -> None:
    """Exactly the ID, all strictly below a path by whole segments, or every workload of the domain."""
    assert parse_pattern(pattern) == pattern
    assert (pattern in patterns_of(SpiffeId.parse(uri))) is expected


@pytest.mark.parametrize("raw", REFUSED)
def test_no_other_pattern_is_taken(raw: str) -> None:
    """No regex, no star within, no whole world; the message says what there is."""
    with pytest.raises(InvalidPattern) as caught:
        parse_pattern(raw)
    assert "spiffe://td/path/*" in str(caught.value)


def test_a_peer_matches_its_id_and_one_pattern_for_each_segment() -> None:
    """All that is ever looked up for one peer."""
    assert list(patterns_of(SpiffeId.parse("spiffe://td.example/a/b"))) == [
        "spiffe://td.example/a/b",
        "spiffe://td.example/a/*",
        "spiffe://td.example/*",
    ]
