"""A list as bytes: whole, or refused with the line of each mistake."""

import json

import pytest
from support.revocation import NOW, entry

from proxy.config.revocation import read_yaml
from proxy.errors import RevocationsInvalid
from proxy.revocation.listing import MAX_BYTES, MAX_TOLD, read_listing

YAML = b"""\
# who is out
revoked:
  - spiffe_id: spiffe://example.org/edge
    because: its key was lost
  - {serial: 0x1f2e, issuer: example.org, end: cut}
  - sub: "12345"
    issued_before: 2023-11-14T22:13:20Z
"""


def test_yaml_and_json() -> None:
    """Say the same."""
    entries = (
        entry(spiffe_id="spiffe://example.org/edge", because="its key was lost"),
        entry(serial="0x1f2e", issuer="example.org", end="cut"),
        entry(sub="12345", issued_before=NOW),
    )
    assert read_listing(YAML, NOW, read_yaml) == entries
    written = [
        {"spiffe_id": "spiffe://example.org/edge", "because": "its key was lost"},
        {"serial": "1f:2e", "issuer": "example.org", "end": "cut"},
        {"sub": "12345", "issued_before": NOW},
    ]
    raw = json.dumps({"revoked": written}, indent=1).encode()
    assert read_listing(raw, NOW) == read_listing(b"\n " + raw, NOW, read_yaml) == entries
    assert read_listing(b"revoked: []\n", NOW, read_yaml) == read_listing(b'{"revoked": []}', NOW) == ()


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "empty"),
        (b"# nothing\n", "empty"),
        (b"revoked:\n", "no list"),
        (b"revoked: {}\n", "no list"),
        (b"- txn: a\n", "line 1: is not a list of entries under"),
        (b"revoked: []\nmore: 1\n", "under the one key"),
        (b"revoked: []\nrevoked: []\n", "line 2"),
        (b"revoked:\n  - txn: a\n  - txn: a\n    sub: b\n", r"line 3: revoked\[1\] names txn and sub"),
        (b"revoked:\n  - txn: a\n  - tx: a\n", r"line 3: revoked\[1\] has 1 unknown"),
        (b"revoked:\n  - txn: [a]\n", "line 2: txn is not one value"),
        (b"revoked:\n  - a\n", "line 2: an entry is a mapping"),
        (b"revoked:\n  - txn: !!str a\n", "line 2"),
        (b"revoked:\n  - txn: 'a\n", "line 2"),
        (b"revoked:\n  - txn: a\n    txn: b\n", "line 3"),
        (b"revoked:\n  - txn:\n", "txn is empty"),
        (b"\xff", "UTF-8"),
        (b'{"revoked": [{"txn": "a"}', "line 1: is not JSON"),
        (b'{"revoked": [\n{"txn": "a"},\n]}', "line [23]: is not JSON"),  # Python 3.13 names the comma's line
        (b'{"revoked": [{"txn": "a", "txn": "b"}]}', "two ways"),
        (b'{"revoked": [1]}', "an object for each"),
        (b'{"revoked": {}, "x": 1}', "an object for each"),
        (b'{"revoked": [{"txn": "a"}, {"serial": "1", "issuer": "example.org"}]}', r"revoked\[1\] write a serial"),
        (b" " * (MAX_BYTES + 1), "larger"),
    ],
)
def test_what_is_refused(raw: bytes, said: str) -> None:
    """Whole: a list without one of its entries would let somebody pass."""
    with pytest.raises(RevocationsInvalid, match=said):
        read_listing(raw, NOW, read_yaml)


def test_a_half_of_json_is_never_a_list() -> None:
    """Cut off anywhere."""
    raw = b'{"revoked": [{"txn": "a"}, {"txn": "b"}]}'
    for end in range(len(raw)):
        with pytest.raises(RevocationsInvalid):
            read_listing(raw[:end], NOW, read_yaml if end else None)


def test_mistakes_are_told_up_to_a_number() -> None:
    """A file of another kind does not fill the log."""
    raw = json.dumps({"revoked": [{"x": 1}] * (MAX_TOLD + 2)}).encode()
    with pytest.raises(RevocationsInvalid, match="and 2 more"):
        read_listing(raw, NOW)
