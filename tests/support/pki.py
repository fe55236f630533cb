"""Certificate authorities and SVIDs for tests: good unless told otherwise.

    ca = Authority.make("example.org")
    orders = ca.svid("spiffe://example.org/orders")
    write_svid(folder, orders, ca)              # svid.pem, svid_key.pem, svid_bundle.pem, as spiffe-helper does
    write_volume(folder, orders, ca)            # the same through ..data, as a Kubernetes volume does

Each keyword of ``svid``, ``make`` and ``intermediate`` breaks one rule of specs 2.2, or moves one date.
"""

import datetime as dt
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypedDict, Unpack

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

BACKDATE_S = 900.0
"""A certificate is valid from before now: as SPIRE does it (10 s, specs 3.2), and longer than a whole run takes."""

SERVER_AND_CLIENT = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)

LEAF_USAGE = frozenset({"digital_signature", "key_encipherment", "key_agreement"})
CA_USAGE = frozenset({"key_cert_sign", "crl_sign"})

_USAGES = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
    *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


class CaShape(TypedDict, total=False):
    """What ``ca_certificate`` takes by name."""

    lifetime_s: float
    now: float | None
    uri: str | None
    subject: str | None
    is_ca: bool | None
    usage: frozenset[str] | None
    path_length: int | None
    extensions: Iterable[tuple[x509.ExtensionType, bool]]
    identifiers: bool


def new_key() -> ec.EllipticCurvePrivateKey:
    """A fresh P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def name(common_name: str) -> x509.Name:
    """A subject with a common name; the empty one where it is empty."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else [])


def pem(certificates: Iterable[x509.Certificate]) -> bytes:
    """Certificates as one PEM text."""
    return b"".join(c.public_bytes(serialization.Encoding.PEM) for c in certificates)


def der(certificate: x509.Certificate) -> bytes:
    """A certificate as DER."""
    return certificate.public_bytes(serialization.Encoding.DER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Svid:
    """A leaf, the intermediates above it, and its key."""

    certificate: x509.Certificate
    intermediates: tuple[x509.Certificate, ...]
    key: PrivateKey

    @property
    def chain(self) -> tuple[x509.Certificate, ...]:
        """The leaf and its intermediates."""
        return (self.certificate, *self.intermediates)

    @property
    def chain_pem(self) -> bytes:
        """The leaf and its intermediates, as the ``svid.pem`` of spiffe-helper."""
        return pem(self.chain)

    @property
    def chain_der(self) -> tuple[bytes, ...]:
        """The leaf and its intermediates, one DER each."""
        return tuple(der(c) for c in self.chain)

    @property
    def key_pem(self) -> bytes:
        """The key as PKCS#8, as the ``svid_key.pem`` of spiffe-helper."""
        return self._key_bytes(serialization.Encoding.PEM)

    @property
    def key_der(self) -> bytes:
        """The key as PKCS#8 DER, as the Workload API sends it."""
        return self._key_bytes(serialization.Encoding.DER)

    def _key_bytes(self, encoding: serialization.Encoding) -> bytes:
        return self.key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """A signing certificate with its key. ``above`` is what an SVID carries after its leaf; ``anchors`` is its bundle."""

    trust_domain: str
    certificate: x509.Certificate
    key: PrivateKey
    above: tuple[x509.Certificate, ...] = ()
    anchors: tuple[x509.Certificate, ...] = field(repr=False)

    @property
    def bundle_pem(self) -> bytes:
        """The trust bundle as PEM: the roots alone."""
        return pem(self.anchors)

    @property
    def bundle_der(self) -> bytes:
        """The trust bundle as concatenated DER, as the Workload API sends it."""
        return b"".join(der(c) for c in self.anchors)

    @classmethod
    def make(cls, trust_domain: str, **shape: Unpack[CaShape]) -> "Authority":
        """A self-signed root; ``shape`` is what ``ca_certificate`` takes."""
        key = new_key()
        certificate = ca_certificate(trust_domain, key, None, **shape)
        return cls(trust_domain=trust_domain, certificate=certificate, key=key, anchors=(certificate,))

    def intermediate(self, trust_domain: str | None = None, **shape: Unpack[CaShape]) -> "Authority":
        """A signing certificate below this one; its SVIDs carry it, its bundle stays this one's."""
        key = new_key()
        domain = trust_domain or self.trust_domain
        certificate = ca_certificate(domain, key, self, **shape)
        return replace(self, trust_domain=domain, certificate=certificate, key=key, above=(certificate, *self.above))

    def as_anchor(self) -> "Authority":
        """The same with itself as its bundle: for an intermediate, an anchor that is not self-signed."""
        return replace(self, above=(), anchors=(self.certificate,))

    def renewed(self, **shape: Unpack[CaShape]) -> "Authority":
        """The same name and key in another self-signed certificate, as when a root is issued again."""
        certificate = ca_certificate(self.trust_domain, self.key, None, **shape)
        return replace(self, certificate=certificate, anchors=(certificate,))

    def crl(
        self,
        *revoked: x509.Certificate,
        now: float | None = None,
        next_update_s: float = 3600.0,
        extensions: Iterable[tuple[x509.ExtensionType, bool]] = (),
        entry: x509.ExtensionType | None = None,
    ) -> bytes:
        """A CRL of these certificates, PEM. ``entry`` is a critical extension of each; ``next_update_s`` may be past."""
        begins = (time.time() if now is None else now) - BACKDATE_S
        ends = begins + BACKDATE_S + next_update_s
        builder = x509.CertificateRevocationListBuilder(
            issuer_name=self.certificate.subject,
            last_update=dt.datetime.fromtimestamp(begins, dt.UTC),
            next_update=dt.datetime.fromtimestamp(ends, dt.UTC),
        )
        for certificate in revoked:
            one = x509.RevokedCertificateBuilder(certificate.serial_number, dt.datetime.fromtimestamp(begins, dt.UTC))
            if entry is not None:
                one = one.add_extension(entry, critical=True)
            builder = builder.add_revoked_certificate(one.build())
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical=critical)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def svid(
        self,
        uri: str,
        *,
        lifetime_s: float = 3600.0,
        now: float | None = None,
        more_uris: Iterable[str] = (),
        dns: Iterable[str] = (),
        san: bool = True,
        san_critical: bool = False,
        subject: str = "workload",
        is_ca: bool | None = False,
        usage: frozenset[str] | None = LEAF_USAGE,
        usage_critical: bool = True,
        extended: Iterable[x509.ObjectIdentifier] | None = SERVER_AND_CLIENT,
        extensions: Iterable[tuple[x509.ExtensionType, bool]] = (),
        identifiers: bool = True,
        key: PrivateKey | None = None,
    ) -> Svid:
        """An SVID. ``lifetime_s`` below zero has expired; ``uri`` of '' leaves the URI out; ``None`` leaves out an extension."""
        key = key or new_key()
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(u) for u in (uri, *more_uris) if u]
        names += [x509.DNSName(d) for d in dns]
        found: list[tuple[x509.ExtensionType, bool]] = [*extensions]
        if san and names:
            found.append((x509.SubjectAlternativeName(names), san_critical))
        if is_ca is not None:
            found.append((x509.BasicConstraints(ca=is_ca, path_length=None), True))
        if usage is not None:
            found.append((key_usage(usage), usage_critical))
        if extended is not None:
            found.append((x509.ExtendedKeyUsage(list(extended)), False))
        if identifiers:
            found.append((_issuer_identifier(self.certificate), False))
        certificate = _sign(subject, self.certificate.subject, key, self.key, _validity(now, lifetime_s), found)
        return Svid(certificate=certificate, intermediates=self.above, key=key)


def ca_certificate(
    trust_domain: str,
    key: PrivateKey,
    issuer: Authority | None,
    *,
    lifetime_s: float = 86400.0,
    now: float | None = None,
    uri: str | None = None,
    subject: str | None = None,
    is_ca: bool | None = True,
    usage: frozenset[str] | None = CA_USAGE,
    path_length: int | None = None,
    extensions: Iterable[tuple[x509.ExtensionType, bool]] = (),
    identifiers: bool = True,
) -> x509.Certificate:
    """A signing certificate; ``uri`` is ``spiffe://trust-domain`` unless given ('' leaves it out), ``subject`` tells domains apart."""
    uri = f"spiffe://{trust_domain}" if uri is None else uri
    subject = f"CA of {trust_domain}" + (" below" if issuer else "") if subject is None else subject
    found: list[tuple[x509.ExtensionType, bool]] = [*extensions]
    if uri:
        found.append((x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), False))
    if is_ca is not None:
        found.append((x509.BasicConstraints(ca=is_ca, path_length=path_length), True))
    if usage is not None:
        found.append((key_usage(usage), True))
    if identifiers:
        found.append((x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False))
        if issuer:
            found.append((_issuer_identifier(issuer.certificate), False))
    issuer_name = issuer.certificate.subject if issuer else name(subject)
    return _sign(subject, issuer_name, key, issuer.key if issuer else key, _validity(now, lifetime_s), found)


def key_usage(names: Iterable[str]) -> x509.KeyUsage:
    """A key usage with these bits alone."""
    wanted = frozenset(names)
    return x509.KeyUsage(**{usage: usage in wanted for usage in _USAGES})


def write_svid(
    folder: Path, svid: Svid, ca: Authority, *, federated: Mapping[str, Authority] | None = None
) -> dict[str, Path]:
    """Write as spiffe-helper does: plain truncate and write, in the order certificate, key, bundle. Returns the paths by role.

    A federated authority goes to ``<trust domain>.pem``, under the key ``federated:<trust domain>``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = {"svid": folder / "svid.pem", "key": folder / "svid_key.pem", "bundle": folder / "svid_bundle.pem"}
    paths["svid"].write_bytes(svid.chain_pem)
    paths["key"].write_bytes(svid.key_pem)
    paths["key"].chmod(0o600)
    paths["bundle"].write_bytes(ca.bundle_pem)
    for trust_domain, other in (federated or {}).items():
        paths[f"federated:{trust_domain}"] = folder / f"{trust_domain}.pem"
        paths[f"federated:{trust_domain}"].write_bytes(other.bundle_pem)
    return paths


def write_volume(folder: Path, svid: Svid, ca: Authority) -> dict[str, Path]:
    """Write as a Kubernetes volume does: the paths are links through ``..data``, which is swapped in one rename."""
    folder.mkdir(parents=True, exist_ok=True)
    version = folder / f"..{time.monotonic_ns()}"
    written = write_svid(version, svid, ca)
    link = folder / "..data_tmp"
    link.symlink_to(version.name)
    link.rename(folder / "..data")
    paths = {role: folder / path.name for role, path in written.items()}
    for path in paths.values():
        if not path.is_symlink():
            path.symlink_to(Path("..data") / path.name)
    return paths


def _issuer_identifier(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key())  # type: ignore[arg-type]


def _validity(now: float | None, lifetime_s: float) -> tuple[dt.datetime, dt.datetime]:
    start = (time.time() if now is None else now) - BACKDATE_S
    end = start + BACKDATE_S + lifetime_s
    if end <= start:  # already over: it was as long as that, and ended then
        start = end - 3600.0
    return dt.datetime.fromtimestamp(start, dt.UTC), dt.datetime.fromtimestamp(end, dt.UTC)


def _sign(
    subject: str,
    issuer: x509.Name,
    key: PrivateKey,
    issuer_key: PrivateKey,
    validity: tuple[dt.datetime, dt.datetime],
    extensions: Iterable[tuple[x509.ExtensionType, bool]],
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(validity[0])
        .not_valid_after(validity[1])
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    algorithm = None if isinstance(issuer_key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(issuer_key, algorithm)
