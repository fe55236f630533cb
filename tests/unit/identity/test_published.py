"""SVIDs, keys and bundles that go-spiffe, java-spiffe, py-spiffe and SPIRE publish, every file of them.

Loading an SVID compares no clock, so a ``wrong-*`` certificate is refused for what it is; each stands beside the good
twin that it was made from, both valid at ``FROZEN``. Paths are validated at an instant at which all of it is valid.
"""

import datetime as dt
import json
from pathlib import Path

import pytest

from proxy.errors import CertificateExpired, IdentityInvalid, NotAnSvid, ProxyError, UntrustedChain
from proxy.identity.bundle import Bundle, read_pem
from proxy.identity.certificate import read_der
from proxy.identity.peer import verify_path
from proxy.identity.svid import X509Svid, check_leaf

pytestmark = [
    pytest.mark.shared,
    # Old SPIRE gave its roots the serial number 0, and one bundle has a subject of 7 KB.
    pytest.mark.filterwarnings("ignore:Parsed a serial number", "ignore:Attribute's length"),
]

GO = "spiffe-go/svid/x509svid/testdata/"
JAVA = "spiffe-java/testdata/"
PY = "spiffe-py/"
SPIRE = "spire/certs/"


def at(*when: int) -> float:
    """An instant in UTC."""
    return dt.datetime(*when, tzinfo=dt.UTC).timestamp()  # type: ignore[arg-type, misc]


FROZEN = at(2024, 6, 1)

WORKLOAD = "spiffe://example.org/workload-1"

# Chain, key, and the SPIFFE ID with the number of certificates, or the refusal. What go-spiffe expects is in its own list.
SVIDS: list[tuple[str, str, tuple[str, int] | type[ProxyError]]] = [
    (JAVA + "x509svid/good-leaf-and-intermediate.pem", JAVA + "x509svid/key-pkcs8-ecdsa.pem", (WORKLOAD, 2)),
    (JAVA + "x509svid/good-leaf-only.pem", JAVA + "x509svid/key-pkcs8-rsa.pem", (WORKLOAD, 1)),
    (JAVA + "x509svid/good-leaf-and-intermediate.pem", JAVA + "x509svid/key-ecdsa-other.pem", IdentityInvalid),
    (JAVA + "x509svid/good-leaf-only.pem", JAVA + "x509svid/key-rsa-other.pem", IdentityInvalid),
    (JAVA + "x509svid/wrong-intermediate-no-ca.pem", JAVA + "x509svid/key-pkcs8-rsa.pem", NotAnSvid),
    (JAVA + "x509svid/wrong-intermediate-no-key-cert-sign.pem", JAVA + "x509svid/key-pkcs8-rsa.pem", NotAnSvid),
    (JAVA + "x509svid/wrong-leaf-ca-true.pem", JAVA + "x509svid/key-pkcs8-rsa.pem", NotAnSvid),
    (JAVA + "x509svid/wrong-leaf-cert-sign.pem", JAVA + "x509svid/key-pkcs8-rsa.pem", NotAnSvid),
    (JAVA + "x509svid/wrong-leaf-crl-sign.pem", JAVA + "x509svid/key-pkcs8-rsa.pem", NotAnSvid),
    (JAVA + "x509svid/wrong-leaf-empty-id.pem", JAVA + "x509svid/key-pkcs8-rsa.pem", NotAnSvid),
    (JAVA + "x509svid/wrong-leaf-no-digital-signature.pem", JAVA + "x509svid/key-pkcs8-rsa.pem", NotAnSvid),
    (JAVA + "x509svid/cert.der", JAVA + "x509svid/keyEC.der", ("spiffe://example.org/workload-server", 1)),
    (JAVA + "x509svid/corrupted", JAVA + "x509svid/keyEC.der", IdentityInvalid),
    (JAVA + "workloadapi/svid.der", JAVA + "workloadapi/svid.key.der", ("spiffe://example.org/workload-server", 1)),
    (JAVA + "workloadapi/corrupted", JAVA + "workloadapi/svid.key.der", IdentityInvalid),
    (JAVA + "workloadapi/svid.der", JAVA + "workloadapi/corrupted", IdentityInvalid),
    *(
        (JAVA + f"certs/leaf-{leaf}.crt.der", JAVA + f"certs/leaf-{leaf}.key.der", (f"spiffe://test/{leaf}", 1))
        for leaf in "abcde"
    ),
    (JAVA + "certs/leaf-a.crt.der", JAVA + "certs/leaf-b.key.der", IdentityInvalid),
    # An RSA key of 1024 bits, and not the key of that certificate either.
    (JAVA + "internal/cert.pem", JAVA + "internal/privateKeyRsa.pem", IdentityInvalid),
    (PY + "x509-certs/1-chain.der", PY + "x509-certs/1-key.der", ("spiffe://example.org/service", 2)),
    (PY + "x509-certs/2-chain.pem", PY + "x509-certs/2-key.pem", ("spiffe://example.org/service", 2)),
    (PY + "x509-certs/3-good-leaf-only.pem", PY + "x509-certs/3-key-pkcs8-rsa.pem", (WORKLOAD, 1)),
    (PY + "x509-certs/4-cert.der", PY + "x509-certs/4-key.der", ("spiffe://example.org/service2", 1)),
    (PY + "x509-certs/corrupted", PY + "x509-certs/2-key.pem", IdentityInvalid),
    (PY + "x509-certs/2-chain.pem", PY + "x509-certs/corrupted", IdentityInvalid),
    (PY + "x509-certs/wrong-empty-spiffe-id.pem", PY + "x509-certs/3-key-pkcs8-rsa.pem", NotAnSvid),
    (PY + "x509-certs/wrong-intermediate-no-ca.pem", PY + "x509-certs/3-key-pkcs8-rsa.pem", NotAnSvid),
    (PY + "x509-certs/wrong-intermediate-no-key-cert-sign.pem", PY + "x509-certs/3-key-pkcs8-rsa.pem", NotAnSvid),
    (PY + "x509-certs/wrong-leaf-ca-true.pem", PY + "x509-certs/3-key-pkcs8-rsa.pem", NotAnSvid),
    (PY + "x509-certs/wrong-leaf-cert-sign.pem", PY + "x509-certs/3-key-pkcs8-rsa.pem", NotAnSvid),
    (PY + "x509-certs/wrong-leaf-crl-sign.pem", PY + "x509-certs/3-key-pkcs8-rsa.pem", NotAnSvid),
    (PY + "x509-certs/wrong-leaf-no-digital-signature.pem", PY + "x509-certs/3-key-pkcs8-rsa.pem", NotAnSvid),
    (
        SPIRE + "svid.pem",
        SPIRE + "svid_key.pem",
        ("spiffe://example.org/spire/agent/join_token/2cf3538c-4f9c-46c0-a526-1ca679a92492", 1),
    ),
    # SPIRE's of 2017: key usage is there, but not critical (X509-SVID 4.3: MUST).
    *(
        (SPIRE + f"{name}_cert.pem", SPIRE + f"{name}_key.pem", NotAnSvid)
        for name in ("base", "base_rotated", "blog", "database", "node")
    ),
]

# File, trust domain, number of authorities, or a refusal.
BUNDLES: list[tuple[str, str, int | None]] = [
    ("spiffe-go/bundle/x509bundle/testdata/cert.pem", "domain.test", 1),
    ("spiffe-go/bundle/x509bundle/testdata/certs.pem", "domain.test", 2),
    ("spiffe-go/bundle/x509bundle/testdata/corrupted.pem", "domain.test", None),
    ("spiffe-go/bundle/x509bundle/testdata/empty.pem", "domain.test", None),
    ("spiffe-go/bundle/x509bundle/testdata/key.pem", "domain.test", None),
    ("spiffe-go/bundle/x509bundle/testdata/not-pem.pem", "domain.test", None),
    ("spiffe-go/bundle/spiffebundle/testdata/spiffebundle_valid_1.json", "local", 1),
    ("spiffe-go/bundle/spiffebundle/testdata/spiffebundle_valid_1.json", "domain.test", None),
    ("spiffe-go/bundle/spiffebundle/testdata/spiffebundle_valid_2.json", "local", 1),
    ("spiffe-go/bundle/spiffebundle/testdata/spiffebundle_valid_with_wit.json", "local", 1),
    # go-spiffe refuses these two; X509-SVID 6.2 takes the first value of x5c, and jwt-svid entries are none of ours.
    ("spiffe-go/bundle/spiffebundle/testdata/spiffebundle_multiple_x509.json", "local", 1),
    ("spiffe-go/bundle/spiffebundle/testdata/spiffebundle_missing_kid.json", "local", 1),
    ("spiffe-go/bundle/spiffebundle/testdata/spiffebundle_no_keys.json", "local", None),
    # Sets of JWT keys: no x509-svid entry, so nobody is trusted.
    ("spiffe-go/bundle/jwtbundle/testdata/jwks_missing_kid.json", "domain.test", 0),
    ("spiffe-go/bundle/jwtbundle/testdata/jwks_valid_1.json", "domain.test", 0),
    ("spiffe-go/bundle/jwtbundle/testdata/jwks_valid_2.json", "domain.test", 0),
    ("spiffe-go/exp/bundle/witbundle/testdata/jwks_missing_kid.json", "domain.test", 0),
    ("spiffe-go/exp/bundle/witbundle/testdata/jwks_valid_1.json", "domain.test", 0),
    ("spiffe-go/exp/bundle/witbundle/testdata/jwks_valid_2.json", "domain.test", 0),
    (JAVA + "jwtbundle/jwks_invalid_keytype.json", "domain.test", 0),
    (JAVA + "jwtbundle/jwks_missing_kid.json", "domain.test", 0),
    (JAVA + "jwtbundle/jwks_valid_EC_1.json", "domain.test", 0),
    (JAVA + "jwtbundle/jwks_valid_RSA_1.json", "domain.test", 0),
    (JAVA + "jwtbundle/jwks_valid_RSA_EC.json", "domain.test", 0),
    (JAVA + "workloadapi/bundle.json", "example.org", 0),
    (JAVA + "workloadapi/bundle.der", "example.org", 1),
    (JAVA + "workloadapi/bundle.der", "other.org", None),
    (JAVA + "workloadapi/federated-bundle.pem", "local", 1),
    (JAVA + "workloadapi/federated-bundle.pem", "example.org", None),
    (JAVA + "internal/bundle.pem", "other.org", 1),
    (JAVA + "x509bundle/cert.pem", "domain.test", 1),
    (JAVA + "x509bundle/certs.pem", "domain.test", 2),
    (JAVA + "x509bundle/corrupted.pem", "domain.test", None),
    (JAVA + "x509bundle/empty.pem", "domain.test", None),
    (JAVA + "x509bundle/key.pem", "domain.test", None),
    (JAVA + "x509bundle/not-pem.pem", "domain.test", None),
    (PY + "jwks/jwks_1_ec_key.json", "domain.test", 0),
    (PY + "jwks/jwks_3_keys.json", "domain.test", 0),
    (PY + "jwks/jwks_ec_missing_x.json", "domain.test", 0),
    (PY + "jwks/jwks_missing_kid.json", "domain.test", 0),
    (PY + "x509-bundle-certs/cert.der", "domain.test", 1),
    (PY + "x509-bundle-certs/cert.pem", "domain.test", 1),
    (PY + "x509-bundle-certs/certs.der", "example.org", 2),
    (PY + "x509-bundle-certs/certs.pem", "domain.test", 2),
    (PY + "x509-bundle-certs/corrupted", "domain.test", None),
    (PY + "x509-bundle-certs/empty.pem", "domain.test", None),
    (PY + "x509-bundle-certs/federated_bundle.der", "local", 1),
    (PY + "x509-bundle-certs/federated_bundle.der", "example.org", None),
    (PY + "x509-bundle-certs/key.pem", "domain.test", None),
    (PY + "x509-bundle-certs/not-pem", "domain.test", None),
    (SPIRE + "bundle.der", "example.org", 17),
    (SPIRE + "bundle.der", "other.org", None),
    (SPIRE + "large_bundle.der", "example.org", 1),
    (SPIRE + "ca.pem", "example.org", 1),
]

NOT_APPLICABLE = {
    # Certificate signing requests: we ask for none.
    *(SPIRE + f"{name}_csr.pem" for name in ("base", "base_rotated", "blog", "database", "node")),
    SPIRE + "ca_key.pem",  # the key of an authority: not ours to load
    JAVA + "spiffeid/spiffeIds.txt",  # read by test_spiffe_id.py
}

OTHERWISE_READ = {
    "spiffe-go/expected.json",
    SPIRE + "agent_svid.der",
    JAVA + "internal/cert2.pem",
}


def load(root: Path, chain: str, key: str) -> X509Svid:
    """Load a pair in the form that its bytes have."""
    raw = (root / chain).read_bytes(), (root / key).read_bytes()
    if chain.endswith(".der") or (key.endswith(".der") and chain.endswith("corrupted")):
        return X509Svid.from_der(*raw)
    return X509Svid.from_pem(*raw)


def test_own_svids_of_go_spiffe(shared_testdata: Path) -> None:
    """All that go-spiffe's own TestParse expects, 18 pairs."""
    listed = json.loads((shared_testdata / "spiffe-go/expected.json").read_text())
    folder = shared_testdata / "spiffe-go" / listed["dir"]
    accepted = refused = 0
    for case in listed["cases"]:
        pair = (folder / case["cert"]).read_bytes(), (folder / case["key"]).read_bytes()
        if case["accept"]:
            svid = X509Svid.from_pem(*pair)
            assert (str(svid.spiffe_id), len(svid.certificates)) == (WORKLOAD, case.get("certs", 1)), case
            accepted += 1
        else:
            with pytest.raises((IdentityInvalid, NotAnSvid)):
                X509Svid.from_pem(*pair)
            refused += 1
    assert (accepted, refused) == (4, 14)


@pytest.mark.parametrize(("chain", "key", "expected"), SVIDS)
def test_own_svids(shared_testdata: Path, chain: str, key: str, expected: tuple[str, int] | type[ProxyError]) -> None:
    """Those of java-spiffe, py-spiffe and SPIRE."""
    if isinstance(expected, type):
        with pytest.raises(expected):
            load(shared_testdata, chain, key)
    else:
        svid = load(shared_testdata, chain, key)
        assert (str(svid.spiffe_id), len(svid.certificates)) == expected


@pytest.mark.parametrize("folder", [GO, JAVA + "x509svid/", PY + "x509-certs/"])
def test_wrong_leaves_are_not_merely_old(shared_testdata: Path, folder: str) -> None:
    """Each wrong certificate, and the good leaf that it was made from, is valid at the frozen instant."""
    wrong = sorted((shared_testdata / folder).glob("wrong-*.pem"))
    good = next((shared_testdata / folder).glob("*good-leaf-only.pem"))
    assert len(wrong) == 7
    for certificate in [c for path in (good, *wrong) for c in read_pem(path.read_bytes())]:
        assert certificate.not_valid_before_utc.timestamp() < FROZEN < certificate.not_valid_after_utc.timestamp()


@pytest.mark.parametrize(("name", "trust_domain", "count"), BUNDLES)
def test_bundles(shared_testdata: Path, name: str, trust_domain: str, count: int | None) -> None:
    """Every bundle, under its own trust domain and, where its root names one, under none else."""
    raw = (shared_testdata / name).read_bytes()
    read = {".json": Bundle.from_jwks, ".der": Bundle.from_der}.get(Path(name).suffix, Bundle.from_pem)
    if count is None:
        with pytest.raises(IdentityInvalid):
            read(trust_domain, raw)
    else:
        assert len(read(trust_domain, raw).authorities) == count


@pytest.mark.parametrize(
    ("chain", "when"),
    [
        (GO + "good-leaf-and-intermediate.pem", at(2020, 3, 24, 14, 30)),
        (JAVA + "x509svid/good-leaf-and-intermediate.pem", at(2020, 3, 24, 14, 30)),
        (PY + "x509-certs/2-chain.pem", at(2021, 2, 10, 15)),
        (PY + "x509-certs/1-chain.der", at(2021, 2, 9, 19)),
    ],
)
def test_paths_to_the_intermediate(shared_testdata: Path, chain: str, when: float) -> None:
    """SPIRE's own chains validate with their intermediate as the anchor, and not with another's, nor at another time."""
    raw = (shared_testdata / chain).read_bytes()
    leaf, above = Bundle.from_der("example.org", raw).authorities if chain.endswith(".der") else read_pem(raw)
    verify_path([leaf], Bundle(trust_domain="example.org", authorities=(above,)), when)
    foreign = Bundle.from_pem("example.org", (shared_testdata / SPIRE / "ca.pem").read_bytes())
    with pytest.raises(UntrustedChain):
        verify_path([leaf, above], foreign, when)
    with pytest.raises(CertificateExpired):
        verify_path([leaf], Bundle(trust_domain="example.org", authorities=(above,)), FROZEN)


def test_path_of_spire(shared_testdata: Path) -> None:
    """An agent's SVID under its root, P-521; the root is not self-signed."""
    bundle = Bundle.from_pem("example.org", (shared_testdata / SPIRE / "ca.pem").read_bytes())
    svid = read_pem((shared_testdata / SPIRE / "svid.pem").read_bytes())
    verify_path(svid, bundle, at(2018, 2, 10, 1))
    with pytest.raises(CertificateExpired):
        verify_path(svid, bundle, FROZEN)


def test_path_of_java_spiffe(shared_testdata: Path) -> None:
    """At one instant the workload of other.org validates against its bundle, and that of example.org does not."""
    folder = shared_testdata / JAVA / "internal"
    bundle = Bundle.from_pem("other.org", (folder / "bundle.pem").read_bytes())
    verify_path(read_pem((folder / "cert2.pem").read_bytes()), bundle, at(2020, 3, 19, 20))
    with pytest.raises(UntrustedChain):
        verify_path(read_pem((folder / "cert.pem").read_bytes()), bundle, at(2020, 3, 19, 20))


def test_agent_svid_of_spire(shared_testdata: Path) -> None:
    """Of 2017 as well: its key usage is not critical."""
    with pytest.raises(NotAnSvid, match="critical"):
        check_leaf(read_der((shared_testdata / SPIRE / "agent_svid.der").read_bytes()))


def test_every_file_is_read(shared_testdata: Path) -> None:
    """No published file is left out: read above, or named with the reason why not."""
    listed = json.loads((shared_testdata / "spiffe-go/expected.json").read_text())
    read = {f"spiffe-go/{listed['dir']}/{case[role]}" for case in listed["cases"] for role in ("cert", "key")}
    read |= {name for chain, key, _ in SVIDS for name in (chain, key)} | {name for name, _, _ in BUNDLES}
    folders = ("spiffe-go", "spiffe-java", "spiffe-py", "spire")
    found = {
        str(path.relative_to(shared_testdata))
        for folder in folders
        for path in (shared_testdata / folder).rglob("*")
        if path.is_file() and path.name not in {"LICENSE", "SOURCE.txt"}
    }
    assert found == read | NOT_APPLICABLE | OTHERWISE_READ
    assert not NOT_APPLICABLE & read
    assert (len(found), len(SVIDS), len(BUNDLES), len(NOT_APPLICABLE)) == (134, 42, 54, 7)
