"""What a sidecar would do, in words that a person who did not write the YAML can check."""

from pathlib import Path

from support.yaml_text import GOOD, INBOUND, OUTBOUND, WHO

from proxy.config.load import load_text
from proxy.config.summary import summarise

SERVICE = "service: {url: 'https://tts:1/token', spiffe_id: spiffe://example.org/tts}"


def _words(text: str, folder: Path = Path("/nowhere")) -> str:
    return "\n".join(summarise(load_text(text, folder, {})))


def test_all_of_it(tmp_path: Path) -> None:
    """Listeners, files and whether they are there, keys, destinations, policy, ports."""
    (tmp_path / "svid.pem").write_text("")
    words = _words(GOOD, tmp_path)
    for part in (
        "service orders of trust domain example.org",
        f"SVID {tmp_path}/svid.pem (there), key {tmp_path}/svid_key.pem (not there)",
        "inbound: takes mTLS (TLS 1.3) on 0.0.0.0:15006; what is allowed goes to http://127.0.0.1:8080",
        "outbound: takes the app's HTTP on 127.0.0.1:15001; 1 destination",
        f"tokens: for audience example.org, verified with the keys in {tmp_path}/jwks.json (not there)",
        "rule 'edge may order': peers spiffe://example.org/edge",
        "GET /orders/{id} with scope orders.read",
        "ledger.default.svc:15006 over mTLS, if spiffe://example.org/ledger answers",
        "metrics: http://0.0.0.0:15020/metrics",
        "health: http://0.0.0.0:15021/healthz/ready",
        "admin: http://127.0.0.1:15000/",
        "access log: off; event loop: uvloop+aiofastnet",
        "end: SIGTERM gives what is running 30s",
    ):
        assert part in words


def test_one_direction() -> None:
    """The other is none."""
    assert "outbound: none" in _words(WHO + INBOUND)
    words = _words(WHO + OUTBOUND)
    assert "inbound: none" in words
    assert "tokens:" not in words


def test_where_keys_come_from() -> None:
    """And who has to answer there."""
    text = GOOD.replace("keys: jwks.json", "keys: 'https://tts:1/jwks', issuer: i, " + SERVICE)
    words = _words(text)
    assert "from issuer i, verified with the keys of https://tts:1/jwks, if spiffe://example.org/tts answers" in words
    assert "token service: https://tts:1/token, if spiffe://example.org/tts answers" in words
    assert "if its certificate is one of the Web PKI" in _words(GOOD.replace("jwks.json", "https://t/jwks"))
    assert "without protection, read again every 5m" in _words(GOOD.replace("jwks.json", "http://127.0.0.1/jwks"))


def test_what_differs_from_the_default() -> None:
    """An older TLS, a foreign domain, an IPv6 address."""
    text = GOOD.replace("svid_bundle.pem", "b.pem, federated: {other.org: o.pem}") + "tls: {min_version: 1.2}\n"
    words = _words(text + "metrics: {listen: '[::]:9'}\n")
    assert "mTLS (TLS 1.2 or 1.3)" in words
    assert "trusts other.org by /nowhere/o.pem (not there)" in words
    assert "http://[::]:9/metrics" in words
