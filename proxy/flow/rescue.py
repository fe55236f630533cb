"""Every refusal that can be told over HTTP becomes its answer here: one table, RFC 9457 documents, never an echo.

401 names its challenge (RFC 9110 section 11.6.1). No scheme is registered for transaction tokens (specs section 9,
point 1), so the challenge carries the field's own name. Reasons that end a connection before HTTP begins have no row:
``CONNECTION_ONLY`` lists them, and a test holds the two sets to cover every reason.
"""

import json
from dataclasses import dataclass

from proxy.errors import ProxyError
from proxy.http1.write import head, reason_phrase

RETRY_AFTER_S = 1
"""Most of our 503 end within seconds: a pool, a key fetch, a restart."""


@dataclass(frozen=True, slots=True)
class Rescue:
    """The answer to one reason."""

    status: int
    close: bool = False  # the connection cannot be trusted to be in step any more
    retry: bool = False


_CLOSE_400 = Rescue(400, close=True)
_TOKEN_400 = Rescue(400)
_401 = Rescue(401)
_403 = Rescue(403)
_502 = Rescue(502)
_503 = Rescue(503, retry=True)

RESCUES: dict[str, Rescue] = {
    # we cannot serve now
    "overloaded": Rescue(503, close=True, retry=True),
    "authoriser_unavailable": Rescue(503, retry=True),
    "not_ready": _503,
    "transactions_full": _503,
    "sibling_unavailable": _503,
    "used_transactions_full": _503,
    "revocation_stale": _503,
    # the message
    "bad_request": _CLOSE_400,
    "bad_framing": _CLOSE_400,
    "bad_host": _CLOSE_400,
    "bad_version": Rescue(505, close=True),
    "head_too_large": Rescue(431, close=True),
    "too_many_fields": Rescue(431, close=True),
    "target_too_long": Rescue(414, close=True),
    "head_timeout": Rescue(408, close=True),
    "body_timeout": Rescue(408, close=True),
    "method_refused": Rescue(501, close=True),
    "coding_unknown": Rescue(501, close=True),
    "expectation_unknown": Rescue(417, close=True),
    "ambiguous_path": _TOKEN_400,
    "owned_field": _CLOSE_400,
    "loop_detected": Rescue(508),
    "body_too_large": Rescue(413),
    "fact_unusable": _TOKEN_400,
    "client_closed": Rescue(499, close=True),  # nobody reads it: the number is for metrics and log, as nginx writes it
    # the token
    "token_missing": _401,
    "token_repeated": _TOKEN_400,
    "token_too_large": Rescue(431),
    "token_malformed": _401,
    "token_wrong_type": _401,
    "token_algorithm_refused": _401,
    "token_unknown_key": _401,
    "token_bad_signature": _401,
    "token_claims_invalid": _401,
    "token_expired": _401,
    "token_from_future": _401,
    "token_lifetime_too_long": _401,
    "token_wrong_audience": _401,
    "token_wrong_issuer": _401,
    "token_actor_loop": _401,
    "token_actors_too_deep": _401,
    "token_revoked": _401,
    "access_token_missing": _401,
    "access_token_malformed": _TOKEN_400,
    "access_token_refused": _401,
    "keys_unavailable": _503,
    # the permission
    "grant_ended": Rescue(403, close=True),
    "bytes_spent": Rescue(403, close=True),  # the next connection has its own
    "route_not_allowed": _403,
    "authoriser_denied": _403,
    "scope_missing": _403,
    "actor_not_allowed": _403,
    "condition_unmet": _403,
    "denied_by_rule": _403,
    "fact_unauthorised": _403,
    "fact_mismatch": _403,
    "transaction_replayed": _403,
    "transaction_ambiguous": _403,
    "transaction_mismatch": _403,
    "scope_beyond_grant": _403,
    "audience_beyond_grant": _403,
    "destination_unknown": _403,
    # the other side
    "upstream_down": _502,
    "upstream_timeout": Rescue(504),
    "upstream_reset": _502,
    "upstream_bad_response": _502,
    "upstream_refused_us": _502,
    "upstream_untrusted": _502,
    "upstream_overloaded": _503,
    "tunnel_refused": _502,
    "tts_unavailable": _503,
    "tts_refused": _403,
    "tts_refused_us": _502,
    "tts_bad_answer": _502,
    "internal": Rescue(500, close=True),
}

CONNECTION_ONLY = frozenset(
    {
        "plaintext",
        "handshake_failed",
        "handshake_timeout",
        "certificate_missing",
        "certificate_expired",
        "untrusted_chain",
        "not_an_svid",
        "unknown_trust_domain",
        "certificate_revoked",
        "revocation_unknown",
        "peer_revoked",
        "peer_not_allowed",
        "tunnel_idle",
        "config_invalid",
        "identity_invalid",
        "keys_invalid",
        "revocations_invalid",
    }
)


def rescue(error: ProxyError, method: bytes, *, close: bool, tell: bool = True) -> bytes:
    """Write the whole answer to ``error``; ``close`` adds ``Connection: close``, ``tell`` its detail."""
    row = RESCUES[error.reason]
    problem = {"type": "about:blank", "title": reason_phrase(row.status).decode(), "status": row.status}
    problem["reason"] = error.reason
    problem["detail"] = error.detail if tell else ""
    body = json.dumps(problem).encode()
    lines = [b"Content-Type: application/problem+json", b"Content-Length: %d" % len(body), b"Cache-Control: no-store"]
    if row.status == 401:
        lines.append(b"WWW-Authenticate: " + _challenge(error.reason))
    if row.retry:
        lines.append(b"Retry-After: %d" % RETRY_AFTER_S)
    if close:
        lines.append(b"Connection: close")
    first = b"HTTP/1.1 %d %b" % (row.status, reason_phrase(row.status))
    return head(first, lines) + (b"" if method == b"HEAD" else body)


def _challenge(reason: str) -> bytes:
    """Write what would help: a caller who has shown no credentials at all is told no error (RFC 6750 section 3.1)."""
    if reason == "access_token_missing":
        return b"Bearer"
    if reason == "access_token_refused":
        return b'Bearer error="invalid_token"'
    return b'Txn-Token error="%b"' % reason.encode()
