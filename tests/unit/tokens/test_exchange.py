"""exchange.py: the request of specs 1.7, word for word, and the answer of 1.10, nothing else."""

import json
import re
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.fetch import json_answer
from support.tokens import ABSENT, compact_json

from proxy.errors import ProxyError, TtsBadAnswer, TtsRefused, TtsRefusedUs, TtsUnavailable
from proxy.tokens.exchange import (
    ERROR_CODES,
    MAX_ANSWER_BYTES,
    SUBJECT_CODES,
    Want,
    read_answer,
    request_body,
)
from proxy.tokens.fetch import Answer
from proxy.tokens.profile import Profile
from proxy.tokens.subject import subject

WANT = Want(client="spiffe://example.org/orders", scopes=("ledger.write", "ledger.read"))
GOOD = {
    "token_type": "N_A",
    "issued_token_type": "urn:ietf:params:oauth:token-type:txn_token",
    "access_token": "eyJ.eyJ.sig",
}


def answer(status: int = 200, **changes: object) -> Answer:
    """Make a good answer with changes."""
    fields = {name: value for name, value in (GOOD | changes).items() if value is not ABSENT}
    return json_answer(compact_json(fields), status)


def test_request() -> None:
    """Every parameter once, form-encoded once."""
    assert request_body(WANT, "example.org") == (
        b"grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange"
        b"&requested_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Atxn_token"
        b"&audience=example.org"
        b"&scope=ledger.write+ledger.read"
        b"&subject_token=%7B%22sub%22%3A%22spiffe%3A%2F%2Fexample.org%2Forders%22%7D"
        b"&subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aunsigned_json"
        b"&client_id=spiffe%3A%2F%2Fexample.org%2Forders"
    )


def test_whose_token_it_is_to_be() -> None:
    """The subject's where there is one, as it came; details and context as text, which older drafts encode once more."""
    svid = subject("urn:ietf:params:oauth:token-type:jwt", "a.b.c")
    want = Want(WANT.client, ("s",), svid, details='{"n":1}', context='{"ip":"?>?"}')
    form = dict(parse_qsl(request_body(want, "example.org").decode()))
    assert (form["subject_token"], form["subject_token_type"]) == ("a.b.c", svid.kind)
    assert (form["request_details"], form["request_context"]) == ('{"n":1}', '{"ip":"?>?"}')
    older = dict(parse_qsl(request_body(want, "example.org", Profile.OLDER_DRAFTS).decode()))
    assert (older["subject_token"], older["request_details"]) == ("a.b.c", "eyJuIjoxfQ")
    assert older["request_context"] == "eyJpcCI6Ij8-PyJ9"
    own = dict(parse_qsl(request_body(WANT, "example.org", Profile.OLDER_DRAFTS).decode()))
    assert own["subject_token"] == "eyJzdWIiOiJzcGlmZmU6Ly9leGFtcGxlLm9yZy9vcmRlcnMifQ"


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(max_size=20), st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=3), st.text(max_size=10))
def test_nothing_gets_out_of_its_parameter(subject: str, scopes: list[str], audience: str) -> None:
    """Whatever stands in a value, the form has these parameters and the JSON this one member."""
    body = request_body(Want(subject, tuple(scopes)), audience)
    form = dict(parse_qsl(body.decode("ascii"), keep_blank_values=True, strict_parsing=True))
    assert len(form) == 7
    assert (form["audience"], form["scope"], form["client_id"]) == (audience, " ".join(scopes), subject)
    assert json.loads(form["subject_token"]) == {"sub": subject}


@pytest.mark.shared
def test_request_of_the_draft(shared_testdata: Path) -> None:
    """Its figure has our parameters with our constants, but for what it authenticates with and its context."""
    text = (shared_testdata / "txn-tokens/draft-ietf-oauth-transaction-tokens.md").read_text()
    figure = re.search(r"\n(grant_type=.*?)\n~~~", text, re.DOTALL)
    assert figure is not None
    theirs = dict(parse_qsl(figure[1].replace("\n", "")))
    ours = dict(parse_qsl(request_body(Want("me", ("trade.stocks",)), "trust-domain.example").decode()))
    assert theirs.keys() - ours.keys() == {"request_context", "request_details"}
    assert ours.keys() - theirs.keys() == {"client_id"}
    same = {name for name in theirs.keys() & ours.keys() if theirs[name] == ours[name]}
    assert same == {"grant_type", "requested_token_type", "audience", "scope"}
    assert ours["subject_token_type"] in text


@pytest.mark.shared
def test_answer_of_the_draft(shared_testdata: Path) -> None:
    """Its figure is a good answer; that the token in it is cut short is for ``verify`` to find."""
    text = (shared_testdata / "txn-tokens/draft-ietf-oauth-transaction-tokens.md").read_text()
    figure = re.search(r'(\{\n  "token_type": "N_A".*?\n\})\n~~~', text, re.DOTALL)
    assert figure is not None
    assert read_answer(json_answer(figure[1].encode())) == b"eyJCI6IjllciJ9...Qedw6rx"


@pytest.mark.parametrize(
    "good",
    [
        answer(),
        answer(token_type="n_a"),
        answer(expires_in=300, scope="ledger.write", unknown={"a": 1}),
        json_answer(compact_json(GOOD), content_type="application/json;charset=UTF-8"),
        json_answer(compact_json(GOOD), content_type="Application/JSON ; x=y"),
    ],
)
def test_good(good: Answer) -> None:
    """The token, as it came."""
    assert read_answer(good) == b"eyJ.eyJ.sig"


@pytest.mark.parametrize(
    "bad",
    [
        answer(token_type="Bearer"),
        answer(token_type=ABSENT),
        answer(token_type=None),
        answer(token_type=["N_A"]),
        answer(issued_token_type=ABSENT),
        answer(issued_token_type="urn:ietf:params:oauth:token-type:access_token"),
        answer(issued_token_type="urn:ietf:params:oauth:token-type:txn-token"),
        answer(issued_token_type="URN:ietf:params:oauth:token-type:txn_token"),
        answer(refresh_token="r"),
        answer(refresh_token=None),
        answer(refresh_token=""),
        answer(access_token=ABSENT),
        answer(access_token=None),
        answer(access_token=1),
        answer(access_token=["eyJ.eyJ.sig"]),
        answer(access_token="\u00e9yJ.eyJ.sig"),
        answer(201),
        answer(204),
        answer(302),
        answer(400),
        answer(302, error="invalid_request"),
        json_answer(compact_json(GOOD), content_type="text/json"),
        json_answer(compact_json(GOOD), content_type="application/jsonp"),
        json_answer(compact_json(GOOD), content_type="application/json, text/html"),
        json_answer(compact_json(GOOD), content_type=""),
        Answer(200, {}, compact_json(GOOD)),
        json_answer(compact_json([GOOD])),
        json_answer(b""),
        json_answer(b"<html>"),
        json_answer(compact_json(GOOD)[:-1] + b',"access_token":"eyJ.eyJ.other"}'),
        json_answer(b'{"error":"invalid_request"}'),  # with 200 it is no error
        json_answer(b'{"error":1}', 400),
        json_answer(b'{"message":"no"}', 403),
        json_answer(b"no", 400, "text/plain"),
        Answer(404, {"content-type": "text/html"}, b"<html>"),
        answer(100),
    ],
)
def test_bad(bad: Answer) -> None:
    """Everything else is a bad answer, and the detail repeats none of it."""
    with pytest.raises(TtsBadAnswer) as caught:
        read_answer(bad)
    assert "eyJ" not in str(caught.value)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 599])
def test_unavailable(status: int) -> None:
    """It would answer at another time, whatever else it says."""
    for body in (b"", b"<html>", b'{"error":"invalid_request"}', compact_json(GOOD)):
        with pytest.raises(TtsUnavailable, match=str(status)):
            read_answer(json_answer(body, status))


@pytest.mark.parametrize("status", [400, 401, 403])
@pytest.mark.parametrize("code", sorted(ERROR_CODES))
def test_refused(status: int, code: str) -> None:
    """The registered code is the detail; the free text is not repeated."""
    body = compact_json({"error": code, "error_description": "for alice", "error_uri": "https://x"})
    of_ours = code in {"invalid_client", "unauthorized_client"}
    with pytest.raises(TtsRefusedUs if of_ours else TtsRefused) as caught:
        read_answer(json_answer(body, status))
    assert caught.value.detail == code


def test_the_codes() -> None:
    """Those of RFC 6749 section 5.2 and RFC 8693 section 2.2.2; two of them may speak of the subject token."""
    assert {
        *("invalid_request", "invalid_client", "invalid_grant", "unauthorized_client"),
        *("unsupported_grant_type", "invalid_scope", "invalid_target"),
    } == ERROR_CODES
    assert {"invalid_request", "invalid_grant"} == SUBJECT_CODES


@pytest.mark.parametrize("code", ["", "alice", "invalid_request\n", "Invalid_Request", "<script>"])
def test_refused_with_another_code(code: str) -> None:
    """Text from outside is a refusal all the same, and is not repeated."""
    with pytest.raises(TtsRefused) as caught:
        read_answer(json_answer(compact_json({"error": code}), 400))
    assert caught.value.detail == "the token service gave a code that RFC 6749 does not have"


def test_answer_n_and_n_plus_1() -> None:
    """``MAX_ANSWER_BYTES`` bytes, not one more."""
    body = compact_json(GOOD).ljust(MAX_ANSWER_BYTES)
    assert read_answer(json_answer(body))
    with pytest.raises(TtsBadAnswer, match="larger"):
        read_answer(json_answer(body + b" "))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.integers(100, 599),
    st.binary(max_size=30) | st.dictionaries(st.sampled_from([*GOOD, "error"]), st.text()).map(compact_json),
)
def test_nothing_but_proxy_error_is_raised(status: int, body: bytes) -> None:
    """Random answers are refused, each with a reason."""
    with pytest.raises(ProxyError):
        read_answer(json_answer(body, status))
