"""A throwaway trust domain: two workloads, an impostor, a foreign CA, a token service's key and its tokens.

Everything lives in one temporary directory and for a day at most; nothing here is worth stealing.
"""

import datetime as dt
import json
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

TRUST_DOMAIN = "example.org"
EDGE = f"spiffe://{TRUST_DOMAIN}/edge"
ORDERS = f"spiffe://{TRUST_DOMAIN}/orders"
SCOPE = "orders.read"
KID = "loadtest"
TOKEN_TTL_S = 3600  # the longest that svidecar accepts by default; a run is minutes
VALIDITY = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Credential:
    """A certificate chain and its key, as PEM files."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """The files and tokens that every contender is configured with.

    ``other`` is a workload of the same trust domain that nobody should let in or believe; ``forged`` claims to be
    the edge, but a foreign CA signed it.
    """

    directory: Path
    root: "Authority"
    bundle: Path
    jwks: Path
    public: Path
    signer: ec.EllipticCurvePrivateKey
    edge: Credential
    orders: Credential
    other: Credential
    forged: Credential
    tokens: Mapping[str, str]

    @property
    def token(self) -> str:
        """The token that every measured request carries."""
        return self.tokens["good"]

    def token_of(self, **claims: str) -> str:
        """A good token with these claims."""
        return _sign(_claims() | claims, self.signer)

    def fresh_tokens(self, count: int) -> Iterator[str]:
        """Good tokens that no other equals: a transaction each."""
        claims = _claims()
        for _ in range(count):
            yield _sign(claims | {"txn": str(uuid.uuid4())}, self.signer)


def make(directory: Path) -> Material:
    """Write a fresh trust domain into ``directory``."""
    root, foreign = Authority(), Authority()
    (directory / "bundle.pem").write_bytes(_pem(root.certificate))
    signer = ec.generate_private_key(ec.SECP256R1())
    (directory / "jwks.json").write_text(json.dumps({"keys": [_jwk(signer)]}))
    (directory / "tts-public.pem").write_bytes(
        signer.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return Material(
        directory=directory,
        root=root,
        bundle=directory / "bundle.pem",
        jwks=directory / "jwks.json",
        public=directory / "tts-public.pem",
        signer=signer,
        edge=root.issue(directory, "edge", EDGE),
        orders=root.issue(directory, "orders", ORDERS),
        other=root.issue(directory, "other", f"spiffe://{TRUST_DOMAIN}/other"),
        forged=foreign.issue(directory, "forged", EDGE),
        tokens=_tokens(signer),
    )


class Authority:
    """A CA. Both key identifiers are set, so that no leaf can read as self-signed."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = _name("ca")
        uri = x509.UniformResourceIdentifier(f"spiffe://{TRUST_DOMAIN}")
        self.certificate = (
            _draft(name, name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(ca=True), critical=True)
            .add_extension(x509.SubjectAlternativeName([uri]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )

    def issue(self, directory: Path, name: str, spiffe_id: str) -> Credential:
        """An X.509-SVID. The DNS name beside the one URI is for nginx, which can check nothing else, and ghostunnel."""
        key = ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(spiffe_id), x509.DNSName(name)]
        usage = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
        certificate = (
            _draft(_name(name), self.certificate.subject, key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(ca=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usage), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        credential = Credential(directory / f"{name}.pem", directory / f"{name}.key")
        credential.certificate.write_bytes(_pem(certificate))
        credential.key.touch(mode=0o600)
        credential.key.write_bytes(_key_pem(key))
        return credential

    def crl(self, *revoked: Credential) -> bytes:
        """A CRL of these, PEM."""
        now = dt.datetime.now(dt.UTC)
        made = x509.CertificateRevocationListBuilder().issuer_name(self.certificate.subject)
        made = made.last_update(now - dt.timedelta(minutes=1)).next_update(now + VALIDITY)
        for one in revoked:
            serial = x509.load_pem_x509_certificate(one.certificate.read_bytes()).serial_number
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now - VALIDITY)
            made = made.add_revoked_certificate(entry.build())
        return made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _claims() -> dict[str, Any]:
    now = int(time.time())
    return {
        "aud": TRUST_DOMAIN,
        "iat": now,
        "exp": now + TOKEN_TTL_S,
        "txn": "97053963-771d-49cc-a4e3-20aad399c312",
        "sub": "user-7d1f3c",
        "scope": SCOPE,
        "req_wl": EDGE,
    }


def _tokens(signer: ec.EllipticCurvePrivateKey) -> dict[str, str]:
    """One good Txn-Token and its bad siblings, each bad in one way only."""
    claims = _claims()
    now = claims["iat"]
    return {
        "good": _sign(claims, signer),
        "forged": _sign(claims, ec.generate_private_key(ec.SECP256R1())),
        "expired": _sign(claims | {"iat": now - 7200, "exp": now - TOKEN_TTL_S}, signer),
        "elsewhere": _sign(claims | {"aud": "example.net"}, signer),
        "scopeless": _sign(claims | {"scope": "orders.list"}, signer),
        "untyped": _sign(claims, signer, kind="JWT"),
        "nameless": _sign({name: value for name, value in claims.items() if name != "txn"}, signer),
    }


def _sign(claims: Mapping[str, Any], key: ec.EllipticCurvePrivateKey, kind: str = "txntoken+jwt") -> str:
    return jwt.encode(dict(claims), key, algorithm="ES256", headers={"typ": kind, "kid": KID})


def _jwk(key: ec.EllipticCurvePrivateKey) -> dict[str, Any]:
    public = jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return {**public, "kid": KID, "alg": "ES256", "use": "sig"}


def _draft(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=1))
        .not_valid_after(now + VALIDITY)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _name(common_name: str) -> x509.Name:
    organisation = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "svidecar loadtest")
    return x509.Name([organisation, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
