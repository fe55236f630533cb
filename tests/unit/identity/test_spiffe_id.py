"""SPIFFE IDs: one reading, lower case, nothing decoded."""

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.identity.spiffe_id import (
    MAX_BYTES,
    MAX_TRUST_DOMAIN_BYTES,
    InvalidSpiffeId,
    SpiffeId,
    parse_trust_domain,
)

JAVA_ALONE = {"SPIFFE://trustdomain/path", "SpIfFe://TrUsTdOmAiN/Workload"}
"""Upper case that java-spiffe folds; the collection has no other library's word on them, and so calls them accepted."""


def is_accepted(raw: str) -> bool:
    """What ``SpiffeId.parse`` says."""
    try:
        SpiffeId.parse(raw)
    except InvalidSpiffeId:
        return False
    return True


@pytest.mark.parametrize(
    ("raw", "trust_domain", "path"),
    [
        ("spiffe://example.org", "example.org", ""),
        ("spiffe://example.org/orders", "example.org", "/orders"),
        ("spiffe://10.0.0.1/ns/a_b/sa/C-d.e", "10.0.0.1", "/ns/a_b/sa/C-d.e"),
        ("spiffe://-._/...", "-._", "/..."),
        ("spiffe://a/.b/..c", "a", "/.b/..c"),
    ],
)
def test_parts(raw: str, trust_domain: str, path: str) -> None:
    """A valid ID falls into trust domain and path, and comes back as it was."""
    spiffe_id = SpiffeId.parse(raw)
    assert (spiffe_id.trust_domain, spiffe_id.path, str(spiffe_id)) == (trust_domain, path, raw)


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "spiffe:/example.org/a",
        "spiffe//example.org/a",
        " spiffe://example.org/a",
        "https://example.org/a",
        "Spiffe://example.org/a",
        "spiffe://Example.org/a",
        "spiffe://",
        "spiffe:///a",
        "spiffe://example.org/",
        "spiffe://example.org//a",
        "spiffe://example.org/a/",
        "spiffe://example.org/a//b",
        "spiffe://example.org/.",
        "spiffe://example.org/a/../b",
        "spiffe://example.org/a\n",
        "spiffe://example.org/a\0",
        "spiffe://example.org\n",
        "spiffe://example.org/a%2fb",
        "spiffe://exa%6dple.org/a",
        "spiffe://example.org:443/a",
        "spiffe://user@example.org/a",
        "spiffe://[::1]/a",
        "spiffe://example.org/a?b",
        "spiffe://example.org/a#b",
        "spiffe://example.org?a",
        "spiffe://example.org\\a",
        "spiffe://ехample.org/a",  # noqa: RUF001 - Cyrillic letters that look Latin
        "spiffe://example.org/ａ",  # noqa: RUF001 - a wide letter, which re's \w would take
        "spiffe://example.org/a٣",  # a digit of another script, which str.isdigit would take
    ],
)
def test_refused(raw: str) -> None:
    """Whatever another reader could take for another identity is refused."""
    assert not is_accepted(raw)


def test_longest() -> None:
    """2048 bytes are read, 2049 are not."""
    head = "spiffe://example.org/"
    longest = head + "a" * (MAX_BYTES - len(head))
    assert is_accepted(longest)
    assert not is_accepted(longest + "a")


def test_longest_trust_domain() -> None:
    """255 bytes are a trust domain, 256 are not."""
    longest = "a" * MAX_TRUST_DOMAIN_BYTES
    assert parse_trust_domain(longest) == longest
    with pytest.raises(InvalidSpiffeId):
        parse_trust_domain(longest + "a")


@pytest.mark.parametrize("raw", ["", "spiffe://example.org", "example.org/", "example.org/a", "EXAMPLE.ORG", "a b"])
def test_trust_domain_is_a_bare_name(raw: str) -> None:
    """A trust domain is configured by its bare name."""
    with pytest.raises(InvalidSpiffeId):
        parse_trust_domain(raw)


def test_only_valid_ids_exist() -> None:
    """The type itself refuses parts that no ID has, so holding one proves that it is valid."""
    with pytest.raises(InvalidSpiffeId):
        SpiffeId(trust_domain="example.org/a", path="/b")
    with pytest.raises(InvalidSpiffeId):
        SpiffeId(trust_domain="example.org", path="b")


def test_message_does_not_repeat_the_input() -> None:
    """What came from outside reaches no log through the message."""
    with pytest.raises(InvalidSpiffeId) as caught:
        SpiffeId.parse("spiffe://example.org/s3cret s3cret")
    assert "s3cret" not in str(caught.value)


@given(st.text(alphabet="spife:/.%@aA-_ \n\0é", max_size=30).map(lambda tail: "spiffe://" + tail))
def test_one_spelling_for_each_id(raw: str) -> None:
    """Whatever is accepted is written back byte for byte: no two spellings are one ID."""
    if is_accepted(raw):
        assert str(SpiffeId.parse(raw)) == raw
        assert raw.isascii()


@pytest.mark.shared
def test_published_ids(shared_testdata: Path) -> None:
    """602 IDs of three libraries: all as the verdict says; the disputed (upper case) are refused."""
    cases = json.loads((shared_testdata / "spiffe-ids" / "spiffe_ids.derived.json").read_text())["cases"]
    found = Counter((case["verdict"], is_accepted(case["id"])) for case in cases if case["id"] not in JAVA_ALONE)
    assert found == {("accept", True): 133, ("reject", False): 438, ("disputed", False): 29}
    assert [is_accepted(case["id"]) for case in cases if case["id"] in JAVA_ALONE] == [False, False]


@pytest.mark.shared
def test_published_java_list(shared_testdata: Path) -> None:
    """The list that java-spiffe reads."""
    lines = (shared_testdata / "spiffe-java/testdata/spiffeid/spiffeIds.txt").read_text().split()
    assert len(lines) == 4
    assert all(is_accepted(line) for line in lines)
