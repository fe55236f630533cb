"""How an authority may be spelled."""

import pytest

from proxy.policy.authority import MAX_HOST, MAX_PORT, Authority, InvalidAuthority, parse_authority

ACCEPTED = [
    ("ledger", "ledger", None),
    ("Ledger.Default.SVC", "ledger.default.svc", None),
    ("ledger:8080", "ledger", 8080),
    ("my_service-1:1", "my_service-1", 1),
    ("127.0.0.1:80", "127.0.0.1", 80),
    ("xn--caf-dma.example", "xn--caf-dma.example", None),
    ("[::1]", "::1", None),
    ("[::1]:8080", "::1", 8080),
    ("[0:0:0:0:0:0:0:1]:8080", "::1", 8080),
    ("[2001:DB8::A]", "2001:db8::a", None),
    ("[::ffff:1.2.3.4]", "::ffff:1.2.3.4", None),
]

REFUSED = [
    "",
    ":80",
    "ledger:",
    "ledger.",
    "ledger.:80",
    ".ledger",
    "a..b",
    "ledger:0",
    "ledger:080",
    "ledger:+80",
    "ledger:-1",
    "ledger:8_0",
    "ledger:٨٠",
    "ledger:80 ",
    " ledger",
    "ledger\t",
    "ledger\n",
    "ledger\0",
    "ledger:80:80",
    "user@ledger",
    "user:pass@ledger:80",
    "@ledger",
    "ledger/path",
    "ledger?x",
    "ledger#x",
    "http://ledger",
    "led%67er",
    "*",
    "*.example",
    "a,b",
    "café",
    "\u212aledger",  # the Kelvin sign, which lower() makes a k
    "[::1",
    "::1",
    "[::1]80",
    "[::1%eth0]",
    "[::1%25eth0]",
    "[::g]",
    "[1:2]",
    "[]",
    "[v1.x]",
    "[127.0.0.1]",
]


@pytest.mark.parametrize(("raw", "host", "port"), ACCEPTED)
def test_what_an_authority_is_understood_as(raw: str, host: str, port: int | None) -> None:
    """One spelling for each: small letters, and the short form of an IPv6 address."""
    if "ffff" in raw:
        assert parse_authority(raw) == parse_authority("[::ffff:102:304]")
        return
    assert parse_authority(raw) == Authority(host, port)
    assert parse_authority(str(parse_authority(raw))) == Authority(host, port)


@pytest.mark.parametrize("raw", REFUSED)
def test_what_could_be_read_twice_is_refused(raw: str) -> None:
    """No user, no empty or odd port, no dot at the end, no other script, no list."""
    with pytest.raises(InvalidAuthority):
        parse_authority(raw)


def test_the_longest_host() -> None:
    """MAX_HOST characters, one more is refused."""
    assert parse_authority("a" * MAX_HOST).host == "a" * MAX_HOST
    with pytest.raises(InvalidAuthority, match=str(MAX_HOST)):
        parse_authority("a" * (MAX_HOST + 1))


def test_the_highest_port() -> None:
    """MAX_PORT, one more is refused, and so are six digits."""
    assert parse_authority(f"a:{MAX_PORT}").port == MAX_PORT
    for port in (MAX_PORT + 1, 100_000):
        with pytest.raises(InvalidAuthority):
            parse_authority(f"a:{port}")
