"""Audits written by the real writer without its thread, and read again."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ed25519

from proxy.observe.audit.file import AuditFile
from proxy.observe.audit.line import Scribe
from proxy.observe.audit.record import AuditRecord
from proxy.observe.audit.settings import AuditSettings
from proxy.observe.audit.signer import KeySigner, PublicKey, Signer
from proxy.observe.audit.verify import ChainReader, Outcome, Untrusted
from proxy.observe.audit.writer import Writer
from proxy.tokens.claims import TxnToken

KEY = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
SIGNER = KeySigner(KEY)

TOKEN = TxnToken(
    txn="97053963-771d-49cc-a4e3-20aad399c312",
    sub="alice@example.org",
    aud="example.org",
    scopes=frozenset({"orders.read", "orders.write"}),
    req_wl="spiffe://example.org/edge",
    iat=1_700_000_000,
    exp=1_700_000_300,
    iss=None,
    tctx=None,
    rctx=None,
    digest="0123456789abcdef" * 4,
    actors=("agent-2", "agent-1"),
    agentic={
        "identity": {"workload_id": "agent-2", "origin_node": "n7"},
        "chain_metadata": {"hop_count": 1, "txn_path": ["agent-1"], "min_assurance_level": "low"},
        "prov": {"model_id": "m"},
    },
)
RECORD = AuditRecord(
    time=1_700_000_000.1239,
    kind="request",
    direction="inbound",
    decision="allow",
    reason="",
    policy="00112233445566aa",
    conn=7,
    peer="spiffe://example.org/edge",
    local="spiffe://example.org/orders",
    rule="edge may order",
    route="/orders/{id}",
    token=TOKEN,
    trace_id=b"0af7651916cd43dd8448eb211c80319c",
    method=b"GET",
    target=b"/orders/17?who=alice",
    status=200,
    upstream_status=200,
    duration_s=0.0123456,
    own_s=33e-6,
    response_bytes=130,
)


def writer(path: Path, signer: Callable[[], Signer | None] = lambda: SIGNER, **settings: Any) -> Writer:
    """A writer on this file; ``step`` and ``close`` it by hand."""
    chosen = AuditSettings(file=path, **{"checkpoint_s": 1e6} | settings)
    return Writer(chosen, Scribe(chosen, "0a0b0c0d"), AuditFile(path), signer, time.time, "c0ffee")


def drain(made: Writer) -> None:
    """Write all that waits, as far as it can be written."""
    while made.step():
        pass


def lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a file."""
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def ours(key: str, _certificates: tuple[bytes, ...], _at: float) -> PublicKey:
    """Trust our key alone."""
    if key != SIGNER.key_id:
        raise Untrusted("not our key")
    return KEY.public_key()


def read_again(*files: Path | bytes, chain: str = "c0ffee", last: int | None = None) -> Outcome:
    """Verify files, or what would stand in them, in this order."""
    reader = ChainReader(chain, ours)
    for number, file in enumerate(files):
        data = file.read_bytes() if isinstance(file, Path) else file
        reader.read_file(f"file {number}", data.splitlines(keepends=True))
    return reader.end(last)


def whole(outcome: Outcome) -> bool:
    """Whether nothing is wrong, and something is proved."""
    return not outcome.problems and outcome.proved > 0
