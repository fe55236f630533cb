"""Whom the app may call, by the authority that it names."""

import pytest

from proxy.errors import BadHost, DestinationUnknown
from proxy.policy.compile import compile_destinations
from proxy.policy.destinations import Destinations
from proxy.policy.settings import DestinationSettings, Protection


def listed(*hosts: str) -> Destinations:
    """Return a destination for each of these hosts."""
    return compile_destinations(
        [DestinationSettings(host=host, address="10.0.0.1:1", protection=Protection.PLAIN) for host in hosts],
        "example.org",
    )


FOUND = [
    ("ledger", b"ledger"),
    ("ledger", b"LEDGER"),
    ("ledger", b"ledger:80"),
    ("ledger", b"ledger:15006"),
    ("ledger:80", b"ledger"),
    ("ledger:80", b"Ledger:80"),
    ("ledger:8080", b"ledger:8080"),
    ("LEDGER", b"ledger"),
    ("[::1]:80", b"[::1]"),
    ("[::1]", b"[0::1]:99"),
]

UNKNOWN = [
    ("ledger", b"ledger.evil.example"),
    ("ledger", b"xledger"),
    ("ledger", b"ledge"),
    ("ledger:8080", b"ledger"),
    ("ledger:8080", b"ledger:80"),
    ("ledger:80", b"ledger:443"),
    ("127.0.0.1", b"127.1"),
    ("127.0.0.1", b"0x7f000001"),
]

BAD = [
    b"",
    b"ledger.",
    b"user@ledger",
    b"ledger:",
    b"ledger:080",
    b"ledger ledger",
    b"ledger,ledger",
    b"l\xc3\xa9dger",
    b"\xff",
]


@pytest.mark.parametrize(("host", "authority"), FOUND)
def test_a_destination_is_found(host: str, authority: bytes) -> None:
    """Without case; a host without a port is found at any, and 80 is the port of http."""
    permit = listed(host).permit(authority)
    assert permit.destination is not None
    assert permit.rule == permit.destination.name == host.lower()
    assert permit.route == ""


@pytest.mark.parametrize(("host", "authority"), UNKNOWN)
def test_no_other_destination_is_found(host: str, authority: bytes) -> None:
    """Names are compared whole, and never resolved."""
    with pytest.raises(DestinationUnknown):
        listed(host).permit(authority)


@pytest.mark.parametrize("authority", BAD)
def test_a_malformed_authority_is_no_unknown_destination(authority: bytes) -> None:
    """It is refused as a bad Host, without a word of it."""
    with pytest.raises(BadHost) as caught:
        listed("ledger").permit(authority)
    assert "ledger" not in str(caught.value)


@pytest.mark.parametrize("hosts", [("ledger", "ledger:80", "ledger:8080"), ("ledger:8080", "ledger:80", "ledger")])
def test_a_destination_with_the_port_stands_before_one_for_any(hosts: tuple[str, ...]) -> None:
    """In any order of the file."""
    known = listed(*hosts)
    for authority, name in (
        (b"ledger", "ledger:80"),
        (b"ledger:80", "ledger:80"),
        (b"LEDGER", "ledger:80"),
        (b"ledger:8080", "ledger:8080"),
        (b"ledger:9", "ledger"),
    ):
        assert known.permit(authority).rule == name


def test_without_destinations_every_call_is_refused() -> None:
    """Default deny, outbound too."""
    with pytest.raises(DestinationUnknown):
        listed().permit(b"ledger")


def test_calls_leave_nothing_behind() -> None:
    """The same Permit for every call, and no spelling of a caller is kept."""
    known = listed("ledger")
    assert known.permit(b"ledger") is known.permit(b"LEDGER:99")
    before = len(known._by_spelling)
    for port in range(1, 1000):
        known.permit(b"ledger:%d" % port)
    assert len(known._by_spelling) == before
