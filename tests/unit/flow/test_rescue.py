"""The one table from reasons to answers."""

import json

import h11
import pytest

from proxy.errors import REASONS, ProxyError, Side
from proxy.flow.rescue import CONNECTION_ONLY, RESCUES, rescue

RETRIED_503 = {name for name, row in RESCUES.items() if row.status == 503}


def _answer(reason: str, method: bytes = b"GET", *, close: bool = False) -> tuple[h11.Response, bytes]:
    """The answer as h11 reads it, with its body."""
    judge = h11.Connection(h11.CLIENT)
    judge.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    judge.send(h11.EndOfMessage())
    judge.receive_data(rescue(REASONS[reason]("the detail"), method, close=close))
    response = judge.next_event()
    assert isinstance(response, h11.Response)
    body = b""
    while isinstance(event := judge.next_event(), h11.Data):
        body += bytes(event.data)
    assert isinstance(event, h11.EndOfMessage)
    assert judge.trailing_data[0] == b""
    return response, body


def test_every_reason_has_an_answer_or_ends_a_connection() -> None:
    """Exactly the reasons there are, and none in both."""
    assert RESCUES.keys() | CONNECTION_ONLY == REASONS.keys()
    assert RESCUES.keys().isdisjoint(CONNECTION_ONLY)


BEARER = {"access_token_missing": b"Bearer", "access_token_refused": b'Bearer error="invalid_token"'}
"""RFC 6750 section 3.1: who has shown nothing is told no error."""


@pytest.mark.parametrize("reason", RESCUES)
def test_the_answer_is_a_problem_document(reason: str) -> None:
    """RFC 9457, in step for any client, not stored; nobody is told to come back where that would not help."""
    response, body = _answer(reason)
    fields = dict(response.headers)
    problem = json.loads(body)
    assert response.status_code == RESCUES[reason].status == problem["status"]
    assert problem["reason"] == reason
    assert problem["type"] == "about:blank"
    assert problem["detail"] == "the detail"
    assert fields[b"content-type"] == b"application/problem+json"
    assert fields[b"cache-control"] == b"no-store"
    assert (b"retry-after" in fields) == (reason in RETRIED_503)
    assert b"connection" not in fields
    challenge = BEARER.get(reason, b'Txn-Token error="%b"' % reason.encode())
    assert fields.get(b"www-authenticate") == (challenge if response.status_code == 401 else None)


@pytest.mark.parametrize("reason", ["token_missing", "bad_framing"])
def test_head_has_no_body_and_close_is_said(reason: str) -> None:
    """The length stays that of the body which GET would have had."""
    response, body = _answer(reason, b"HEAD", close=True)
    assert body == b""
    assert int(dict(response.headers)[b"content-length"]) > 50
    assert dict(response.headers)[b"connection"] == b"close"


def test_a_message_that_may_be_out_of_step_closes() -> None:
    """Whatever breaks grammar, framing or a limit of the head; a refused token or route does not."""
    closes = {name for name, row in RESCUES.items() if row.close}
    assert closes >= {"bad_request", "bad_framing", "bad_host", "bad_version", "owned_field", "coding_unknown"}
    assert closes >= {"head_too_large", "too_many_fields", "target_too_long", "head_timeout", "body_timeout"}
    assert closes.isdisjoint(name for name in RESCUES if name.startswith(("token_", "scope_", "upstream_", "tts_")))


@pytest.mark.parametrize("reason", RESCUES)
def test_the_status_says_whose_fault_it_is(reason: str) -> None:
    """4xx the caller's, 5xx ours or of who is behind us; the exceptions are what HTTP calls so."""
    status, side = RESCUES[reason].status, REASONS[reason].side
    expected = 4 if side is Side.DOWNSTREAM else 5
    exceptions = {
        "bad_version": 505,
        "method_refused": 501,
        "coding_unknown": 501,
        "loop_detected": 508,
        "tts_refused": 403,
    }
    assert status == exceptions.get(reason, status)
    assert reason in exceptions or status // 100 == expected


def test_a_detail_stays_in_its_place() -> None:
    """Quotes and line ends in a detail end nothing: it is JSON in a body of known length."""
    error = REASONS["internal"]('"}\r\n\r\nHTTP/1.1 200 OK')
    head, _, body = rescue(error, b"GET", close=True).partition(b"\r\n\r\n")
    assert json.loads(body)["detail"] == error.detail
    assert b"200" not in head
    assert isinstance(error, ProxyError)
