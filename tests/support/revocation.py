"""Peers, tokens and entries for the tests of what is revoked."""

from typing import Any

from proxy.identity.peer import Peer
from proxy.identity.spiffe_id import SpiffeId
from proxy.policy.revocation import Entry
from proxy.policy.revocation_text import read_entry
from proxy.tokens.claims import TxnToken

NOW = 1_700_000_000.0
KEY = bytes.fromhex("ab" * 32)
OTHER_KEY = bytes.fromhex("cd" * 32)


def peer(uri: str = "spiffe://example.org/edge", *issued: tuple[bytes, int]) -> Peer:
    """A verified peer; ``issued`` are the certificates of its chain: whose key, which serial."""
    return Peer(
        spiffe_id=SpiffeId.parse(uri),
        uri=uri,
        certificate_sha256="ab" * 32,
        serial=issued[0][1] if issued else 1,
        not_after=NOW + 3600,
        issued=issued or ((KEY, 0x1F2E),),
    )


def token(**changes: Any) -> TxnToken:
    """A verified token, changed."""
    claims: dict[str, Any] = {
        "txn": "task-1",
        "sub": "alice",
        "aud": "example.org",
        "scopes": frozenset({"orders.read"}),
        "req_wl": "spiffe://example.org/edge",
        "iat": NOW,
        "exp": NOW + 300,
        "iss": "https://tts",
        "tctx": None,
        "rctx": None,
        "digest": "0f" * 32,
    }
    return TxnToken(**(claims | changes))


def entry(**members: object) -> Entry:
    """An entry as it is written."""
    return read_entry(members, NOW)


class Clock:
    """A wall clock that a test moves."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        """The time."""
        return self.now
