"""``svidecar audit verify``: files in any order, keys, exit codes."""

import gzip
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from support.audit import KEY, RECORD, drain, writer
from support.pki import Authority

from proxy.cli import main
from proxy.observe.audit.signer import KeySigner


def public(path: Path, key: ed25519.Ed25519PrivateKey) -> str:
    """Write a public key."""
    path.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return str(path)


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """A chain over several files, the newest first, as the shell lists them."""
    made = writer(tmp_path / "a.log", rotate_bytes=4000)
    for _ in range(20):
        made.queue.append(RECORD)
        drain(made)
    made.close()
    found = sorted(str(path) for path in tmp_path.iterdir())
    assert len(found) > 3
    return found


def test_files_in_any_order_and_packed(files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They are put in order by what they hold."""
    key = public(tmp_path / "key", KEY)
    assert main(["audit", "verify", *files, "--key", key]) == 0
    assert main(["audit", "verify", *reversed(files), "--key", key]) == 0
    packed = Path(files[1])
    packed.write_bytes(gzip.compress(packed.read_bytes()))
    capsys.readouterr()
    assert main(["audit", "verify", *files, "--key", key, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["verdict"] == 0
    assert found["chains"][0]["kinds"]["request"] == 20


def test_exit_codes(files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """3 where nothing proves who wrote it, 1 where something is wrong, 2 where it cannot be used."""
    key, other = public(tmp_path / "key", KEY), public(tmp_path / "other", ed25519.Ed25519PrivateKey.generate())
    verify = ["audit", "verify"]
    assert main([*verify, *files]) == 3
    assert main([*verify, *files, "--key", other]) == 1
    assert main([*verify, *files, "--key", other, "--key", key]) == 0
    assert main([*verify, *files[:1], *files[2:], "--key", key]) == 0, "the oldest one may be gone: it is said"
    assert "is not in these files" in capsys.readouterr().out
    assert main([*verify, *files[:2], *files[3:], "--key", key]) == 1, "one in the middle may not"
    assert main([*verify, *files, "--key", key, "--last", "10000"]) == 1
    assert main([*verify, str(tmp_path / "no"), "--key", key]) == 2
    assert main([*verify, *files, "--key", str(tmp_path / "no")]) == 2
    assert main([*verify, *files, "--key", files[0]]) == 2
    assert main([*verify, *files, "--bundle", key]) == 2
    assert main([*verify, *files, "--bundle", key, "--spiffe-id", "spiffe://example.org/orders"]) == 2
    (tmp_path / "empty").touch()
    assert main([*verify, str(tmp_path / "empty")]) == 2


def test_a_chain_without_a_checkpoint(tmp_path: Path) -> None:
    """Nothing proves it, whatever key is given."""
    made = writer(tmp_path / "a.log", lambda: None)
    made.queue.append(RECORD)
    made.close()
    assert main(["audit", "verify", str(tmp_path / "a.log"), "--key", public(tmp_path / "key", KEY)]) == 3


def test_a_first_line_that_was_changed(files: list[str], tmp_path: Path) -> None:
    """Its file is still looked at."""
    path = Path(files[1])
    path.write_bytes(b"x" + path.read_bytes())
    assert main(["audit", "verify", *files, "--key", public(tmp_path / "key", KEY)]) == 1


def test_svids_that_sign(tmp_path: Path) -> None:
    """Of the workload that was named, of its trust domain, valid at the time of the checkpoint, for each of them."""
    ca, rogue = Authority.make("example.org"), Authority.make("example.org")
    orders = "spiffe://example.org/orders"
    (tmp_path / "bundle.pem").write_bytes(ca.bundle_pem)
    options = ["--bundle", str(tmp_path / "bundle.pem"), "--spiffe-id", orders]
    ders: tuple[bytes, ...] = ()
    for name, svid, code in (
        ("good", ca.svid(orders), 0),
        ("another workload", ca.svid("spiffe://example.org/edge"), 1),
        ("another CA", rogue.svid(orders), 1),
    ):
        ders = tuple(certificate.public_bytes(Encoding.DER) for certificate in svid.chain)
        signer = KeySigner(svid.key, ders)
        made = writer(tmp_path / name, lambda signer=signer: signer)  # type: ignore[misc]
        made.queue.append(RECORD)
        made.close()
        assert main(["audit", "verify", str(tmp_path / name), *options]) == code, name
    bare = writer(tmp_path / "bare", lambda: KeySigner(KEY))
    bare.close()
    assert main(["audit", "verify", str(tmp_path / "bare"), *options]) == 1, "a key without certificates is nobody's"
    stolen = KeySigner(KEY, ders)
    made = writer(tmp_path / "stolen", lambda: stolen)
    made.close()
    assert main(["audit", "verify", str(tmp_path / "stolen"), *options]) == 1, "somebody else's certificate"
