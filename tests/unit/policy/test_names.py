"""Patterns of subjects and hosts."""

import pytest

from proxy.policy.names import InvalidName, parse_hosts, parse_subjects


@pytest.mark.parametrize(
    ("subject", "speaks"),
    [
        ("alice", True),
        ("Alice", False),
        ("alice ", False),
        ("users/7", True),
        ("users/", True),
        ("users", False),
        ("", False),
    ],
)
def test_subjects(subject: str, speaks: bool) -> None:  # noqa: FBT001 - a row of the table
    """A name is exact, with its case; a * at the end is any end."""
    assert parse_subjects(("alice", "users/*")).have(subject) is speaks


def test_an_asterisk_alone_is_everybody() -> None:
    """As for actors."""
    assert parse_subjects(("*",)).have("anybody")


@pytest.mark.parametrize("pattern", ["", " alice", "a*b", "*x", "a\nb", "a**"])
def test_subjects_that_cannot_be_meant(pattern: str) -> None:
    """A * stands at the end, once; nothing is invisible."""
    with pytest.raises(InvalidName):
        parse_subjects((pattern,))


@pytest.mark.parametrize(
    ("authority", "answer"),
    [
        (b"orders", True),
        (b"ORDERS", True),
        (b"orders:1", True),
        (b"orders:80", True),
        (b"xorders", False),
        (b"ledger", False),
        (b"ledger:8443", True),
        (b"ledger:8444", False),
        (b"a.example.org", True),
        (b"a.b.example.org:9", True),
        (b"example.org", False),
        (b"aexample.org", False),
        (b"a.other.org:80", False),
        (b"a.other.org:81", True),
        (b"[::1]:8080", True),
        (b"[0:0::1]:8080", True),
        (b"", None),
        (b"orders.", None),
        (b"orders:", None),
        (b"orders:080", None),
        (b"u@orders", None),
        (b"\xff", None),
    ],
)
def test_hosts(authority: bytes, answer: bool | None) -> None:  # noqa: FBT001 - a row of the table
    """Without a port any port; what has no one reading cannot be told."""
    hosts = parse_hosts(("orders", "ledger:8443", "*.example.org", "*.other.org:81", "[::1]"))
    assert hosts.have(authority) is answer


@pytest.mark.parametrize(
    "pattern", ["", "*", "*.", "a.*", "*a.org", "orders:0", "orders:70000", "http://orders", "orders/"]
)
def test_hosts_that_cannot_be_meant(pattern: str) -> None:
    """One reading of each pattern, or none."""
    with pytest.raises(InvalidName):
        parse_hosts((pattern,))
