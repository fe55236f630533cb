"""The text of a line."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from support.audit import RECORD, TOKEN
from support.secrecy import leaks

from proxy.observe.audit.line import MAX_VALUE, Scribe
from proxy.observe.audit.record import AuditRecord, PolicyNote
from proxy.observe.audit.settings import AuditSettings, PathDetail, Subject


def read(record: AuditRecord | PolicyNote, **settings: Any) -> dict[str, Any]:
    """What a reader of the line sees."""
    found: dict[str, Any] = json.loads("{" + Scribe(AuditSettings(**settings), "0a0b").write(record) + "}")
    return found


def test_a_whole_line() -> None:
    """Every member, with its name: readers of audits hold these."""
    assert read(RECORD._replace(would="scope_missing", reason="x")) == {
        "kind": "request",
        "time": "2023-11-14T22:13:20.123Z",
        "direction": "inbound",
        "decision": "allow",
        "reason": "x",
        "would_refuse": "scope_missing",
        "rule": "edge may order",
        "policy": "00112233445566aa",
        "conn": "0a0b-7",
        "peer": "spiffe://example.org/edge",
        "local": "spiffe://example.org/orders",
        "txn": "97053963-771d-49cc-a4e3-20aad399c312",
        "sub": "alice@example.org",
        "act": ["agent-2", "agent-1"],
        "agentic_ctx": {"workload_id": "agent-2", "hop_count": 1, "txn_path": ["agent-1"]},
        "req_wl": "spiffe://example.org/edge",
        "aud": "example.org",
        "scope": "orders.read orders.write",
        "iat": 1_700_000_000,
        "exp": 1_700_000_300,
        "token_sha256": "0123456789abcdef" * 4,
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "method": "GET",
        "route": "/orders/{id}",
        "status": 200,
        "upstream_status": 200,
        "duration_us": 12346,
        "own_us": 33,
        "request_bytes": 0,
        "response_bytes": 130,
    }


def test_a_connection_has_no_request() -> None:
    """And what is not known is left out."""
    record = AuditRecord(1.0, "connection", "inbound", "deny", "peer_not_allowed", "", 3, None, None)
    assert read(record) == {
        "kind": "connection",
        "time": "1970-01-01T00:00:01.000Z",
        "direction": "inbound",
        "decision": "deny",
        "reason": "peer_not_allowed",
        "conn": "0a0b-3",
    }


def test_people() -> None:
    """The subject as it is, as a hash, or not at all; the path as a template, or as it came, never its query."""
    assert "sub" not in read(RECORD, sub=Subject.NONE)
    hashed = read(RECORD, sub=Subject.SHA256)
    assert "sub" not in hashed
    assert len(hashed["sub_sha256"]) == 64
    assert "path" not in read(RECORD)
    assert read(RECORD, path=PathDetail.FULL)["path"] == "/orders/17"
    assert "alice" not in json.dumps(read(RECORD, sub=Subject.SHA256, path=PathDetail.FULL))


def test_tokens_are_remembered_apart() -> None:
    """By their digest: two tokens are never taken for each other."""
    scribe = Scribe(AuditSettings(), "0a")
    other = RECORD._replace(
        token=type(TOKEN)(**{f: getattr(TOKEN, f) for f in _FIELDS} | {"digest": "f", "sub": "bob"})
    )
    for _ in range(2):
        assert '"sub":"alice@example.org"' in scribe.write(RECORD)
        assert '"sub":"bob"' in scribe.write(other)


_FIELDS = ("txn", "aud", "scopes", "req_wl", "iat", "exp", "iss", "tctx", "rctx", "actors", "agentic")


@given(raw=st.binary(max_size=300), text=st.text(max_size=300))
def test_anything_is_one_line_of_ascii(raw: bytes, text: str) -> None:
    """No control character, line end, quote or lone surrogate of a value gets out of its place."""
    record = RECORD._replace(method=raw, target=raw, host=raw, peer=text, rule=text or "r", trace_id=raw)
    written = Scribe(AuditSettings(path=PathDetail.FULL), "0a").write(record)
    assert written.isascii()
    assert written.isprintable()
    found = json.loads("{" + written + "}")
    assert found["peer"] == text[:MAX_VALUE]
    assert found["kind"] == "request"


def test_a_token_in_what_a_caller_writes() -> None:
    """Is not written down."""
    token = b"eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln"
    for written in (b"/a/" + token, b"/" + token + b"/b", token):
        record = RECORD._replace(target=written, method=token, host=token, destination=None)
        assert leaks(json.dumps(read(record, path=PathDetail.FULL))) == []


def test_long_values_are_cut() -> None:
    """At the longest SPIFFE ID."""
    for length, kept in ((MAX_VALUE, MAX_VALUE), (MAX_VALUE + 1, MAX_VALUE)):
        assert len(read(RECORD._replace(peer="x" * length))["peer"]) == kept


def test_a_policy() -> None:
    """Its version, and how many rules it has."""
    assert read(PolicyNote(1.0, "inbound", "aa", 3)) == {
        "kind": "policy",
        "time": "1970-01-01T00:00:01.000Z",
        "direction": "inbound",
        "policy": "aa",
        "rules": 3,
        "mode": "enforce",
    }
