"""The mesh's own words: what each takes, and what it says of the rest."""

from collections.abc import Callable
from typing import Any

import pytest

from proxy.config import word
from proxy.config.value import Unfit, Value
from proxy.flow.settings import AppProtocol

TAKEN: list[tuple[Callable[[], Value[Any]], str]] = [
    (word.listen_address, "[::]:0"),
    (word.listen_address, "localhost:15001"),
    (word.loopback_address, "127.0.0.1:15000"),
    (word.loopback_address, "[::1]:15000"),
    (word.dial_address, "ledger.default.svc:15006"),
    (word.dial_address, "[2001:db8::1]:1"),
    (word.called_host, "ledger"),
    (word.called_host, "ledger:8080"),
    (word.called_host, "[::1]"),
    (word.called_host, "[::1]:80"),
    (word.app_url, "http://127.0.0.1:8080"),
    (word.app_url, "http://localhost/"),
    (word.https_url, "https://tts.default.svc/token?a=b"),
    (word.keys_location, "jwks.json"),
    (word.keys_location, "/etc/a b/jwks.json"),
    (word.keys_location, "http://127.0.0.1:1/jwks"),
    (word.spiffe_id, "spiffe://example.org/ns/a/sa/b"),
    (word.trust_domain, "example.org"),
    (word.scope, "orders.read:all/x"),
    (word.file_path, "../svid.pem"),
]

REFUSED: list[tuple[Callable[[], Value[Any]], str, str]] = [
    (word.listen_address, "ledger:15006", "listen on an IP address of this machine"),
    (word.listen_address, "15006", "is a port without a host"),
    (word.loopback_address, "0.0.0.0:15000", "whoever reaches the admin port can end this sidecar"),
    (word.loopback_address, "10.0.0.1:15000", "write 127.0.0.1:15000"),
    (word.dial_address, "ledger:0", "has port 0"),
    (word.dial_address, "ledger.:80", "is refused: write host, host:port"),
    (word.dial_address, "ledger", "has no port"),
    (word.called_host, "http://ledger/", "is a URL: write the host alone"),
    (word.called_host, "ledger/x", "neither a host name"),
    (word.called_host, "ledger:0", "has port 0"),
    (word.called_host, "*", "for every interface"),
    (word.app_url, "127.0.0.1:8080", "has no scheme: write http://127.0.0.1:8080"),
    (word.app_url, "https://127.0.0.1:8443", "the sidecar ends TLS and speaks plain HTTP to the app"),
    (word.app_url, "http://127.0.0.1:8080/api", "has a path: requests keep their own"),
    (word.app_url, "http://127.0.0.1:0", "has port 0"),
    (word.https_url, "http://tts/token", "tokens travel over TLS alone"),
    (word.https_url, "tts/token", ""),
    (word.keys_location, "ftp://tts/jwks", ""),
    (word.keys_location, "HTTPS://tts/jwks", ""),
    (word.keys_location, "file:///etc/jwks", ""),
    (word.spiffe_id, "spiffe://Example.org/a", "lower case"),
    (word.spiffe_id, "spiffe://example.org", "names a trust domain; a workload has a path too"),
    (word.spiffe_id, "example.org/a", "must begin with spiffe://"),
    (word.trust_domain, "spiffe://example.org", "a trust domain is the name alone"),
    (word.trust_domain, "Example.org", "in lower case"),
    (word.scope, "orders read", ""),
    (word.scope, 'a"b', ""),
    (word.scope, "a\\b", ""),
    (word.file_path, "a\nb", "cannot be printed"),
]


@pytest.mark.parametrize(("kind", "raw"), TAKEN)
def test_taken(kind: Callable[[], Value[Any]], raw: str) -> None:
    """These are written by people, and mean one thing."""
    kind().parse(raw)


@pytest.mark.parametrize(("kind", "raw", "why"), REFUSED)
def test_refused(kind: Callable[[], Value[Any]], raw: str, why: str) -> None:
    """Each with what would be right."""
    with pytest.raises(Unfit) as caught:
        kind().parse(raw)
    assert why in str(caught.value)


@pytest.mark.parametrize("kind", sorted({kind for kind, _ in TAKEN}, key=repr))
def test_examples_are_right(kind: Callable[[], Value[Any]]) -> None:
    """What a message offers as an example is taken."""
    kind().parse(kind().example)


def test_localhost_is_an_address() -> None:
    """Where we listen, names are not resolved: this one is what everybody takes it for."""
    assert word.listen_address().parse("localhost:1") == ("127.0.0.1", 1)
    assert word.loopback_address().parse("localhost:1") == ("127.0.0.1", 1)


def test_an_app_of_raw_tcp() -> None:
    """As the design has it; there is nothing behind its port."""
    assert word.app_url().parse("tcp://127.0.0.1:5432") == ("127.0.0.1", 5432, AppProtocol.TCP)
    assert word.app_url().parse("http://[::1]:80/") == ("::1", 80, AppProtocol.HTTP)
    for raw in ("tcp://127.0.0.1:0", "tcp://127.0.0.1", "tcp://127.0.0.1:5432/db", "tcp://u@h:1", "tcp:127.0.0.1:1"):
        with pytest.raises(Unfit):
            word.app_url().parse(raw)


@pytest.mark.parametrize(
    ("kind", "longest"), [(word.scope, "s" * 256), (word.file_path, "p" * 4096), (word.keys_location, "k" * 4096)]
)
def test_lengths(kind: Callable[[], Value[Any]], longest: str) -> None:
    """At the limit it is taken, one more is refused."""
    kind().parse(longest)
    with pytest.raises(Unfit, match="is longer than"):
        kind().parse(longest + "x")
