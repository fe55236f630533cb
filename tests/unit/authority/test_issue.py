"""What the Transaction Token Service decides: each rule of specs 1.9, from the side of who would break it."""

import json
import re
import uuid
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from proxy.authority.form import read_form
from proxy.authority.issue import (
    EXCHANGE,
    MAX_CONTEXT_BYTES,
    MAX_SCOPES,
    MAX_SUBJECT_CHARS,
    MAX_SUBJECT_TOKEN_BYTES,
    TXN_TOKEN,
    UNSIGNED_JSON,
    ClientRules,
    Rules,
    answer,
    issue,
)
from proxy.authority.keys import jwks, make_key, sign
from proxy.authority.refusal import TokenRefused
from proxy.identity.peer import Peer
from proxy.identity.spiffe_id import SpiffeId
from proxy.tokens.exchange import ERROR_CODES, Want, request_body
from proxy.tokens.keys import KeySet
from proxy.tokens.verify import Expect, verify

TD = "example.org"
EDGE = f"spiffe://{TD}/edge"
NOW = 1_700_000_000.5
TXN = str(uuid.UUID(int=7))
RULES = Rules(
    trust_domain=TD,
    issuer=f"spiffe://{TD}/tts",
    lifetime_s=300,
    clients={
        EDGE: ClientRules(
            scopes=frozenset({"orders.read", "orders.write"}), subjects=("user:*", "robot"), context=True
        ),
        f"spiffe://{TD}/orders": ClientRules(scopes=frozenset({"ledger.write"})),
        f"spiffe://{TD}/idle": ClientRules(),
        f"spiffe://{TD}/any": ClientRules(scopes=frozenset({"a"}), subjects=("*",)),
        f"spiffe://{TD}/boss": ClientRules(
            scopes=frozenset({"a"}), subjects=(f"spiffe://{TD}/team/*", f"spiffe://{TD}/x")
        ),
    },
)


def peer(name: str = "edge") -> Peer:
    """A verified workload of the domain."""
    uri = f"spiffe://{TD}/{name}"
    return Peer(spiffe_id=SpiffeId.parse(uri), uri=uri, certificate_sha256="0" * 64, serial=1, not_after=NOW + 60)


def form(**changes: str | None) -> dict[str, str]:
    """A good request of the edge; a None leaves a parameter out."""
    good: dict[str, str | None] = {
        "grant_type": EXCHANGE,
        "requested_token_type": TXN_TOKEN,
        "audience": TD,
        "scope": "orders.read",
        "subject_token": '{"sub":"user:7"}',
        "subject_token_type": UNSIGNED_JSON,
    }
    return {name: value for name, value in (good | changes).items() if value is not None}


def ask(who: str = "edge", **changes: str | None) -> dict[str, Any]:
    """The claims of a request."""
    return issue(form(**changes), peer(who), RULES, NOW, TXN)


def refused(who: str = "edge", **changes: str | None) -> str:
    """The error code of a request that must not succeed."""
    with pytest.raises(TokenRefused) as caught:
        ask(who, **changes)
    # RFC 6749 section 5.2: the characters that an error_description may have
    assert re.fullmatch(r"[\x20-\x21\x23-\x5B\x5D-\x7E]+", caught.value.description)
    for value in changes.values():
        assert value is None or len(value) < 4 or value not in caught.value.description, "an echo"
    return caught.value.error


def test_the_claims() -> None:
    """Every claim of specs 1.3, and none that the draft does not define."""
    assert ask() == {
        "iss": f"spiffe://{TD}/tts",
        "aud": TD,
        "iat": int(NOW),
        "exp": int(NOW) + 300,
        "txn": TXN,
        "sub": "user:7",
        "scope": "orders.read",
        "req_wl": EDGE,
    }


def test_our_own_client_is_understood() -> None:
    """What ``tokens`` sends is what is read here; and its verifier takes the answer."""
    uri = f"spiffe://{TD}/orders"
    claims = issue(read_form(request_body(Want(uri, ("ledger.write",)), TD)), peer("orders"), RULES, NOW, TXN)
    key = make_key(NOW)
    token = verify(sign(key, claims).encode(), KeySet.parse(jwks([key])), NOW, Expect(audience=TD, issuer=RULES.issuer))
    assert (token.sub, token.req_wl, token.scopes) == (uri, uri, frozenset({"ledger.write"}))


def test_the_answer() -> None:
    """Specs 1.10, whole."""
    assert answer("a.b.c", 300) == {
        "access_token": "a.b.c",
        "issued_token_type": TXN_TOKEN,
        "token_type": "N_A",
        "expires_in": 300,
    }


@pytest.mark.parametrize(
    "name", ["grant_type", "requested_token_type", "audience", "scope", "subject_token", "subject_token_type"]
)
def test_every_required_parameter(name: str) -> None:
    """Specs 1.7: without it there is no token."""
    missing: dict[str, str | None] = {name: None}
    with pytest.raises(TokenRefused, match=f"^invalid_request: {name} is required$"):
        ask("edge", **missing)


def test_the_kind_of_request() -> None:
    """Another grant, another token, a string that only looks the same."""
    assert refused(grant_type="client_credentials") == "unsupported_grant_type"
    assert refused(grant_type=EXCHANGE.upper()) == "unsupported_grant_type"
    assert refused(requested_token_type="urn:ietf:params:oauth:token-type:access_token") == "invalid_request"
    assert refused(requested_token_type=TXN_TOKEN.replace("_", "-")) == "invalid_request"


@pytest.mark.parametrize(
    "audience", ["other.org", "Example.org", "example.org.", "example.org ", "https://example.org", EDGE]
)
def test_the_audience_is_the_trust_domain_and_nothing_else(audience: str) -> None:
    """A token for elsewhere is never made here."""
    assert refused(audience=audience) == "invalid_target"


def test_resources_and_actors_are_not_served() -> None:
    """Ignoring them would mint a token that does not say what was asked for."""
    assert refused(resource="https://example.org/") == "invalid_target"
    assert refused(actor_token="x.y.z", actor_token_type="urn:ietf:params:oauth:token-type:jwt") == "invalid_request"
    assert refused(actor_token="x.y.z") == "invalid_request"
    assert refused(actor_token_type="urn:ietf:params:oauth:token-type:jwt") == "invalid_request"


def test_client_id_must_be_the_one_of_the_certificate() -> None:
    """RFC 8705 section 2; what is not sent cannot differ."""
    assert ask(client_id=EDGE)["req_wl"] == EDGE
    for other in (f"spiffe://{TD}/orders", EDGE + "/", EDGE.upper(), "edge"):
        assert refused(client_id=other) == "invalid_client"


def test_other_authentication_beside_the_certificate_is_refused() -> None:
    """RFC 6749 section 2.3: not more than one method."""
    assert refused(client_secret="s3cret") == "invalid_request"
    assert refused(client_assertion="a.b.c") == "invalid_request"
    assert refused(client_assertion_type="urn:ietf:params:oauth:client-assertion-type:jwt-spiffe") == "invalid_request"


def test_an_unknown_workload_gets_nothing() -> None:
    """A valid SVID is not a right to tokens."""
    assert refused("stranger") == "unauthorized_client"
    assert refused("tts") == "unauthorized_client"
    assert refused("edge/x") == "unauthorized_client"


def test_scopes_within_what_the_workload_may_ask_for() -> None:
    """Equal or less, and never more."""
    assert ask(scope="orders.write orders.read")["scope"] == "orders.write orders.read"
    for wider in ("ledger.write", "orders.read ledger.write", "orders", "orders.read.all", "ORDERS.READ", "*"):
        assert refused(scope=wider) == "invalid_scope"


def test_a_workload_without_scopes_gets_none() -> None:
    """Unknown is not unlimited (specs 1.9)."""
    assert (
        refused("idle", scope="orders.read", subject_token=json.dumps({"sub": f"spiffe://{TD}/idle"}))
        == "invalid_scope"
    )


@pytest.mark.parametrize(
    "scope",
    [
        *(" orders.read", "orders.read ", "orders.read  orders.write", "orders.read\torders.write", " ", 'a"b', "a\\b"),
        *("orders.read\x00", "orders.read\n", "orders.read orders.read", "órders"),
    ],
)
def test_scope_grammar(scope: str) -> None:
    """RFC 6749 section 3.3: another reader would split it otherwise."""
    assert refused(scope=scope) == "invalid_scope"


def test_scopes_n_and_n_plus_1() -> None:
    """The limit is the last that is served."""
    names = [f"s{n}" for n in range(MAX_SCOPES + 1)]
    rules = Rules(
        trust_domain=TD, issuer="i", lifetime_s=1, clients={EDGE: ClientRules(scopes=frozenset(names), subjects=("*",))}
    )
    assert issue(form(scope=" ".join(names[:-1])), peer(), rules, NOW, TXN)["scope"].endswith("s63")
    with pytest.raises(TokenRefused, match="more than 64"):
        issue(form(scope=" ".join(names)), peer(), rules, NOW, TXN)


def test_a_workload_may_always_name_itself() -> None:
    """It is the default, and the only one."""
    own = f"spiffe://{TD}/orders"
    assert ask("orders", scope="ledger.write", subject_token=json.dumps({"sub": own}))["sub"] == own
    for other in ("user:7", EDGE, own + "/", own.upper(), f"spiffe://{TD}"):
        assert refused("orders", scope="ledger.write", subject_token=json.dumps({"sub": other})) == "invalid_request"


def test_patterns_of_subjects() -> None:
    """Exactly, or by prefix."""
    assert ask(subject_token='{"sub":"robot"}')["sub"] == "robot"
    assert ask(subject_token='{"sub":"user:"}')["sub"] == "user:"
    for other in ("robots", "USER:7", "xuser:7", f"spiffe://{TD}/orders"):
        assert refused(subject_token=json.dumps({"sub": other})) == "invalid_request"


def test_a_wildcard_does_not_reach_workloads() -> None:
    """``*`` means whoever the edge has authenticated, and no way to spell the identity of a workload."""
    assert ask("any", scope="a", subject_token='{"sub":"anybody at all"}')["sub"] == "anybody at all"
    for scheme in ("spiffe", "SPIFFE", "Spiffe", "\uff53piffe", "spi\ufb00e"):
        sub = f"{scheme}://{TD}/ledger"
        assert refused("any", scope="a", subject_token=json.dumps({"sub": sub})) == "invalid_request"


def test_a_pattern_of_workloads_reaches_those_alone() -> None:
    """The operator said so by name."""
    for sub in (f"spiffe://{TD}/team/a", f"spiffe://{TD}/x"):
        assert ask("boss", scope="a", subject_token=json.dumps({"sub": sub}))["sub"] == sub
    for sub in (f"spiffe://{TD}/other", f"spiffe://{TD}/xy", "user:7"):
        assert refused("boss", scope="a", subject_token=json.dumps({"sub": sub})) == "invalid_request"


@pytest.mark.parametrize(
    "token",
    [
        *(
            "",
            "user:7",
            '"user:7"',
            "[]",
            '["sub"]',
            "null",
            "{}",
            '{"sub":null}',
            '{"sub":7}',
            '{"sub":["user:7"]}',
            '{"sub":{}}',
        ),
        *(
            '{"sub":""}',
            '{"sub":" user:7"}',
            '{"sub":"user:7 "}',
            '{"sub":"user:\\n7"}',
            '{"sub":"user:\\u0000"}',
            '{"sub":"user:\\u202e7"}',
        ),
        *(
            '{"sub":"user:\\ud800"}',
            '{"sub":"user:7","sub":"user:8"}',
            '{"sub":"robot","\\u0073ub":"user:8"}',
            '{"sub":"user:7"}x',
        ),
        *(
            '{"sub":"user:7",}',
            "{'sub':'user:7'}",
            '{"sub":"user:7","a":NaN}',
            '{"sub":"user:7","a":1e999}',
            '{"SUB":"user:7"}',
        ),
        *(
            '{"sub":"user:7","a":' + "[" * 900 + "]" * 900 + "}",
            '{"sub":"user:7","a":' + "9" * 2000 + "}",
            '\ufeff{"sub":"user:7"}',
        ),
    ],
)
def test_tricks_with_json(token: str) -> None:
    """One object, one reading, one subject."""
    assert refused(subject_token=token or None) == "invalid_request"


def test_subject_token_of_n_and_n_plus_1_bytes() -> None:
    """And sub of n and n+1 characters."""
    frame = len('{"sub":"user:7","a":""}')
    ask(subject_token='{"sub":"user:7","a":"' + "x" * (MAX_SUBJECT_TOKEN_BYTES - frame) + '"}')
    assert (
        refused(subject_token='{"sub":"user:7","a":"' + "x" * (MAX_SUBJECT_TOKEN_BYTES - frame + 1) + '"}')
        == "invalid_request"
    )
    ask(subject_token=json.dumps({"sub": "user:" + "7" * (MAX_SUBJECT_CHARS - 5)}))
    assert refused(subject_token=json.dumps({"sub": "user:" + "7" * (MAX_SUBJECT_CHARS - 4)})) == "invalid_request"


def test_other_kinds_of_subject_token() -> None:
    """A refresh token never; the signed kinds are not served yet, and nothing unsigned passes under their name."""
    for kind in ("refresh_token", "access_token", "id_token", "jwt", "self_signed", "txn_token", "UNSIGNED_JSON"):
        assert refused(subject_token_type=f"urn:ietf:params:oauth:token-type:{kind}") == "invalid_request"


def test_a_subject_token_that_has_ended() -> None:
    """MUST NOT issue (specs 1.9); and the token does not outlive one that still holds."""
    assert ask(subject_token=json.dumps({"sub": "user:7", "exp": int(NOW) + 10}))["exp"] == int(NOW) + 10
    assert ask(subject_token=json.dumps({"sub": "user:7", "exp": int(NOW) + 9999}))["exp"] == int(NOW) + 300
    bad: tuple[object, ...] = (int(NOW), int(NOW) - 1, 0, -1, NOW, "9999999999", True, None, [], {})
    for exp in bad:
        assert refused(subject_token=json.dumps({"sub": "user:7", "exp": exp})) == "invalid_request"


def test_context_goes_in_only_by_policy() -> None:
    """The TTS is authoritative: what a workload may not vouch for is left out, and does not fail the request."""
    given = {"request_details": '{"quantity":2}', "request_context": '{"req_ip":"192.0.2.1"}'}
    assert {k: v for k, v in ask(**given).items() if k in {"tctx", "rctx"}} == {
        "tctx": {"quantity": 2},
        "rctx": {"req_ip": "192.0.2.1"},
    }
    assert not {"tctx", "rctx"} & set(ask("any", scope="a", **given))


def test_context_cannot_set_another_claim() -> None:
    """It stays under its own name."""
    claims = ask(request_details='{"sub":"root","aud":"other.org","scope":"all"}')
    assert (claims["sub"], claims["aud"], claims["scope"]) == ("user:7", TD, "orders.read")


def test_who_has_asked_before_is_not_for_the_client_to_say() -> None:
    """A replacement appends to ``rctx.req_wl``: what stands there first would be believed."""
    for said in ('{"req_wl":["spiffe://example.org/boss"]}', '{"req_wl":null}'):
        assert refused(request_context=said) == "invalid_request"
    assert ask(request_details='{"req_wl":"x"}')["tctx"] == {"req_wl": "x"}


@pytest.mark.parametrize(("who", "name"), [("edge", "request_details"), ("any", "request_context")])
def test_bad_context_is_refused_whether_it_would_be_used_or_not(who: str, name: str) -> None:
    """Not an object, read in two ways, too large."""
    for bad in (
        "[]",
        '"x"',
        '{"a":1,"a":2}',
        "{",
        '{"a":Infinity}',
        "eyJhIjoxfQ",
        '{"a":"' + "x" * MAX_CONTEXT_BYTES + '"}',
    ):
        assert refused(who, scope="a" if who == "any" else "orders.read", **{name: bad}) == "invalid_request"


def test_context_of_n_and_n_plus_1_bytes() -> None:
    """The limit is the last that is taken; it counts bytes, not characters."""
    fits = '{"a":"' + "é" * ((MAX_CONTEXT_BYTES - 8) // 2) + '"}'
    assert len(fits.encode()) == MAX_CONTEXT_BYTES
    ask(request_details=fits)
    assert refused(request_details=fits.replace("}", " }")) == "invalid_request"


def test_unknown_parameters_change_nothing() -> None:
    """RFC 6749 section 3.2: they are ignored, also those that are named like claims."""
    assert ask(sub="root", exp="9999999999", req_wl="x", lifetime="9999", txn="mine") == ask()


@given(
    st.dictionaries(
        st.sampled_from([*form(), "client_id", "request_details", "actor_token", "resource"]),
        st.one_of(st.text(max_size=30), st.sampled_from([*form().values(), EDGE, "{}", '{"sub":"robot"}'])),
        max_size=8,
    ),
    st.sampled_from(["edge", "orders", "idle", "any", "boss", "stranger"]),
)
def test_whatever_is_asked_only_what_may_be_is_issued(changes: dict[str, str], who: str) -> None:
    """Any form: a refusal with a code of the standards, or claims inside the rules."""
    try:
        claims = issue(form() | changes, peer(who), RULES, NOW, TXN)
    except TokenRefused as refusal:
        event(refusal.error)
        if refusal.error not in ERROR_CODES:
            raise
        return
    client = RULES.clients[f"spiffe://{TD}/{who}"]
    assert claims["aud"] == TD
    assert claims["req_wl"] == f"spiffe://{TD}/{who}"
    assert set(claims["scope"].split(" ")) <= client.scopes
    assert claims["exp"] - claims["iat"] <= 300
