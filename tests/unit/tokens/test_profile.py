"""profile.py: older drafts and Tokenetes, only where the operator says so."""

import pytest
from support.tokens import ABSENT, TokenMint

from proxy.errors import TokenClaimsInvalid, TokenRefusal, TokenWrongType
from proxy.tokens.claims import TxnToken
from proxy.tokens.keys import KeySet
from proxy.tokens.profile import Profile
from proxy.tokens.verify import Expect, verify

NOW = 1_700_000_000.0
MINT = TokenMint(algorithm="RS256")
KEYS = KeySet.parse(MINT.jwks())
OLD = {"scope": ABSENT, "tctx": ABSENT, "req_wl": ABSENT, "purp": "trade", "azd": {"quantity": 100}}


def read(profile: Profile, typ: object = "txn_token", **claims: object) -> TxnToken:
    """Verify a token as Tokenetes writes it, changed by ``claims``, under a profile."""
    raw = MINT.token(NOW, header={"typ": typ}, **(OLD | claims))
    return verify(raw, KEYS, NOW, Expect(audience="example.org", profile=profile))


def test_tokenetes() -> None:
    """Its words become today's."""
    token = read(Profile.OLDER_DRAFTS)
    assert token.scopes == {"trade"}
    assert (token.tctx, token.req_wl) == ({"quantity": 100}, "-")


@pytest.mark.parametrize("typ", ["txn_token", "txntoken+jwt", "application/txntoken+jwt", "TxnToken+JWT"])
def test_todays_words_are_read_there_too(typ: str) -> None:
    """An issuer that has moved on is believed before its profile is changed; either spelling of the type."""
    assert read(Profile.OLDER_DRAFTS, typ=typ).scopes == {"trade"}
    today = read(Profile.OLDER_DRAFTS, typ=typ, purp=ABSENT, azd=ABSENT, scope="a b", tctx={"n": 1}, req_wl="edge")
    assert today.scopes == {"a", "b"}
    assert (today.tctx, today.req_wl) == ({"n": 1}, "edge")


def test_strict_knows_none_of_it() -> None:
    """Nothing that the token says makes it more than it is to a strict reader."""
    with pytest.raises(TokenWrongType):
        read(Profile.STRICT)
    with pytest.raises(TokenClaimsInvalid):
        read(Profile.STRICT, typ="txntoken+jwt")
    with pytest.raises(TokenClaimsInvalid):
        read(Profile.STRICT, typ="txntoken+jwt", req_wl="edge", azd=ABSENT, tctx={})


@pytest.mark.parametrize(("named", "req_wl"), [("edge", "edge"), (["edge", "orders"], "edge,orders")])
def test_the_requester_of_draft_04(named: object, req_wl: str) -> None:
    """It stood in rctx, as a list after a replacement; a claim of today's wins."""
    assert read(Profile.OLDER_DRAFTS, rctx={"req_wl": named}).req_wl == req_wl
    assert read(Profile.OLDER_DRAFTS, rctx={"req_wl": named}, req_wl="now").req_wl == "now"


@pytest.mark.parametrize(
    "claims",
    [
        {"scope": "trade"},  # beside purp
        {"tctx": {}},  # beside azd
        {"purp": "read write"},  # would be two scopes
        {"purp": ""},
        {"purp": ["trade"]},
        {"purp": ABSENT},
        {"azd": "x"},
        {"rctx": {"req_wl": []}},
        {"rctx": {"req_wl": [1]}},
        {"exp": ABSENT},  # Tokenetes does not ask for it
        {"aud": ["example.org", "other"]},
    ],
)
def test_what_is_refused_there_too(claims: dict[str, object]) -> None:
    """Older words, the same rules; what two readers could read in two ways is refused."""
    with pytest.raises(TokenClaimsInvalid):
        read(Profile.OLDER_DRAFTS, **claims)


@pytest.mark.parametrize("typ", ["JWT", "at+jwt", "txn-token", "application/txn_token"])
def test_other_types_are_refused_there_too(typ: str) -> None:
    """An access token is no transaction token in any profile."""
    with pytest.raises(TokenRefusal):
        read(Profile.OLDER_DRAFTS, typ=typ)
