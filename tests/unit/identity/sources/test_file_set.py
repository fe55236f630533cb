"""One reading of the files: each fault has a message that tells a person which file, what is wrong, what would be right."""

import asyncio
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.pki import Authority, der, new_key, pem, write_svid

from proxy.errors import CertificateRevoked, IdentityInvalid, UntrustedChain
from proxy.identity.bundle import Bundle
from proxy.identity.peer import identify
from proxy.identity.settings import FilesSettings, IdentitySettings
from proxy.identity.sources.file_set import MAX_FILE_BYTES, read_set
from proxy.identity.store import IdentityStore

NOW = time.time()
URI = "spiffe://example.org/orders"
CA = Authority.make("example.org")
OTHER = Authority.make("other.org")
GOOD = CA.svid(URI)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """A good set."""
    return write_svid(tmp_path, GOOD, CA, federated={"other.org": OTHER})


def settings_for(files: dict[str, Path]) -> IdentitySettings:
    """Settings that name these files."""
    federated = {name.removeprefix("federated:"): path for name, path in files.items() if ":" in name}
    own = FilesSettings(svid=files["svid"], key=files["key"], bundle=files["bundle"], federated=federated)
    return IdentitySettings(trust_domain="example.org", files=own)


def test_good_set(files: dict[str, Path]) -> None:
    """A set that fits together is read whole."""
    svid, bundles = read_set(settings_for(files), NOW)
    assert str(svid.spiffe_id) == URI
    assert {name: bundle.authorities for name, bundle in bundles.items()} == {
        "example.org": CA.anchors,
        "other.org": OTHER.anchors,
    }


def fresh(path: Path) -> Path:
    """The path, with nothing there."""
    path.unlink()
    return path


Break = Callable[[dict[str, Path]], object]

FAULTS: dict[str, tuple[Break, str, str]] = {
    "no SVID": (lambda f: f["svid"].unlink(), "svid", "start the source that writes it"),
    "no key": (lambda f: f["key"].unlink(), "key", "private key of the SVID as PKCS#8 PEM"),
    "no bundle": (lambda f: f["bundle"].unlink(), "bundle", "authorities of example.org as PEM"),
    "no federated bundle": (
        lambda f: f["federated:other.org"].unlink(),
        "federated:other.org",
        "authorities of other.org",
    ),
    "empty SVID": (lambda f: f["svid"].write_bytes(b""), "svid", "is empty"),
    "SVID is a key": (lambda f: f["svid"].write_bytes(GOOD.key_pem), "svid", "no PEM certificate"),
    "SVID cut off": (lambda f: f["svid"].write_bytes(GOOD.chain_pem[:-30]), "svid", "cut off|no PEM certificate"),
    "key is a certificate": (lambda f: f["key"].write_bytes(GOOD.chain_pem), "key", "no unencrypted PEM private key"),
    "key cut off": (lambda f: f["key"].write_bytes(GOOD.key_pem[:-30]), "key", "no unencrypted PEM private key"),
    "key of another": (
        lambda f: f["key"].write_bytes(replace(GOOD, key=new_key()).key_pem),
        "key",
        "does not belong to the certificate in .*write both again",
    ),
    "two URIs": (
        lambda f: write_svid(f["svid"].parent, CA.svid(URI, more_uris=[URI], now=NOW), CA),
        "svid",
        "not an X509-SVID: a leaf has exactly one URI SAN",
    ),
    "root path": (
        lambda f: write_svid(f["svid"].parent, CA.svid("spiffe://example.org", now=NOW), CA),
        "svid",
        "must have a path",
    ),
    "another trust domain": (
        lambda f: write_svid(f["svid"].parent, OTHER.svid("spiffe://other.org/orders", now=NOW), OTHER),
        "svid",
        "is of trust domain other.org, but trust_domain is example.org",
    ),
    "ended": (
        lambda f: write_svid(f["svid"].parent, CA.svid(URI, lifetime_s=-3 * 3600.0, now=NOW), CA),
        "svid",
        r"ended 3 h ago \(not_after 20..-..-..T..:..:..Z\); the source that writes it has stopped",
    ),
    "not begun": (
        lambda f: write_svid(f["svid"].parent, CA.svid(URI, now=NOW + 7210), CA),
        "svid",
        r"begins in 2 h \(not_before 20.*clock",
    ),
    "intermediate ended": (
        lambda f: write_svid(f["svid"].parent, CA.intermediate(lifetime_s=-65.0, now=NOW).svid(URI, now=NOW), CA),
        "svid",
        "intermediate 1 in .* ended 1 min ago",
    ),
    "bundle of another authority": (
        lambda f: f["bundle"].write_bytes(Authority.make("example.org").bundle_pem),
        "bundle",
        "does not verify against the bundle in .*must hold the authority that issued it",
    ),
    "bundle ended": (
        lambda f: write_svid(
            f["svid"].parent,
            (old := Authority.make("example.org", lifetime_s=-1800.0, now=NOW)).svid(URI, now=NOW),
            old,
        ),
        "bundle",
        "not valid now",
    ),
    "bundle cut off": (
        lambda f: f["bundle"].write_bytes(pem([CA.certificate, OTHER.certificate])[:-30]),
        "bundle",
        "cut off",
    ),
    "bundle pooled": (
        lambda f: f["bundle"].write_bytes(pem([CA.certificate, OTHER.certificate])),
        "bundle",
        "include_federated_domains = false",
    ),
    "federated bundle is ours": (
        lambda f: f["federated:other.org"].write_bytes(CA.bundle_pem),
        "federated:other.org",
        "authority of another trust domain than other.org",
    ),
    "a directory": (lambda f: fresh(f["svid"]).mkdir(), "svid", "is not a file"),
    "a pipe": (lambda f: os.mkfifo(fresh(f["svid"])), "svid", "is not a file"),
    "a loop of links": (lambda f: fresh(f["svid"]).symlink_to("svid.pem"), "svid", "cannot read"),
    "the folder is gone": (lambda f: shutil.rmtree(f["svid"].parent), "svid", "there is no file"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults(fault: str, files: dict[str, Path]) -> None:
    """Every fault is refused, and the message names the file and the way out; no key is in it."""
    damage, role, words = FAULTS[fault]
    settings = settings_for(files)
    damage(files)
    with pytest.raises(IdentityInvalid, match=words) as caught:
        read_set(settings, NOW)
    assert str(files[role]) in caught.value.detail
    assert "BEGIN" not in caught.value.detail


def test_forbidden_file(files: dict[str, Path]) -> None:
    """A file that we may not read is told as such."""
    files["key"].chmod(0)
    user = os.geteuid()
    if user == 0:  # root may read everything
        os.seteuid(65534)
    try:
        with pytest.raises(IdentityInvalid, match=r"may not read .*; let the user that runs svidecar read it"):
            read_set(settings_for(files), NOW)
    finally:
        os.seteuid(user)


@pytest.mark.parametrize(
    ("name", "words"), [("EXAMPLE.ORG", "is not a trust domain"), ("example.org", "our own trust domain")]
)
def test_names_of_federated_bundles(name: str, words: str, files: dict[str, Path]) -> None:
    """A federated bundle stands under the name of another trust domain."""
    settings = settings_for(files | {f"federated:{name}": files["bundle"]})
    with pytest.raises(IdentityInvalid, match=words):
        read_set(settings, NOW)


def test_largest_file(files: dict[str, Path]) -> None:
    """1 MiB is read, one byte more is not."""
    padding = b"#" * (MAX_FILE_BYTES - len(CA.bundle_pem) - 1) + b"\n"
    files["bundle"].write_bytes(padding + CA.bundle_pem)
    assert read_set(settings_for(files), NOW)
    files["bundle"].write_bytes(padding + CA.bundle_pem + b"\n")
    with pytest.raises(IdentityInvalid, match="larger"):
        read_set(settings_for(files), NOW)


def test_a_crl_of_our_own_intermediate(tmp_path: Path) -> None:
    """It counts beside those of the bundle; one of its name that it has not signed is refused."""
    below = CA.intermediate()
    files = write_svid(tmp_path, below.svid(URI), CA)
    crl = tmp_path / "crl.pem"
    settings = settings_for(files)
    assert settings.files is not None
    settings = replace(settings, files=replace(settings.files, crl=crl))
    crl.write_bytes(CA.crl() + below.crl(GOOD.certificate))
    _, bundles = read_set(settings, NOW)
    assert sum(map(len, bundles["example.org"].revocations.serials.values())) == 1
    crl.write_bytes(CA.intermediate().crl(GOOD.certificate))
    with pytest.raises(IdentityInvalid, match="no authority of the bundle has signed"):
        read_set(settings, NOW)


def test_crls_of_a_domain_whose_bundle_is_fetched(tmp_path: Path) -> None:
    """They are read without it, under a bundle that believes nobody; what is fetched takes its place and keeps them."""
    other = Authority.make("other.org")
    gone = other.svid("spiffe://other.org/gone")
    settings = settings_for(write_svid(tmp_path, CA.svid(URI), CA))
    assert settings.files is not None
    crl = tmp_path / "other_crl.pem"
    crl.write_bytes(other.crl(gone.certificate))
    settings = replace(settings, files=replace(settings.files, federated_crls={"other.org": crl}))
    svid, bundles = read_set(settings, NOW)
    assert bundles["other.org"].authorities == ()
    store = IdentityStore()
    store.replace(svid, bundles, NOW)
    chain = [*gone.chain_der, der(other.certificate)]
    with pytest.raises(UntrustedChain):
        identify(chain, store.trusted, NOW)
    asyncio.run(store.federate(Bundle.from_der("other.org", other.bundle_der)))
    with pytest.raises(CertificateRevoked):
        identify(chain, store.trusted, NOW)
    assert identify([*other.svid("spiffe://other.org/x").chain_der, der(other.certificate)], store.trusted, NOW)
