"""Hosts, ports and URLs, read in one way only."""

import pytest

from proxy.config.address import HostPort, is_ip, is_loopback, parse_host, parse_host_port, parse_url
from proxy.config.value import Unfit


@pytest.mark.parametrize(
    ("raw", "host", "port"),
    [
        ("0.0.0.0:15006", "0.0.0.0", 15006),
        ("[::1]:15001", "::1", 15001),
        ("[::ffff:10.0.0.1]:1", "::ffff:10.0.0.1", 1),
        ("ledger.default.svc:65535", "ledger.default.svc", 65535),
        ("localhost:0", "localhost", 0),
        ("my_app-1:80", "my_app-1", 80),
    ],
)
def test_host_and_port(raw: str, host: str, port: int) -> None:
    """IPv6 stands in brackets, and is written so again."""
    assert parse_host_port(raw) == (host, port)
    assert str(parse_host_port(raw)) == raw


@pytest.mark.parametrize(
    ("raw", "advice"),
    [
        ("15006", "is a port without a host: write host:port, for example 0.0.0.0:15006"),
        (":15006", "is a port without a host"),
        ("*:15006", "write 0.0.0.0 (or [::]) for every interface"),
        ("::1:15006", "an IPv6 address stands in brackets"),
        ("ledger", "has no port: write host:port"),
        ("22:22", "ends in a number, but is not an IP address"),
        ("a.1.2:80", "ends in a number"),
        ("256.1.1.1:80", "ends in a number"),
        ("01.2.3.4:80", "ends in a number"),
        ("a:65536", "has a port above 65535"),
        ("[10.0.0.1]:80", "brackets are for IPv6 alone"),
        ("[::g]:80", ""),
        ("a b:80", "neither a host name nor an IP address"),
        ("a:٨٠", ""),
        ("a:+80", ""),
        ("a@b:80", ""),
        ("-a:80", "neither a host name"),
        ("a..b:80", "neither a host name"),
        ("", "has no port"),
    ],
)
def test_what_is_no_address_is_explained(raw: str, advice: str) -> None:
    """Typing slips have advice; nothing is guessed."""
    with pytest.raises(Unfit) as caught:
        parse_host_port(raw)
    assert advice in str(caught.value)


def test_the_length_of_a_host() -> None:
    """A name of the DNS has at most 253 characters, and a label 63."""
    name = ".".join(["a" * 63] * 3 + ["b" * 61])
    assert parse_host(name) == name
    with pytest.raises(Unfit):
        parse_host(name + "c")
    with pytest.raises(Unfit):
        parse_host("a" * 64)


@pytest.mark.parametrize(
    ("raw", "scheme", "host", "port", "path"),
    [
        ("https://tts.default.svc/token", "https", "tts.default.svc", 443, "/token"),
        ("http://127.0.0.1:8080", "http", "127.0.0.1", 8080, ""),
        ("https://[::1]:8443/a?b=c", "https", "::1", 8443, "/a?b=c"),
        ("https://[::1]/", "https", "::1", 443, "/"),
    ],
)
def test_urls(raw: str, scheme: str, host: str, port: int, path: str) -> None:
    """Scheme, address and path; the port of the scheme where none is written."""
    assert parse_url(raw) == (scheme, (host, port), path, raw)
    assert str(parse_url(raw)) == raw


@pytest.mark.parametrize(
    "raw",
    [
        "https://user:secret@tts/",
        "https://tts@evil.example/",
        "https://tts/#x",
        "https:\\\\tts/",
        "https://tts\\@evil/",
        "ftp://tts/",
        "HTTPS://tts/",
        "https:///token",
        "https://tts?x",
        "https://tts/a b",
        "https://tts/ü",
        "https://tts:99999/",
        "https://1.2/",
        "//tts/",
        "tts",
    ],
)
def test_no_url(raw: str) -> None:
    """Credentials, fragments, backslashes: whatever another reader could read as another host."""
    with pytest.raises(Unfit):
        parse_url(raw)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost", "LOCALHOST."])
def test_loopback(host: str) -> None:
    """What only this machine can reach."""
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "10.0.0.1", "localhost.example.org", "127.0.0.1.nip.io", "1270.0.1", ""]
)
def test_no_loopback(host: str) -> None:
    """What only looks like it."""
    assert not is_loopback(host)
    assert is_ip(host) == (host in {"0.0.0.0", "::", "10.0.0.1"})


def test_written_with_brackets() -> None:
    """An address can be pasted into a URL."""
    assert str(HostPort("::", 80)) == "[::]:80"
