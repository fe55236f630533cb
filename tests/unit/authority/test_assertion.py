"""Client authentication by a JWT-SVID: it must say what the certificate says, to us alone."""

from collections.abc import Sequence

import pytest
from support.tokens import ABSENT, TokenMint

from proxy.authority.assertion import check_assertion
from proxy.authority.jwt_svid import SvidReader, issue_jwt_svid
from proxy.authority.keys import make_key, sign
from proxy.authority.refusal import TokenRefused
from proxy.errors import UnknownTrustDomain
from proxy.identity.spiffe_id import SpiffeId
from proxy.tokens.exchange import JWT_SPIFFE

NOW = 1_700_000_000.0
EDGE = SpiffeId.parse("spiffe://example.org/edge")
TTS = "spiffe://example.org/tts"
KEY, TOKEN_KEY = make_key(NOW - 10), make_key(NOW - 10)
READ = SvidReader("example.org", TTS, lambda: (KEY,))


def svid(of: str = str(EDGE), audience: Sequence[str] = (TTS,), at: float = NOW) -> str:
    """A JWT-SVID as the authority gives it."""
    return issue_jwt_svid(KEY, SpiffeId.parse(of), audience, at, 300)


def shown(assertion: object = None, kind: object = JWT_SPIFFE, at: float = NOW) -> dict[str, str]:
    """What is left of the form of an edge that shows this."""
    form = {
        "scope": "a",
        "client_assertion": svid() if assertion is None else assertion,
        "client_assertion_type": kind,
    }
    given = {name: str(value) for name, value in form.items() if value is not ABSENT}
    return check_assertion(given, str(EDGE), READ, at)


def test_one_that_holds() -> None:
    """It is taken out of the form; a form without one stays as it is."""
    assert shown() == {"scope": "a"}
    assert check_assertion({"scope": "a"}, str(EDGE), READ, NOW) == {"scope": "a"}


@pytest.mark.parametrize(
    ("assertion", "kind", "at"),
    [
        (svid("spiffe://example.org/orders"), JWT_SPIFFE, NOW),
        (svid("spiffe://other.org/edge"), JWT_SPIFFE, NOW),
        (svid(audience=[f"{TTS}/token"]), JWT_SPIFFE, NOW),
        (svid(audience=["https://127.0.0.1/token"]), JWT_SPIFFE, NOW),
        (svid(audience=[TTS, "spiffe://example.org/orders"]), JWT_SPIFFE, NOW),
        (svid(), JWT_SPIFFE, NOW + 311),
        (svid(), "urn:ietf:params:oauth:client-assertion-type:jwt-bearer", NOW),
        (svid(), ABSENT, NOW),
        (ABSENT, JWT_SPIFFE, NOW),
        (issue_jwt_svid(TOKEN_KEY, EDGE, [TTS], NOW, 300), JWT_SPIFFE, NOW),
        (sign(KEY, {"sub": str(EDGE), "aud": TTS, "exp": NOW + 60}), JWT_SPIFFE, NOW),
        (TokenMint(kid=KEY.kid).token(NOW, header={"typ": "JWT"}, sub=str(EDGE), aud=TTS).decode(), JWT_SPIFFE, NOW),
        ("x", JWT_SPIFFE, NOW),
    ],
    ids=[
        "of another workload",
        "of another domain",
        "for a path below us",
        "for the token endpoint, which is not the issuer",
        "for us and another, who could show it too",
        "ended",
        "of another type",
        "without its type",
        "a type alone",
        "signed with the key of transaction tokens",
        "typed as a transaction token",
        "forged",
        "no token",
    ],
)
def test_those_that_do_not(assertion: object, kind: object, at: float) -> None:
    """Each is the code that RFC 6749 has for it, and none is repeated in the words."""
    with pytest.raises(TokenRefused) as caught:
        shown(assertion, kind, at)
    assert caught.value.error == "invalid_client"
    assert "eyJ" not in caught.value.description


def test_the_reader_believes_its_own_domain_alone() -> None:
    """Our keys prove nobody else's workloads, whatever stands in a token that they have signed."""
    assert READ(svid().encode(), NOW).spiffe_id == EDGE
    with pytest.raises(UnknownTrustDomain):
        READ(svid("spiffe://other.org/edge").encode(), NOW)
