"""Warnings: allowed, and still likely to surprise."""

import time
from pathlib import Path

import pytest
from support.pki import Authority, write_svid
from support.tokens import TokenMint
from support.yaml_text import GOOD, INBOUND, OUTBOUND, WHO

from proxy.config.advice import advise
from proxy.config.load import load_text

NOW = time.time()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which everything that GOOD names is there, and good."""
    folder = tmp_path_factory.mktemp("advice")
    ca = Authority.make("example.org")
    write_svid(folder, ca.svid("spiffe://example.org/orders"), ca)
    (folder / "jwks.json").write_bytes(TokenMint().jwks())
    return folder


def _advice(text: str, folder: Path, now: float = NOW) -> list[tuple[str, str]]:
    return advise(load_text(text, folder, {}), now)


def test_nothing_to_say(folder: Path) -> None:
    """Where all is good, there is silence."""
    assert _advice(GOOD, folder) == []


def test_an_identity_that_would_not_load(folder: Path, tmp_path: Path) -> None:
    """Missing or ended: a warning, for the source may still be starting."""
    ((path, message),) = _advice(GOOD, folder, NOW + 7200)
    assert path == "identity.files"
    assert message.startswith("the identity would not load now: the SVID in ")
    assert "there is no file" in _advice(GOOD, tmp_path)[0][1]


def test_a_crl_of_nobody_in_the_bundle(folder: Path, tmp_path: Path) -> None:
    """It may be the wrong file; of a domain that is fetched nobody can tell yet."""
    other = Authority.make("other.org")
    (tmp_path / "crl.pem").write_bytes(other.crl())
    (tmp_path / "other.pem").write_bytes(Authority.make("other.org", subject="another").bundle_pem)
    files = f"svid_bundle.pem, crl: {tmp_path}/crl.pem, federated_crls: {{other.org: {tmp_path}/crl.pem}}"
    by_file = GOOD.replace("svid_bundle.pem", f"{files}, federated: {{other.org: {tmp_path}/other.pem}}")
    found = _advice(by_file, folder)
    assert [path for path, _ in found] == ["identity.files.crl", "identity.files.federated_crls.other.org"]
    assert all("holds a CRL of nobody in the bundle" in message for _, message in found)
    fetched = GOOD.replace(
        "svid_bundle.pem}", f"{files}}}, federation: [{{trust_domain: other.org, url: 'https://o/'}}]"
    )
    assert [path for path, _ in _advice(fetched, folder)] == ["identity.files.crl"]


def test_keys_that_would_not_load(folder: Path, tmp_path: Path) -> None:
    """Missing, a pipe (which must not be waited for), or no keys."""
    text = GOOD.replace("keys: jwks.json", f"keys: '{tmp_path}/k'")
    assert "cannot be read: No such file" in _advice(text, folder)[0][1]
    (tmp_path / "k").write_text("{}")
    assert _advice(text, folder)[0][0] == "tokens.keys"
    (tmp_path / "k").unlink()
    import os

    os.mkfifo(tmp_path / "k")
    assert "not a regular file" in _advice(text, folder)[0][1]


def test_a_key_that_would_not_be_used(folder: Path, tmp_path: Path) -> None:
    """One good key carries the set; the other is told."""
    good = TokenMint().jwks().decode()
    (tmp_path / "k").write_text(good.replace('{"keys":[', '{"keys":[{"kty":"oct","kid":"x","k":"AAAA"},'))
    text = GOOD.replace("keys: jwks.json", f"keys: '{tmp_path}/k'")
    ((path, message),) = _advice(text, folder)
    assert path == "tokens.keys"
    assert message.startswith("a key would not be used: ")


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        (GOOD.replace("127.0.0.1:8080", "app:8080"), "inbound.app", "goes on over the network in plain text"),
        (
            GOOD.replace("destinations:", "listen: '0.0.0.0:15001'\n  destinations:"),
            "outbound.listen",
            "whoever reaches it speaks with the identity of this workload",
        ),
        (
            GOOD.replace("jwks.json", "http://tts/jwks"),
            "tokens.keys",
            "whoever can change the answer on its way can sign",
        ),
        (WHO + OUTBOUND + "policy:" + INBOUND.partition("policy:")[2], "policy", "there is no inbound:"),
        (WHO + OUTBOUND + "tokens: {keys: jwks.json}\n", "tokens", "there is no inbound:"),
        (
            GOOD.replace("jwks.json", "jwks.json, service: {url: 'https://t/', spiffe_id: spiffe://example.org/t}"),
            "tokens.service",
            "is never asked",
        ),
        (GOOD + "limits: {target: 64KiB, head: 32KiB}\n", "limits.target", "is larger than limits.head"),
        (GOOD + "limits: {head: 9KiB}\n", "tokens.max_size", "is larger than limits.head"),
        (
            GOOD + "limits: {upstream_connections: 2}\n",
            "limits.upstream_idle_connections",
            "is more than limits.upstream_connections",
        ),
        (GOOD + "timeouts: {idle: 60s}\n", "timeouts.upstream_idle", "each close is a race"),
        (GOOD + "access_log: nowhere/a.log\n", "access_log", "there is no folder"),
    ],
)
def test_each_warning(text: str, path: str, words: str, folder: Path) -> None:
    """One fact, one warning, at its key."""
    ((found, message),) = _advice(text, folder)
    assert found == path
    assert words in message


def test_loopback_needs_no_warning(folder: Path) -> None:
    """Plain http stays on this machine."""
    assert _advice(GOOD.replace("jwks.json", "http://127.0.0.1:9/jwks"), folder) == []
