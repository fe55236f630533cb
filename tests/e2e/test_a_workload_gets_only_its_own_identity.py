"""The authority's Workload API gives each process what is registered for it, by the kernel's word, and nobody else's.

The callers are processes of their own with grpcio, which the project does not use.
"""

import base64
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_der_private_key
from cryptography.x509 import load_der_x509_certificate
from support.authority import CALLER, RunningAuthority, call, environment, running_authority

from proxy.identity.svid import X509Svid

PYTHON = os.path.realpath(sys.executable)
UID = os.getuid()
OTHER = 12345
DENIED = {"code": "PERMISSION_DENIED", "details": "no identity issued: no entry has selectors that hold of the caller"}

CONFIG = f"""
    listen: 127.0.0.1:0
    svid_lifetime_s: 600
    workloads:
      - {{name: ns/shop/orders, selectors: ["unix:uid:{UID}", "unix:path:{PYTHON}"]}}
      - {{name: shell, selectors: ["unix:uid:{UID}", "unix:path:/bin/sh"]}}
      - {{name: other, selectors: ["unix:uid:{OTHER}"]}}
      - {{name: group, selectors: ["unix:uid:{UID}", "unix:gid:{OTHER}"]}}
      - {{name: filed}}
"""
ORDERS = "spiffe://example.org/ns/shop/orders"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningAuthority]:
    """One for the whole file."""
    with running_authority(tmp_path_factory.mktemp("a"), CONFIG) as made:
        yield made


def test_an_identity_that_holds(authority: RunningAuthority) -> None:
    """Of five entries the one whose selectors all hold; chain, key and bundle fit together; and no file has the key."""
    (answer,) = call(authority.socket, "FetchX509SVID")
    (svid,) = answer["svids"]
    assert (svid["spiffe_id"], svid["hint"]) == (ORDERS, "ns/shop/orders")
    chain, key, bundle = (base64.b64decode(svid[name]) for name in ("x509_svid", "x509_svid_key", "bundle"))
    assert str(X509Svid.from_der(chain, key).spiffe_id) == ORDERS
    assert load_der_private_key(key, None).public_key() == load_der_x509_certificate(chain).public_key()
    load_der_x509_certificate(chain).verify_directly_issued_by(load_der_x509_certificate(bundle))
    (bundles,) = call(authority.socket, "FetchX509Bundles")
    assert base64.b64decode(bundles["bundles"]["spiffe://example.org"]) == bundle
    assert {path.name for path in (authority.state / "workloads").iterdir()} == {"filed", "tts"}


def test_a_program_that_is_not_the_one(authority: RunningAuthority, tmp_path: Path) -> None:
    """The same bytes at another path are another program: no identity, no bundle, no token."""
    copy = tmp_path / "python"
    shutil.copy2(PYTHON, copy)
    home = {"PYTHONHOME": sys.base_prefix, "PYTHONPATH": os.pathsep.join([p for p in sys.path if p])}
    probe = subprocess.run([str(copy), "-c", "import grpc"], env=os.environ | home, capture_output=True, check=False)
    if probe.returncode != 0:
        pytest.skip("this Python does not run from a copy")
    for method, *arguments in (
        ("FetchX509SVID",),
        ("FetchX509Bundles",),
        ("FetchJWTSVID", "audience=a"),
        ("FetchJWTBundles",),
        ("ValidateJWTSVID", "audience=a", "svid=x"),
    ):
        done = subprocess.run(
            [str(copy), str(CALLER), authority.socket, method, *arguments],
            env=environment(**home),
            capture_output=True,
            text=True,
            check=False,
        )
        assert "PERMISSION_DENIED" in done.stdout, (method, done.stdout, done.stderr)


@pytest.mark.skipif(UID != 0, reason="another user can only be had by root")
def test_another_user_gets_another_identity() -> None:
    """One socket for all, whoever may reach it; the user of the process decides, and what he says does not."""
    with tempfile.TemporaryDirectory() as reachable:
        _ask_as_others(Path(reachable))


def _ask_as_others(folder: Path) -> None:
    folder.chmod(0o755)
    socket = folder / "w.sock"
    with running_authority(folder / "a", CONFIG + f"    socket: {socket}\n") as made:
        assert socket.stat().st_mode & 0o777 == 0o666
        (mine,) = call(made.socket, "FetchX509SVID")
        assert [svid["spiffe_id"] for svid in mine["svids"]] == [ORDERS]
        (other,) = call(made.socket, "FetchX509SVID", f"as={OTHER}")
        assert [svid["spiffe_id"] for svid in other["svids"]] == ["spiffe://example.org/other"]
        assert call(made.socket, "FetchX509SVID", f"as={OTHER + 1}") == [DENIED]
        asked = call(made.socket, "FetchJWTSVID", "audience=a", f"spiffe_id={ORDERS}", f"as={OTHER}")
        assert asked == [{"code": "PERMISSION_DENIED", "details": "the caller does not have this SPIFFE ID"}]


@pytest.mark.parametrize("header", ["no", "True", "false", "true,true", ""])
def test_without_the_header_nobody_is_answered(authority: RunningAuthority, header: str) -> None:
    """``workload.spiffe.io: true``, exactly once: a proxy or a web page that is made to call does not know it."""
    for method in ("FetchX509SVID", "FetchJWTBundles"):
        (answer,) = call(authority.socket, method, f"header={header}")
        assert answer["code"] == "INVALID_ARGUMENT"


def test_jwt_svids_are_of_the_caller_and_for_whom_they_say(authority: RunningAuthority) -> None:
    """Issued for the audiences that were asked for, validated for one of them, refused for any other or if changed."""
    (answer,) = call(authority.socket, "FetchJWTSVID", "audience=ledger,bank")
    (svid,) = answer["svids"]
    assert (svid["spiffe_id"], svid["hint"]) == (ORDERS, "ns/shop/orders")
    token = svid["svid"]
    (valid,) = call(authority.socket, "ValidateJWTSVID", "audience=bank", f"svid={token}")
    assert (valid["spiffe_id"], valid["claims"]["aud"]) == (ORDERS, ["ledger", "bank"])
    changed = token[:-4] + ("AAAA" if token[-4:] != "AAAA" else "BBBB")
    for audience, shown in (
        ("other", token),
        ("bank", changed),
        ("bank", "x"),
        ("bank", token.rsplit(".", 1)[0] + "."),
    ):
        (refused,) = call(authority.socket, "ValidateJWTSVID", f"audience={audience}", f"svid={shown}")
        assert refused["code"] == "INVALID_ARGUMENT"
        assert token not in refused["details"]
    for arguments in ([], ["audience="]):
        (refused,) = call(authority.socket, "FetchJWTSVID", *arguments)
        assert refused["code"] == "INVALID_ARGUMENT"
    (denied,) = call(authority.socket, "FetchJWTSVID", "audience=a", "spiffe_id=spiffe://example.org/shell")
    assert denied["code"] == "PERMISSION_DENIED"
    assert token not in authority.log


def test_jwt_bundles_verify_what_is_issued(authority: RunningAuthority) -> None:
    """The keys of JWT-SVIDs are in the bundle, marked for it, and are not those of the transaction tokens."""
    (answer,) = call(authority.socket, "FetchJWTBundles")
    keys = base64.b64decode(answer["bundles"]["spiffe://example.org"])
    assert b'"use": "jwt-svid"' in keys
    assert b'"use": "sig"' not in keys
    token_keys = (authority.state / "jwks.json").read_bytes()
    assert b"jwt-svid" not in token_keys
    assert (authority.state / "jwt_svid_keys.json").stat().st_mode & 0o077 == 0


def test_calls_that_are_not_there(authority: RunningAuthority) -> None:
    """WIT-SVIDs: Unimplemented, so that a client does not ask again."""
    (answer,) = call(authority.socket, "FetchWITSVID")
    assert answer["code"] == "UNIMPLEMENTED"


def test_a_stream_is_told_of_each_rotation(tmp_path: Path) -> None:
    """Full state at once, and again with a new key at half of the life."""
    with running_authority(tmp_path / "a", CONFIG.replace("600", "4")) as made:
        answers = call(made.socket, "FetchX509SVID", "count=3")
        keys = {answer["svids"][0]["x509_svid_key"] for answer in answers}
        assert (len(answers), len(keys)) == (3, 3)


def test_who_inherits_a_connection_inherits_no_identity(authority: RunningAuthority) -> None:
    """The process that connected has ended; its child has the connection, and is not it."""
    script = """
import os, socket, sys
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])
r, w = os.pipe()
if os.fork():
    os._exit(0)
os.close(w)
import time; time.sleep(1)
from h2.connection import H2Connection
c = H2Connection(); c.initiate_connection()
c.send_headers(1, [(":method","POST"),(":scheme","http"),(":path","/SpiffeWorkloadAPI/FetchX509SVID"),(":authority","x"),
    ("content-type","application/grpc"),("workload.spiffe.io","true")])
c.send_data(1, bytes(5), end_stream=True); s.sendall(c.data_to_send())
while True:
    for event in c.receive_data(s.recv(65536)):
        if getattr(event, "headers", None):
            print(dict(event.headers)); sys.stdout.flush()
            os._exit(0)
"""
    socket = authority.socket.removeprefix("unix://")
    done = subprocess.run(
        [sys.executable, "-c", script, socket],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert "b'grpc-status': b'7'" in done.stdout, done.stdout + done.stderr
