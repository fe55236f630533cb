"""The authority as a process, over real mTLS, asked by clients that did not write it and by those who mean harm."""

import contextlib
import json
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_pem_x509_certificate
from cryptography.x509.oid import ExtendedKeyUsageOID
from support import pki
from support.secrecy import listen_to, records_in

from proxy.authority.issue import EXCHANGE, TXN_TOKEN, UNSIGNED_JSON
from proxy.tokens.keys import KeySet
from proxy.tokens.verify import Expect, verify

TD = "example.org"

CONFIG = """
svid_lifetime_s: 600
token_lifetime_s: 60
workloads:
  - {name: edge, scopes: [orders.read, orders.write], subjects: ["user:*"], context: true}
  - {name: orders, scopes: [ledger.write]}
"""


@dataclass
class Running:
    """The process and its folder."""

    process: subprocess.Popen[str]
    state: Path

    @property
    def url(self) -> str:
        """Where it listens."""
        port = json.loads((self.state / "authority.json").read_text())["port"]
        return f"https://127.0.0.1:{port}"

    def context(self, name: str | None = None, svid: pki.Svid | None = None) -> ssl.SSLContext:
        """The context of a client: with the SVID from the folder of a workload, with one of its own, or with none."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(self.state / "bundle.pem")
        if name is not None:
            folder = self.state / "workloads" / name
            context.load_cert_chain(folder / "svid.pem", folder / "svid_key.pem")
        if svid is not None:
            path = self.state.parent / "client.pem"
            path.write_bytes(svid.chain_pem + svid.key_pem)
            context.load_cert_chain(path)
        return context

    def client(self, name: str | None = "edge", svid: pki.Svid | None = None) -> httpx.Client:
        """A real HTTP client."""
        return httpx.Client(base_url=self.url, verify=self.context(name, svid), timeout=20)

    def authority(self) -> pki.Authority:
        """The authority's own key, in the hands of a test: to make what it would never issue."""
        key = load_pem_private_key((self.state / "ca_key.pem").read_bytes(), None)
        certificate = load_pem_x509_certificate((self.state / "ca.pem").read_bytes())
        return pki.Authority(trust_domain=TD, certificate=certificate, key=key, anchors=(certificate,))  # type: ignore[arg-type]


def command(state: Path, *options: str) -> list[str]:
    """The command line."""
    return [sys.executable, "-m", "proxy", "authority", "--trust-domain", TD, "--dir", str(state), *options]


@contextlib.contextmanager
def running(folder: Path, *options: str, config: str = CONFIG) -> Iterator[Running]:
    """An authority that is ready."""
    (folder / "authority.yaml").write_text(config)
    listen_to("authority", lambda: records_in(folder))
    given = ["--listen", "127.0.0.1:0", "--config", str(folder / "authority.yaml"), *options]
    with (folder / "authority.log").open("a") as log:
        process = subprocess.Popen(
            command(folder / "state", *given), stdout=subprocess.PIPE, stderr=log, text=True, env=environment()
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith(f"authority of {TD}: https://127.0.0.1:"), (folder / "authority.log").read_text()
        yield Running(process, folder / "state")
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(20)
        process.stdout.close()  # type: ignore[union-attr]


def environment() -> dict[str, str]:
    """Ours, with the package found from the clone."""
    return os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One for the whole file."""
    with running(tmp_path_factory.mktemp("authority")) as made:
        yield made


def form(**changes: str) -> dict[str, str]:
    """A good request of the edge."""
    return {
        "grant_type": EXCHANGE,
        "requested_token_type": TXN_TOKEN,
        "audience": TD,
        "scope": "orders.read",
        "subject_token": '{"sub":"user:7"}',
        "subject_token_type": UNSIGNED_JSON,
    } | changes


def refusal(response: httpx.Response) -> str:
    """The code of a refusal, which is never cached."""
    assert response.status_code == 400
    assert response.headers["cache-control"] == "no-store"
    return str(response.json()["error"])


def test_a_workload_gets_the_token_that_it_may_have(authority: Running) -> None:
    """Whole: the answer of specs 1.10, a token that our verifier takes with the published keys, context by policy."""
    with authority.client() as client:
        response = client.post("/token", data=form(request_details='{"quantity":2}'))
        keys = client.get("/jwks")
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    answer: dict[str, Any] = response.json()
    assert set(answer) == {"access_token", "issued_token_type", "token_type", "expires_in"}
    assert (answer["token_type"], answer["issued_token_type"], answer["expires_in"]) == ("N_A", TXN_TOKEN, 60)
    token = verify(answer["access_token"].encode(), KeySet.parse(keys.content), time.time(), Expect(audience=TD))
    assert (token.sub, token.scopes, token.req_wl) == ("user:7", frozenset({"orders.read"}), f"spiffe://{TD}/edge")
    assert (token.tctx, token.iss) == ({"quantity": 2}, f"spiffe://{TD}/tts")
    assert keys.content == (authority.state / "jwks.json").read_bytes()


def test_each_transaction_has_its_own_id(authority: Running) -> None:
    """Also for two equal requests on one connection."""
    with authority.client() as client:
        tokens = {client.post("/token", data=form()).json()["access_token"] for _ in range(5)}
    keys = KeySet.parse((authority.state / "jwks.json").read_bytes())
    assert len({verify(token.encode(), keys, time.time(), Expect(audience=TD)).txn for token in tokens}) == 5


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"audience": "other.org"}, "invalid_target"),
        ({"resource": "https://example.org"}, "invalid_target"),
        ({"scope": "orders.read ledger.write"}, "invalid_scope"),
        ({"scope": ""}, "invalid_request"),
        ({"subject_token": '{"sub":"spiffe://example.org/orders"}'}, "invalid_request"),
        ({"subject_token": '{"sub":"user:7","sub":"user:8"}'}, "invalid_request"),
        ({"subject_token_type": "urn:ietf:params:oauth:token-type:refresh_token"}, "invalid_request"),
        ({"requested_token_type": "urn:ietf:params:oauth:token-type:access_token"}, "invalid_request"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"client_id": f"spiffe://{TD}/orders"}, "invalid_client"),
        ({"client_secret": "x"}, "invalid_request"),
        ({"request_details": "[" * 2000}, "invalid_request"),
    ],
)
def test_what_it_may_not_have_is_refused_by_its_code(authority: Running, changes: dict[str, str], error: str) -> None:
    """Each attack of the rules, over the wire."""
    with authority.client() as client:
        assert refusal(client.post("/token", data=form(**changes))) == error


def test_a_workload_cannot_use_the_rights_of_another(authority: Running) -> None:
    """The scopes go with the certificate, whatever the request says of itself."""
    with authority.client("orders") as client:
        assert (
            refusal(client.post("/token", data=form(subject_token=f'{{"sub":"spiffe://{TD}/orders"}}')))
            == "invalid_scope"
        )
        assert refusal(client.post("/token", data=form(client_id=f"spiffe://{TD}/edge"))) == "invalid_client"
    with authority.client("tts") as client:
        assert refusal(client.post("/token", data=form())) == "unauthorized_client"


def test_two_of_a_parameter_and_other_bodies(authority: Running) -> None:
    """Refused, never chosen from."""
    with authority.client() as client:
        twice = httpx.QueryParams([*form().items(), ("scope", "orders.write")])
        kind = {"content-type": "application/x-www-form-urlencoded"}
        assert refusal(client.post("/token", content=str(twice), headers=kind)) == "invalid_request"
        assert refusal(client.post("/token", json=form())) == "invalid_request"
        assert refusal(client.post("/token", data=form(), params={"scope": "x"})) == "invalid_request"
        assert refusal(client.post("/token", data=form(), auth=("edge", "pw"))) == "invalid_request"
        large = client.post("/token", content=b"a=" + b"x" * 70_000, headers=kind)
        assert large.status_code == 413
        assert client.get("/token").status_code == 405
        assert client.get("/").status_code == 404


def test_without_a_good_certificate_there_is_no_answer(authority: Running) -> None:
    """None, a foreign CA of the same name, an expired one, another domain's, a CA's own: not even the keys are given out."""
    ca, uri = authority.authority(), f"spiffe://{TD}/edge"
    strangers = {
        "none": None,
        "a foreign CA": pki.Authority.make(TD).svid(uri),
        "expired": ca.svid(uri, lifetime_s=-1),
        "another domain under our root": ca.svid("spiffe://other.org/edge"),
        "two identities": ca.svid(uri, more_uris=[f"spiffe://{TD}/orders"]),
        "no path": ca.svid(f"spiffe://{TD}"),
        "no client purpose": ca.svid(uri, extended=[ExtendedKeyUsageOID.SERVER_AUTH]),
    }
    for what, svid in strangers.items():
        with authority.client(None, svid) as client:
            for path in ("/jwks", "/bundle"):
                with pytest.raises(httpx.TransportError):
                    pytest.fail(f"{what}: {client.get(path)}")
    with authority.client() as client:
        assert client.get("/jwks").status_code == 200


def test_plaintext_and_garbage_are_not_answered(authority: Running) -> None:
    """And the port goes on serving."""
    with pytest.raises(httpx.TransportError):
        httpx.get(authority.url.replace("https", "http") + "/jwks", timeout=20)
    with authority.client() as client:
        assert client.get("/bundle").status_code == 200


def test_state_and_log_hold_no_token_and_keys_are_its_owners(authority: Running) -> None:
    """What was issued in this file stands in no log; private keys are 0600."""
    with authority.client() as client:
        token = client.post("/token", data=form()).json()["access_token"]
    log = (authority.state.parent / "authority.log").read_text()
    assert "token issued: client=spiffe://example.org/edge" in log
    assert token.split(".")[2] not in log
    assert "user:7" not in log
    assert "PRIVATE" not in log
    for path in authority.state.rglob("*"):
        if path.is_file() and b"PRIVATE" in path.read_bytes():
            assert path.stat().st_mode & 0o077 == 0, path


def test_it_rotates_while_it_serves(tmp_path: Path) -> None:
    """An SVID of 4 s is renewed every 2 s; a client with the newest files is served all the time."""
    with running(tmp_path, config=CONFIG.replace("600", "4")) as made:
        seen: dict[str, set[bytes]] = {"edge": set(), "tts": set()}
        until = time.monotonic() + 20
        while min(len(svids) for svids in seen.values()) < 3:
            assert time.monotonic() < until, "it rotates no more"
            # an SSLError: a pair that was read between the writing of its two files, to be read again
            with contextlib.suppress(ssl.SSLError), made.client() as client:
                assert client.post("/token", data=form()).status_code == 200
                for name, svids in seen.items():
                    svids.add((made.state / "workloads" / name / "svid.pem").read_bytes())
            time.sleep(0.2)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_when_asked_and_begins_where_it_was(tmp_path: Path, number: signal.Signals) -> None:
    """Exit code 0, no note of a port left behind; the next run has the same root and keys, and old tokens stay good."""
    with running(tmp_path) as made:
        with made.client() as client:
            token = client.post("/token", data=form()).json()["access_token"]
            made.process.send_signal(number)  # with a connection open
            assert made.process.wait(20) == 0
        assert not (made.state / "authority.json").exists()
    with running(tmp_path) as made, made.client() as client:
        keys = KeySet.parse(client.get("/jwks").content)
        assert verify(token.encode(), keys, time.time(), Expect(audience=TD)).sub == "user:7"


def test_what_cannot_work_says_so(tmp_path: Path, authority: Running) -> None:
    """Exit code and one line for a person: the state in use, of another domain, a port in use, a bad file, none."""

    def fails(*options: str, state: Path = tmp_path / "s", domain: str = TD) -> tuple[int, str]:
        line = [domain if word == TD else word for word in command(state, *options)]
        done = subprocess.run(line, capture_output=True, text=True, timeout=40, check=False, env=environment())
        assert "Traceback" not in done.stderr
        return done.returncode, done.stderr

    code, said = fails("--listen", "127.0.0.1:0", state=authority.state)
    assert (code, "is in use by another authority" in said) == (1, True)
    with running(tmp_path) as made:
        pass
    code, said = fails("--listen", "127.0.0.1:0", state=made.state, domain="other.org")
    assert (code, "another trust domain than other.org" in said) == (1, True)
    port = authority.url.rpartition(":")[2]
    code, said = fails("--listen", f"127.0.0.1:{port}")
    assert (code, "the port is in use" in said) == (1, True)
    (tmp_path / "bad.yaml").write_text("listen: x\nfoo: 1\n")
    code, said = fails("--config", str(tmp_path / "bad.yaml"))
    assert (code, said.count("\n")) == (1, 2)
    code, said = fails("--config", str(tmp_path / "none.yaml"))
    assert (code, "cannot be read: No such file" in said) == (2, True)
