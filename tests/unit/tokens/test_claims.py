"""claims.py: which claims there are, and of which type."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.tokens import ABSENT, TokenMint

from proxy.errors import TokenClaimsInvalid
from proxy.tokens.claims import MAX_DATE, TxnToken, date, read_claims

NOW = 1_700_000_000
MINT = TokenMint()


def read(**claims: object) -> TxnToken:
    """Read valid claims with these changes."""
    return read_claims(MINT.claims(NOW, **claims), "digest")


def test_all_claims() -> None:
    """Every claim has its place."""
    token = read(iss="https://tts.example", scope="a b a")
    assert token.txn == "97053963-771d-49cc-a4e3-20aad399c312"
    assert token.sub == "d084sdrt234fsaw34tr23t"
    assert token.aud == "example.org"
    assert token.scopes == {"a", "b"}
    assert token.req_wl == "spiffe://example.org/edge"
    assert (token.iat, token.exp) == (NOW, NOW + 300)
    assert token.iss == "https://tts.example"
    assert token.tctx == {"action": "BUY", "ticker": "MSFT"}
    assert token.rctx == {"req_ip": "69.151.72.123", "authn": "face"}
    assert token.digest == "digest"


def test_optional_claims() -> None:
    """Iss, tctx and rctx may be absent; claims that are not defined are nobody's."""
    token = read(tctx=ABSENT, rctx=ABSENT, unknown=[1])
    assert (token.iss, token.tctx, token.rctx) == (None, None, None)


@pytest.mark.parametrize("name", ["iat", "aud", "exp", "txn", "sub", "scope", "req_wl"])
@pytest.mark.parametrize("value", [ABSENT, None, True, False, "", [], {}, ["", ""], {"a": 1}, "\x00", "a\nb"])
def test_required(name: str, value: object) -> None:
    """A required claim that is missing, empty or of another type is refused."""
    with pytest.raises(TokenClaimsInvalid, match=name):
        read(**{name: value})


@pytest.mark.parametrize("name", ["txn", "sub", "req_wl", "scope", "aud", "iss"])
@pytest.mark.parametrize("value", [0, 1.5, True, None, ["x", "y"], {"x": 1}, "", "a\r\nX: y", "a\x7f", "a\x1bb"])
def test_text(name: str, value: object) -> None:
    """Text is a string, is not empty, and cannot begin a new line anywhere."""
    with pytest.raises(TokenClaimsInvalid, match=name):
        read(**{name: value})


@pytest.mark.parametrize("name", ["iat", "exp"])
@pytest.mark.parametrize(
    "value", ["1700000000", True, -1, -0.5, MAX_DATE + 1, float("nan"), float("inf"), [NOW], 1e300]
)
def test_date(name: str, value: object) -> None:
    """A date is a number of seconds: no text, no boolean, not before 1970 and not after 9999."""
    with pytest.raises(TokenClaimsInvalid, match=name):
        read(**{name: value})


def test_date_n() -> None:
    """Both ends of the range are dates, and so are fractions."""
    for value in (0, MAX_DATE, NOW + 0.25):
        assert date({"exp": value}, "exp") == value


@pytest.mark.parametrize(
    "scope",
    ["", " ", "a ", " a", "a  b", "a\tb", "a\nb", 'a"b', "a\\b", "\u00e9", "a\u00a0b", "a\x7f", ["a"], 1, "a\u2028b"],
)
def test_scope_refused(scope: object) -> None:
    """RFC 6749 section 3.3: single spaces, and only its characters."""
    with pytest.raises(TokenClaimsInvalid, match="scope"):
        read(scope=scope)


def test_scope_characters() -> None:
    """Exactly 0x21, 0x23 to 0x5B and 0x5D to 0x7E."""
    allowed = {0x21, *range(0x23, 0x5C), *range(0x5D, 0x7F)}
    for code in range(0x180):
        try:
            assert read(scope=chr(code)).scopes == {chr(code)}
            assert code in allowed
        except TokenClaimsInvalid:
            assert code not in allowed


@pytest.mark.parametrize("aud", [["example.org"], "example.org"])
def test_audience(aud: object) -> None:
    """A string, or an array with exactly one."""
    assert read(aud=aud).aud == "example.org"


@pytest.mark.parametrize(
    "aud", [[], ["example.org", "example.org"], ["a", "b"], [["example.org"]], [None], {"a": 1}, [1]]
)
def test_audience_refused(aud: object) -> None:
    """Two audiences are two trust domains, and a token is for one."""
    with pytest.raises(TokenClaimsInvalid, match="aud"):
        read(aud=aud)


@pytest.mark.parametrize("name", ["tctx", "rctx"])
@pytest.mark.parametrize("value", [None, "x", 1, [], [{}], True])
def test_context(name: str, value: object) -> None:
    """A context is an object where there is one."""
    with pytest.raises(TokenClaimsInvalid, match=name):
        read(**{name: value})


def test_repr_names_no_person() -> None:
    """A token in a log by accident tells neither subject nor context."""
    agentic = {"identity": {"workload_id": "dave"}}
    shown = repr(read(sub="alice", tctx={"to": "bob"}, rctx={"ip": "carol"}, agentic_ctx=agentic))
    assert "97053963" in shown
    assert not any(name in shown for name in ("alice", "bob", "carol", "dave"))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(
        st.sampled_from(["iat", "aud", "exp", "txn", "sub", "scope", "req_wl", "iss", "tctx", "rctx"]),
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text(max_size=4)
        | st.lists(st.text(max_size=2), max_size=2)
        | st.dictionaries(st.text(max_size=2), st.integers(), max_size=1),
    )
)
def test_nothing_but_claims_invalid_is_raised(changes: dict[str, Any]) -> None:
    """Whatever the claims are, it is a token or TokenClaimsInvalid."""
    try:
        token = read(**changes)
    except TokenClaimsInvalid:
        return
    assert token.txn
    assert token.scopes
