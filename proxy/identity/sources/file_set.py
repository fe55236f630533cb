"""One reading of the files that hold an identity: checked as a whole, or refused with what a person should do.

spiffe-helper writes certificate, key and bundle one after the other, each by truncate and write (specs 3.3), so a set
that does not fit together is an everyday sight and not only a mistake. A bundle file that pools the roots of other
domains (its ``include_federated_domains``) is refused where a root names its domain, as SPIRE's do; where none does,
no reader can detect it.
"""

import stat
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from proxy.errors import ConnectionRefusal, IdentityInvalid, NotAnSvid
from proxy.identity.bundle import Bundle, read_pem
from proxy.identity.certificate import validity
from proxy.identity.peer import verify_path
from proxy.identity.revocation import read_crls_pem
from proxy.identity.settings import FilesSettings, IdentitySettings
from proxy.identity.spiffe_id import InvalidSpiffeId, parse_trust_domain
from proxy.identity.svid import PrivateKey, X509Svid, read_key_pem

MAX_FILE_BYTES = 1 << 20
"""A bundle of 500 authorities is 0.5 MB; a larger file is not one of ours, and we hold it in memory."""

_UNITS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))


def read_set(settings: IdentitySettings, now: float) -> tuple[X509Svid, dict[str, Bundle]]:
    """Read SVID, key and all bundles, and check that they fit together. Raises IdentityInvalid."""
    files = settings.files
    if files is None:
        raise IdentityInvalid("identity.files is not configured")
    chain = _read_chain(files.svid)
    svid = _put_together(files, chain, _read_key(files.key))
    if svid.spiffe_id.trust_domain != settings.trust_domain:
        raise IdentityInvalid(
            f"the SVID in {files.svid} is of trust domain {svid.spiffe_id.trust_domain}, but trust_domain is "
            f"{settings.trust_domain}: one of the two must change"
        )
    _check_time(files.svid, chain, now)
    own = _read_bundle(settings.trust_domain, files.bundle)
    _check_path(files, svid, own, now)
    found = {own.trust_domain: own, **_read_federated(settings.trust_domain, files)}
    for name in files.federated_crls:  # of a domain that is fetched only those are here
        found.setdefault(name, Bundle(trust_domain=name, authorities=()))
    return svid, {name: _with_crl(files, bundle, svid, now) for name, bundle in found.items()}


def _read_chain(path: Path) -> tuple[x509.Certificate, ...]:
    raw = _read(path, "the SVID and its intermediates as PEM")
    try:
        return read_pem(raw)
    except IdentityInvalid as error:
        raise IdentityInvalid(f"the SVID file {path} {error.detail}") from error


def _read_key(path: Path) -> PrivateKey:
    raw = _read(path, "the private key of the SVID as PKCS#8 PEM")
    try:
        return read_key_pem(raw)
    except IdentityInvalid as error:
        raise IdentityInvalid(f"the key file {path} {error.detail}") from error


def _read_bundle(trust_domain: str, path: Path) -> Bundle:
    raw = _read(path, f"the authorities of {trust_domain} as PEM")
    try:
        return Bundle.from_pem(trust_domain, raw)
    except IdentityInvalid as error:
        raise IdentityInvalid(f"the bundle of {trust_domain} in {path} {error.detail}") from error


def _read_federated(own: str, files: FilesSettings) -> dict[str, Bundle]:
    found = {}
    for name, path in files.federated.items():
        try:
            trust_domain = parse_trust_domain(name)
        except InvalidSpiffeId as error:
            raise IdentityInvalid(
                f"the name of the federated bundle in {path} is not a trust domain: {error}"
            ) from error
        if trust_domain == own:
            raise IdentityInvalid(f"{trust_domain} is our own trust domain: {path} must not stand under federated")
        found[trust_domain] = _read_bundle(trust_domain, path)
    return found


def _with_crl(files: FilesSettings, bundle: Bundle, svid: X509Svid, now: float) -> Bundle:
    own = bundle.trust_domain == svid.spiffe_id.trust_domain
    path = files.crl if own else files.federated_crls.get(bundle.trust_domain)
    if path is None:
        return bundle
    raw = _read(path, f"the CRLs of {bundle.trust_domain} as PEM")
    try:
        found = read_crls_pem(raw, svid.signers(bundle), now, is_strict=files.stale_crl == "refuse")
    except IdentityInvalid as error:
        raise IdentityInvalid(f"the CRL file {path} of {bundle.trust_domain} {error.detail}") from error
    return replace(bundle, revocations=found)


def _put_together(files: FilesSettings, chain: tuple[x509.Certificate, ...], key: PrivateKey) -> X509Svid:
    try:
        return X509Svid.of(chain, key)
    except NotAnSvid as error:
        raise IdentityInvalid(f"the certificate in {files.svid} is not an X509-SVID: {error.detail}") from error
    except IdentityInvalid as error:
        raise IdentityInvalid(
            f"the key in {files.key} does not belong to the certificate in {files.svid}; write both again"
        ) from error


def _check_time(path: Path, chain: tuple[x509.Certificate, ...], now: float) -> None:
    for position, certificate in enumerate(chain):
        what = f"intermediate {position} in {path}" if position else f"the SVID in {path}"
        not_before, not_after = validity(certificate)
        if now > not_after:
            raise IdentityInvalid(
                f"{what} ended {_ago(now - not_after)} ago (not_after {_utc(not_after)}); the source that writes it "
                "has stopped"
            )
        if now < not_before:
            raise IdentityInvalid(
                f"{what} begins in {_ago(not_before - now)} (not_before {_utc(not_before)}); the clock of this machine "
                "or of the authority is wrong"
            )


def _check_path(files: FilesSettings, svid: X509Svid, own: Bundle, now: float) -> None:
    try:
        verify_path(svid.certificates, own, now)
    except ConnectionRefusal as error:
        raise IdentityInvalid(
            f"the SVID in {files.svid} does not verify against the bundle in {files.bundle}: {error.detail}; the "
            "bundle must hold the authority that issued it, and be written with it"
        ) from error


def _read(path: Path, expected: str) -> bytes:
    try:
        # Opening a pipe would wait for its writer.
        if not stat.S_ISREG(path.stat().st_mode):
            raise IdentityInvalid(f"{path} is not a file; it should hold {expected}")
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError as error:
        raise IdentityInvalid(
            f"there is no file {path}; it should hold {expected}: start the source that writes it (spiffe-helper, a "
            "volume), or correct the path"
        ) from error
    except PermissionError as error:
        raise IdentityInvalid(f"may not read {path}; let the user that runs svidecar read it") from error
    except OSError as error:
        raise IdentityInvalid(f"cannot read {path}: {error.strerror}") from error
    if len(raw) > MAX_FILE_BYTES:
        raise IdentityInvalid(f"{path} is larger than {MAX_FILE_BYTES} bytes; it should hold {expected}")
    if not raw.strip():
        raise IdentityInvalid(f"{path} is empty; it should hold {expected}: it may be in the middle of being written")
    return raw


def _ago(seconds: float) -> str:
    size, unit = next((u for u in _UNITS if seconds >= u[0]), _UNITS[-1])
    return f"{seconds / size:.0f} {unit}"


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
