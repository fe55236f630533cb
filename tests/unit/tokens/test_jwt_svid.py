"""JWT-SVIDs: every rule of specs 2.3, and what someone would try to get past them."""

import json
from pathlib import Path
from typing import Any

import jwt
import pytest
from support.tokens import ABSENT, TokenMint, compact_json

from proxy.errors import KeysInvalid, ProxyError, UnknownTrustDomain
from proxy.tokens.jwk import JWT_SVID, UnusableKey, read_jwk
from proxy.tokens.jwt_svid import ALGORITHMS, MAX_BYTES, SKEW_S, JwtBundles, read_bundles, verify_jwt_svid
from proxy.tokens.keys import KeySet

NOW = 1_800_000_000.0
URI = "spiffe://example.org/orders"
AUDIENCE = "https://tts.example.org"
MINT = TokenMint()
OTHER = TokenMint(kid="other", number=7)


def bundle(*mints: TokenMint) -> bytes:
    """A bundle as SPIRE writes it: without alg."""
    keys = [{**mint.jwk, "use": "jwt-svid"} for mint in mints]
    for key in keys:
        del key["alg"]
    return compact_json({"keys": keys, "spiffe_sequence": 3})


def bundles() -> JwtBundles:
    """One key for each of two domains."""
    found, refused = read_bundles({"spiffe://example.org": bundle(MINT), "spiffe://other.org": bundle(OTHER)})
    assert refused == []
    return found


BUNDLES = bundles()


def make(mint: TokenMint = MINT, header: dict[str, Any] | None = None, **claims: Any) -> bytes:
    """A good JWT-SVID, changed."""
    head = {"alg": mint.algorithm, "kid": mint.kid, "typ": "JWT", **(header or {})}
    body = {"sub": URI, "aud": [AUDIENCE], "exp": int(NOW) + 300, "iat": int(NOW), **claims}
    return mint.sign(
        {name: value for name, value in head.items() if value is not ABSENT},
        compact_json({name: value for name, value in body.items() if value is not ABSENT}),
    )


def reason(raw: bytes, known: JwtBundles = BUNDLES, now: float = NOW) -> str:
    """Why it is refused; empty where it is not."""
    try:
        verify_jwt_svid(raw, known, AUDIENCE, now)
    except ProxyError as error:
        return error.reason
    return ""


def test_good() -> None:
    """Who it is of, for whom, and until when."""
    found = verify_jwt_svid(make(), BUNDLES, AUDIENCE, NOW)
    assert (str(found.spiffe_id), found.audience, found.exp) == (URI, (AUDIENCE,), NOW + 300)
    assert verify_jwt_svid(make(aud=["x", AUDIENCE]), BUNDLES, AUDIENCE, NOW).audience == ("x", AUDIENCE)


def test_repr_tells_no_claims() -> None:
    """One in a log by accident says whose it is, and nothing else that stood in it."""
    shown = repr(verify_jwt_svid(make(email="alice"), BUNDLES, AUDIENCE, NOW))
    assert "orders" in shown
    assert "alice" not in shown


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_all_algorithms_of_the_standard(algorithm: str) -> None:
    """Where the bundle names them for the key; another maker of tokens (PyJWT) signs."""
    mint = TokenMint(algorithm=algorithm)
    known = {"example.org": KeySet.parse(compact_json({"keys": [{**mint.jwk, "use": "jwt-svid"}]}), JWT_SVID)}
    claims = {"sub": URI, "aud": AUDIENCE, "exp": int(NOW) + 300}
    raw = jwt.encode(claims, mint.private, algorithm=algorithm, headers={"kid": mint.kid})
    assert reason(raw.encode(), known) == ""


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        # the header
        (make(header={"typ": "JOSE"}), ""),
        (make(header={"typ": ABSENT}), ""),
        (make(header={"typ": "jwt"}), "token_wrong_type"),
        (make(header={"typ": "txntoken+jwt"}), "token_wrong_type"),
        (make(header={"typ": None}), "token_wrong_type"),
        (make(header={"typ": ["JWT"]}), "token_wrong_type"),
        (make(header={"cty": "JWT"}), "token_malformed"),
        (make(header={"jwk": MINT.jwk}), "token_malformed"),
        (make(header={"crit": ["exp"]}), "token_malformed"),
        (make(header={"kid": ABSENT}), "token_unknown_key"),
        (make(header={"kid": "unknown"}), "token_unknown_key"),
        (make(header={"alg": "none"}), "token_algorithm_refused"),
        (make(header={"alg": "HS256"}), "token_algorithm_refused"),
        (make(header={"alg": "EdDSA"}), "token_algorithm_refused"),
        (make(header={"alg": "ES384"}), "token_algorithm_refused"),
        # whose keys
        (make(sub="spiffe://other.org/orders"), "token_unknown_key"),
        (make(OTHER), "token_unknown_key"),
        (make(OTHER, header={"kid": MINT.kid}), "token_bad_signature"),
        (make(MINT.forger()), "token_bad_signature"),
        (make(sub="spiffe://third.org/orders"), "unknown_trust_domain"),
        # the claims
        (make(sub=ABSENT), "token_claims_invalid"),
        (make(sub=7), "token_claims_invalid"),
        (make(sub="orders"), "token_claims_invalid"),
        (make(sub="spiffe://example.org"), "token_claims_invalid"),
        (make(sub="spiffe://example.org/a/../b"), "token_claims_invalid"),
        (make(aud=AUDIENCE), ""),
        (make(aud=ABSENT), "token_claims_invalid"),
        (make(aud=[]), "token_claims_invalid"),
        (make(aud=[AUDIENCE, 7]), "token_claims_invalid"),
        (make(aud=[AUDIENCE, ""]), "token_claims_invalid"),
        (make(aud={AUDIENCE: 1}), "token_claims_invalid"),
        (make(aud="https://tts.example.org/"), "token_wrong_audience"),
        (make(exp=ABSENT), "token_claims_invalid"),
        (make(exp="1900000000"), "token_claims_invalid"),
        (make(exp=True), "token_claims_invalid"),
        (make(exp=int(NOW - SKEW_S)), "token_expired"),
        (make(exp=int(NOW - SKEW_S) + 1), ""),
        (make(nbf=int(NOW + SKEW_S)), ""),
        (make(nbf=int(NOW + SKEW_S) + 1), "token_from_future"),
        # the form
        (b"", "token_malformed"),
        (make() + b"=", "token_malformed"),
        (make() + b".x", "token_malformed"),
        (b"a.!.c", "token_malformed"),
        (make().split(b".")[0] + b".!.c3Zp", "token_malformed"),
    ],
)
def test_each_rule(raw: bytes, why: str) -> None:
    """One reason each; empty for what the standard allows."""
    assert reason(raw) == why


def test_an_ambiguous_payload() -> None:
    """Two subs: the one by which keys are chosen must be the one that is believed."""
    claims = json.dumps({"aud": AUDIENCE, "exp": NOW + 300})[:-1]
    twice = f'{claims}, "sub": "spiffe://other.org/x", "sub": "{URI}"}}'.encode()
    assert reason(MINT.sign({"alg": "ES256", "kid": MINT.kid}, twice)) == "token_malformed"


def test_the_size_is_bounded() -> None:
    """At n it is read, at n+1 refused."""
    fits = make(pad="x" * 100)
    grown = make(pad="x" * (100 + (MAX_BYTES - len(fits)) * 3 // 4))
    assert MAX_BYTES - 3 <= len(grown) <= MAX_BYTES
    assert reason(grown) == ""
    assert reason(b"a" * (MAX_BYTES + 1)) == "token_too_large"
    assert reason(b"a" * MAX_BYTES) == "token_malformed"


def test_keys_have_one_use() -> None:
    """A key for transaction tokens signs no JWT-SVID, and the other way round; without ``use`` it is its set's."""
    for use in ("sig", "x509-svid", "JWT-SVID"):
        with pytest.raises(UnusableKey, match="use is not jwt-svid"):
            read_jwk({**MINT.jwk, "use": use}, JWT_SVID)
    without = dict(MINT.jwk)
    del without["use"]
    assert read_jwk(without, JWT_SVID) == read_jwk({**MINT.jwk, "use": "jwt-svid"}, JWT_SVID)
    with pytest.raises(KeysInvalid, match="use is not sig"):
        KeySet.parse(bundle(MINT))
    nameless = {**MINT.jwk, "use": "jwt-svid"}
    del nameless["kid"]
    with pytest.raises(UnusableKey, match="must have a kid"):
        read_jwk(nameless, JWT_SVID)


def test_bundles_that_cannot_be_used_cost_their_own_domain() -> None:
    """What is left out is told; nobody of that domain is believed."""
    found, refused = read_bundles(
        {
            "spiffe://example.org": bundle(MINT),
            "spiffe://empty.org": b'{"keys": []}',
            "spiffe://broken.org": b"{",
            "spiffe://example.org/workload": bundle(OTHER),
            "Other.org": bundle(OTHER),
        }
    )
    assert set(found) == {"example.org"}
    assert len(refused) == 4
    with pytest.raises(UnknownTrustDomain):
        verify_jwt_svid(make(sub="spiffe://empty.org/x"), found, AUDIENCE, NOW)


def test_a_key_that_jwt_svids_may_not_have() -> None:
    """EdDSA is not among the algorithms of the standard, also where the bundle has such a key and the signature is good."""
    mint = TokenMint(algorithm="EdDSA")
    known = {"example.org": KeySet.parse(compact_json({"keys": [{**mint.jwk, "use": "jwt-svid"}]}), JWT_SVID)}
    assert reason(make(mint), known) == "token_algorithm_refused"


GO, JAVA, PY = "spiffe-go/", "spiffe-java/testdata/", "spiffe-py/jwks/"

# JWK Set, the keys that verify JWT-SVIDs (0: it is refused), and whether that is what its library expects.
FIXTURES = [
    (GO + "bundle/jwtbundle/testdata/jwks_valid_1.json", 1, True),
    (GO + "bundle/jwtbundle/testdata/jwks_valid_2.json", 2, True),
    (GO + "bundle/spiffebundle/testdata/spiffebundle_valid_1.json", 1, True),
    (GO + "bundle/spiffebundle/testdata/spiffebundle_valid_2.json", 6, True),
    (GO + "bundle/spiffebundle/testdata/spiffebundle_valid_with_wit.json", 2, True),
    (GO + "bundle/spiffebundle/testdata/spiffebundle_missing_kid.json", 0, True),
    (GO + "bundle/spiffebundle/testdata/spiffebundle_no_keys.json", 0, True),
    (JAVA + "jwtbundle/jwks_valid_EC_1.json", 1, True),
    (JAVA + "jwtbundle/jwks_invalid_keytype.json", 0, True),
    (JAVA + "workloadapi/bundle.json", 3, True),
    (PY + "jwks_1_ec_key.json", 1, True),
    (PY + "jwks_3_keys.json", 3, True),
    (PY + "jwks_ec_missing_x.json", 0, True),
    # A bad key costs itself alone (Trust Domain and Bundle 4.1.3: ignore the element); the libraries refuse the set.
    (GO + "bundle/jwtbundle/testdata/jwks_missing_kid.json", 1, False),
    (JAVA + "jwtbundle/jwks_missing_kid.json", 1, False),
    (PY + "jwks_missing_kid.json", 1, False),
    (GO + "bundle/spiffebundle/testdata/spiffebundle_multiple_x509.json", 1, False),
    # The RSA key is published with its private parts.
    (JAVA + "jwtbundle/jwks_valid_RSA_1.json", 0, False),
    (JAVA + "jwtbundle/jwks_valid_RSA_EC.json", 1, False),
]


@pytest.mark.shared
@pytest.mark.parametrize(("file", "count"), [(file, count) for file, count, _ in FIXTURES])
def test_published_bundles(shared_testdata: Path, file: str, count: int) -> None:
    """Those of go-spiffe, java-spiffe and py-spiffe, as the keys of JWT-SVIDs."""
    raw = (shared_testdata / file).read_bytes()
    if count:
        assert len(KeySet.parse(raw, JWT_SVID).keys) == count
    else:
        with pytest.raises(KeysInvalid):
            KeySet.parse(raw, JWT_SVID)


@pytest.mark.shared
def test_every_published_bundle_is_named_above(shared_testdata: Path) -> None:
    """All but those of WIT-SVIDs, which are not spoken here."""
    files = {
        str(path.relative_to(shared_testdata))
        for folder in ("spiffe-go", "spiffe-java", "spiffe-py")
        for path in (shared_testdata / folder).rglob("*.json")
        if "jwks" in path.name or "bundle" in path.name
    }
    wit = {file for file in files if "/witbundle/" in file}
    assert files - wit == {file for file, _, _ in FIXTURES}
    assert (len(wit), sum(same for _, _, same in FIXTURES), len(FIXTURES)) == (3, 13, 19)
