"""``svidecar token decode`` and ``svidecar token verify``: one token from standard input, looked at by a person.

Neither prints the token nor its signature: what stands on a screen ends in a log or a chat, and whoever reads it there
must not be able to use it.
"""

import argparse
import json
import re
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final

from proxy.errors import KeysInvalid, ProxyError, TokenMalformed, TokenTooLarge
from proxy.tokens.claims import MAX_DATE
from proxy.tokens.encoding import decode_base64url, read_json_object
from proxy.tokens.jws import read_jws
from proxy.tokens.keys import KeySet
from proxy.tokens.profile import Profile
from proxy.tokens.verify import Expect, verify

OK, FAILED, USAGE = 0, 1, 2
"""Exit codes, as of every verb: a valid token; another one; a file or a date that cannot be read."""

MAX_BYTES = 65536
"""As ``tokens.max_size`` may be set at most."""

_DATES = ("iat", "exp", "nbf")

_MISTAKES: Final = (
    (
        re.compile(rb"(?:authorization\s*:|bearer\s)", re.IGNORECASE),
        "it begins with Authorization or Bearer: give the token alone",
    ),
    (re.compile(rb"[{\[]"), "it is JSON: give the token alone, which is the value of access_token"),
    (re.compile(rb"[\"'`<]"), "it stands in quotes: give it without them"),
    (re.compile(rb"-----BEGIN"), "it is a key or a certificate, in PEM"),
    (
        re.compile(rb"\xff\xfe|\xfe\xff|\xef\xbb\xbf"),
        "it begins with a byte order mark: save it as plain text, in ASCII",
    ),
    (re.compile(rb"\S+\s"), "there is a blank or a line end in it: it was cut in two, or there are two tokens"),
)
"""How what is no token begins, and what to do."""

_ADVICE: Final[Mapping[str | None, str]] = {
    "token_wrong_audience": "it is for another than --audience; svidecar token decode shows for whom",
    "token_wrong_issuer": "it is of another than --issuer; svidecar token decode shows of whom",
    "token_wrong_type": "it is another kind of token, or of an older draft: --profile older_drafts",
    "token_unknown_key": "--jwks must be the keys of its issuer, and may be older than it: fetch them again",
    "token_expired": "--at TIME judges it as of then",
    "token_from_future": "compare both clocks; --at TIME judges it as of then",
}


def decode(options: argparse.Namespace) -> int:
    """Print header and claims of the token on standard input, believing nothing; ``--json`` as data."""
    try:
        shown = unverified(_read())
    except ProxyError as error:
        return _failed(f"this is not a token: {error.reason}: {error.detail}", FAILED)
    if options.json:
        _print(json.dumps(shown, indent=2))
        return OK
    _print("NOT VERIFIED: anybody can write this. svidecar token verify says whether it holds.")
    for part in ("header", "claims"):
        _print(f"{part}:")
        for name, value in shown[part].items():
            _print(f"  {json.dumps(name)}: {json.dumps(value)}{_date(name, value)}")
    _print(f"sha256: {shown['sha256']} (its first digits stand in the access log)")
    return OK


def judge(options: argparse.Namespace) -> int:
    """Verify the token on standard input as a sidecar would: exit code 0 for a valid one, and for nothing else."""
    try:
        jwks = options.jwks.read_bytes()
        now = time.time() if options.at is None else moment(options.at)
    except OSError as error:
        return _failed(f"{options.jwks} cannot be read: {error.strerror}", USAGE)
    except ValueError as error:
        return _failed(f"--at: {error}", USAGE)
    expect = Expect(
        audience=options.audience,
        issuer=options.issuer,
        max_bytes=MAX_BYTES,
        profile=Profile(options.profile),
    )
    try:
        token = verify(_read(), _keys(jwks), now, expect)
    except ProxyError as error:
        _verdict(options, valid=False, reason=error.reason, detail=error.detail)
        return FAILED
    _verdict(options, valid=True, reason=None, detail=f"transaction {token.txn}, for {token.exp - now:.0f} s more")
    return OK


def unverified(raw: bytes) -> dict[str, Any]:
    """Return header and claims of a compact JWS, and its hash: everything but the signature.

    Raises:
        TokenMalformed, TokenAlgorithmRefused: it cannot be read, or only in two ways.

    """
    header = read_jws(raw).header
    try:
        claims = read_json_object(decode_base64url(raw.split(b".")[1]))
    except ValueError as error:
        raise TokenMalformed("the claims are not a JSON object in base64url, or can be read in two ways") from error
    return {"header": dict(header), "claims": claims, "sha256": sha256(raw).hexdigest()}


def moment(text: str) -> float:
    """Read a point in time: seconds since 1970, or a date of ISO 8601 with its zone. Raises ValueError."""
    try:
        seconds = float(text)
    except ValueError:
        try:
            at = datetime.fromisoformat(text)
        except ValueError:
            raise ValueError("write seconds since 1970, or a date as 2026-11-22T18:00:00Z") from None
        if at.tzinfo is None:
            raise ValueError("the date has no zone: end it with Z or +01:00") from None
        seconds = at.timestamp()
    if not 0 <= seconds <= MAX_DATE:
        raise ValueError("the date is not between 1970 and 9999")
    return seconds


def token_in(raw: bytes) -> bytes:
    """Return the token in what a person has given: alone, or with the name of its field.

    Raises:
        TokenMalformed: it holds something else; the detail says what to do.

    """
    raw = raw.strip()
    if raw[:10].lower() == b"txn-token:":
        raw = raw[10:].strip()
    if not raw:
        raise TokenMalformed("standard input is empty: the token comes there, so that no process list shows it")
    for mistake, advice in _MISTAKES:
        if mistake.match(raw):
            raise TokenMalformed(advice)
    return raw


def _read() -> bytes:
    if sys.stdin.isatty():
        sys.stderr.write("svidecar token: paste the token, then press Enter and Ctrl-D\n")
    raw = sys.stdin.buffer.read(MAX_BYTES + 2)
    if len(raw.strip()) > MAX_BYTES:
        raise TokenTooLarge(f"more than {MAX_BYTES} bytes")
    token = token_in(raw)
    if token.count(b".") != 2:
        raise TokenMalformed("a token is three parts with a dot between them: is it whole?")
    return token


def _keys(jwks: bytes) -> KeySet:
    try:
        return KeySet.parse(jwks)
    except KeysInvalid as error:
        start = jwks.lstrip()[:16]
        if start.startswith(b"-----BEGIN"):
            raise KeysInvalid("--jwks is a file in PEM: it must be a JWK Set, as tokens.keys names it") from error
        raise KeysInvalid(f"--jwks: {error.detail}") from error


def _verdict(options: argparse.Namespace, *, valid: bool, reason: str | None, detail: str) -> None:
    if options.json:
        _print(json.dumps({"valid": valid, "reason": reason}))
    else:
        advice = f" ({_ADVICE[reason]})" if reason in _ADVICE else ""
        _print(f"valid: {detail}" if valid else f"not valid: {reason}: {detail}{advice}")


def _date(name: str, value: object) -> str:
    if name in _DATES and type(value) in {int, float} and 0 <= value <= MAX_DATE:  # type: ignore[operator]
        return f"  ({datetime.fromtimestamp(value, UTC):%Y-%m-%d %H:%M:%S} UTC)"  # type: ignore[arg-type]
    return ""


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")


def _failed(message: str, code: int) -> int:
    sys.stderr.write(f"svidecar token: {message}\n")
    return code
