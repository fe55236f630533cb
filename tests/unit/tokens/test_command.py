"""command.py: a person looks at a token, and nobody can use what stands on the screen."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.tokens import ABSENT, TokenMint

from proxy.tokens.command import MAX_BYTES, moment

MINT = TokenMint()
NOW = 1_700_000_000


def svidecar(token: bytes, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Run ``svidecar token`` with this on standard input."""
    command = [sys.executable, "-m", "proxy", "token", *arguments]
    return subprocess.run(command, input=token, capture_output=True, check=False, timeout=30)


@pytest.fixture
def jwks(tmp_path: Path) -> str:
    """The keys."""
    (tmp_path / "jwks.json").write_bytes(MINT.jwks())
    return str(tmp_path / "jwks.json")


def test_decode_shows_all_but_the_signature() -> None:
    """Also of a token that nobody signed; it says that it is not verified."""
    for token in (MINT.token(NOW), MINT.forger().token(NOW), b"Txn-Token: " + MINT.token(NOW) + b"\r\n"):
        found = svidecar(token, "decode")
        assert (found.returncode, found.stderr) == (0, b"")
        text = found.stdout.decode()
        assert "NOT VERIFIED" in text
        assert '"sub": "d084sdrt234fsaw34tr23t"' in text
        assert "2023-11-14 22:13:20 UTC" in text
        parts = token.strip().split(b".")
        for part in (parts[1], parts[2]):
            assert part.decode() not in text
    data = json.loads(svidecar(MINT.token(NOW), "decode", "--json").stdout)
    assert data["header"]["typ"] == "txntoken+jwt"
    assert data["claims"]["scope"] == "orders.read orders.write"


@pytest.mark.parametrize("token", [b"", b"x", b"a.b.c", b"x" * (MAX_BYTES + 1), *MINT.garbage(NOW).values()])
def test_decode_of_what_is_none(token: bytes) -> None:
    """It is told, and never repeated; escapes that a terminal would obey are shown as text."""
    found = svidecar(token, "decode")
    assert found.returncode in {0, 1}
    assert b"\x1b" not in found.stdout + found.stderr
    if found.returncode:
        assert found.stdout == b""
        assert b"this is not a token" in found.stderr


def test_decode_does_not_obey_the_token() -> None:
    """A claim with an escape sequence moves no cursor."""
    found = svidecar(MINT.token(NOW, sub="\x1b[2J\u202egood"), "decode")
    assert b"\x1b" not in found.stdout
    assert found.stdout.isascii()


def test_verify(jwks: str) -> None:
    """0 for a valid token, and for nothing else; as data, two members."""
    options = ("verify", "--jwks", jwks, "--audience", "example.org")
    valid = MINT.token(time.time())
    found = svidecar(valid, *options, "--json")
    assert (found.returncode, json.loads(found.stdout)) == (0, {"valid": True, "reason": None})
    assert b"valid: transaction" in svidecar(valid, *options).stdout
    for at, reason in ((str(NOW), None), ("2023-11-14T22:13:21Z", None), (str(NOW + 400), "token_expired")):
        found = svidecar(MINT.token(NOW), *options, "--json", "--at", at)
        assert json.loads(found.stdout) == {"valid": reason is None, "reason": reason}
        assert found.returncode == (0 if reason is None else 1)


@pytest.mark.parametrize(
    ("token", "more", "reason"),
    [
        (b"", (), "token_malformed"),
        (MINT.token(NOW, aud="other.org"), (), "token_wrong_audience"),
        (MINT.forger().token(NOW), (), "token_bad_signature"),
        (TokenMint(kid="key-2").token(NOW), (), "token_unknown_key"),
        (MINT.token(NOW), ("--issuer", "https://tts"), "token_wrong_issuer"),
        (MINT.token(NOW - 86400), (), "token_expired"),
        (MINT.token(NOW + 100), (), "token_from_future"),
        (MINT.token(NOW, header={"typ": "txn_token"}, scope=ABSENT, purp="a"), (), "token_wrong_type"),
        (MINT.token(NOW, header={"typ": "at+jwt"}), ("--profile", "older_drafts"), "token_wrong_type"),
        *[(token, (), None) for token in MINT.garbage(NOW).values()],
    ],
)
def test_verify_refuses(jwks: str, token: bytes, more: tuple[str, ...], reason: str | None) -> None:
    """Each with its reason, and no word of the token."""
    found = svidecar(token, "verify", "--jwks", jwks, "--audience", "example.org", "--at", str(NOW), "--json", *more)
    assert found.returncode == 1
    told = json.loads(found.stdout)
    assert told["valid"] is False
    assert reason is None or told["reason"] == reason
    assert b"eyJ" not in found.stdout + found.stderr


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (b"Bearer ", b"\n", "token alone"),
        (b"Authorization: Bearer ", b"", "token alone"),
        (b'{"access_token":"', b'"}', "access_token"),
        (b'"', b'"', "quotes"),
        (b"'", b"'\n", "quotes"),
        (b"-----BEGIN ", b"", "PEM"),
        (b"\xef\xbb\xbf", b"", "byte order mark"),
        (b"", b".x", "is it whole"),
        (b"x\n", b"", "cut in two"),
        (b"Txn-Token:", b" more", "cut in two"),
    ],
)
def test_first_mistakes(jwks: str, before: bytes, after: bytes, told: str) -> None:
    """What was given is told by its kind, with what to do, by both verbs; and nothing of it is repeated."""
    given = before + MINT.token(NOW) + after
    verified = svidecar(given, "verify", "--jwks", jwks, "--audience", "example.org")
    decoded = svidecar(given, "decode")
    assert told in verified.stdout.decode()
    assert told in decoded.stderr.decode()
    assert verified.returncode == decoded.returncode == 1
    assert b"eyJ" not in verified.stdout + verified.stderr + decoded.stdout + decoded.stderr


@pytest.mark.parametrize(
    ("keys", "token", "more", "told"),
    [
        (b"-----BEGIN PUBLIC KEY-----\nMFkw\n", MINT.token(NOW), (), "a JWK Set, as tokens.keys names it"),
        (b'{"kty":"EC"}', MINT.token(NOW), (), "no array named keys"),
        (MINT.jwks(), MINT.token(NOW, aud="other.org"), (), "--audience"),
        (MINT.jwks(), MINT.token(NOW), ("--issuer", "x"), "--issuer"),
        (MINT.jwks(), TokenMint(kid="key-2").token(NOW), (), "fetch them again"),
        (MINT.jwks(), MINT.token(NOW, header={"typ": "txn_token"}), (), "--profile older_drafts"),
        (MINT.jwks(), MINT.token(NOW - 86400), (), "--at TIME"),
    ],
)
def test_what_to_do(tmp_path: Path, keys: bytes, token: bytes, more: tuple[str, ...], told: str) -> None:
    """Each verdict that an option can change names the option."""
    (tmp_path / "keys").write_bytes(keys)
    options = ("--jwks", str(tmp_path / "keys"), "--audience", "example.org", "--at", str(NOW))
    found = svidecar(token, "verify", *options, *more)
    assert found.returncode == 1
    assert told in found.stdout.decode()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("decode", "{}"), "standard input"),
        (("{}",), "standard input"),
        (("decode", "Bearer {}"), "standard input"),
        (("verify", "--audience", "a", "--jwks", "{}"), "standard input"),
        (("verify", "--audience", "a", "--jwks={}"), "standard input"),
        (("verify", "--jwks", "f", "--audience", "a", "--profile", "'{}'"), "[token]"),
        (("decode", "token is {}"), "[token]"),
    ],
)
def test_a_token_among_the_words(words: tuple[str, ...], told: str) -> None:
    """It is no word of a command, and no message repeats it."""
    found = svidecar(b"", *(word.replace("{}", MINT.token(NOW).decode()) for word in words))
    assert found.returncode == 2
    assert told in found.stderr.decode()
    assert b"eyJ" not in found.stdout + found.stderr


def test_verify_with_a_profile(jwks: str) -> None:
    """The person names it, not the token."""
    old = MINT.token(NOW, header={"typ": "txn_token"}, scope=ABSENT, purp="a")
    options = ("--jwks", jwks, "--audience", "example.org", "--at", str(NOW), "--profile", "older_drafts")
    assert svidecar(old, "verify", *options).returncode == 0


def test_files_and_dates_that_cannot_be_read(tmp_path: Path, jwks: str) -> None:
    """Usage, but for a file that is no JWK Set: with it nothing is valid."""
    token = MINT.token(NOW)
    assert svidecar(token, "verify", "--jwks", str(tmp_path / "none"), "--audience", "a").returncode == 2
    assert svidecar(token, "verify", "--jwks", jwks, "--audience", "a", "--at", "yesterday").returncode == 2
    (tmp_path / "bad").write_bytes(b"{}")
    found = svidecar(token, "verify", "--jwks", str(tmp_path / "bad"), "--audience", "example.org", "--json")
    assert (found.returncode, json.loads(found.stdout)["reason"]) == (1, "keys_invalid")


def test_moments() -> None:
    """Seconds, or a date with its zone."""
    assert moment("1700000000") == moment("2023-11-14T22:13:20Z") == moment("2023-11-14T23:13:20+01:00") == NOW
    for text in ("", "now", "2023-11-14T22:13:20", "-1", "nan", "inf", "1e300"):
        with pytest.raises(ValueError):
            moment(text)
