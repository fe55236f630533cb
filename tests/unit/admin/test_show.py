"""``svidecar identity show``: of a sidecar that runs, of files, of an agent, of nothing."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.agent import Agent, x509_response, x509_svid
from support.mesh import INBOUND, ORDERS, Mesh, mesh_in
from support.pki import Authority, der
from support.ports import free_port

OTHER = Authority.make("other.org")
FILES = {"svid": "svid", "key": "svid_key", "bundle": "svid_bundle"}


@pytest.fixture(name="mesh")
def _mesh(tmp_path: Path) -> Iterator[Mesh]:
    with mesh_in(tmp_path) as made:
        yield made


def show(*arguments: str, **environ: str) -> tuple[int, str, str]:
    """Exit code, output and error of the verb."""
    command = [sys.executable, "-m", "proxy", "identity", "show", *arguments]
    ended = subprocess.run(
        command, capture_output=True, text=True, timeout=30, check=False, env={**os.environ, **environ}
    )
    assert "PRIVATE" not in ended.stdout + ended.stderr
    return ended.returncode, ended.stdout, ended.stderr


def test_of_an_agent(tmp_path: Path) -> None:
    """All identities with their hints, and all bundles; by the option or by the environment."""
    ca = Authority.make("example.org")
    with Agent.start(tmp_path / "s") as agent:
        response = x509_response(ca.svid(ORDERS), ca, {"spiffe://other.org": der(OTHER.certificate)})
        response.svids.append(x509_svid(ca.svid("spiffe://example.org/second"), ca, hint="internal"))
        agent.give(response)
        code, out, err = show("--socket", agent.endpoint)
        assert (code, err) == (0, "")
        assert re.search(
            rf"^  {ORDERS}\n    ends \S+Z, in \d+ (s|min|h)\n    serial [0-9a-f]+, 1 certificate\n", out, re.MULTILINE
        )
        assert "spiffe://example.org/second (hint internal)" in out
        assert "trusts other.org: 1 authority, which ends" in out
        code, out, _ = show("--json", SPIFFE_ENDPOINT_SOCKET=agent.endpoint)
        data = json.loads(out)
        assert [one["hint"] for one in data["identities"]] == ["", "internal"]
        assert set(data["bundles"]) == {"example.org", "other.org"}


def test_of_a_sidecar_that_runs_and_of_its_files(mesh: Mesh) -> None:
    """What is held; once it has ended, what its files hold, and that is said."""
    port = free_port()
    config = mesh.config("orders", INBOUND.format(app=1), admin=f"{{listen: 127.0.0.1:{port}}}")
    sidecar = mesh.run(config).wait_until_ready()
    code, out, _ = show("--config", str(config))
    assert code == 0
    assert out.startswith(f"held by the sidecar at 127.0.0.1:{port}:\n  {ORDERS}\n")
    sidecar.stop()
    code, out, _ = show("--config", str(config), "--json")
    data = json.loads(out)
    assert data["source"] == "in the files; no sidecar answers"
    assert data["identities"][0]["spiffe_id"] == ORDERS
    assert data["bundles"]["example.org"]["crls"] is None


def test_of_crls(mesh: Mesh) -> None:
    """How many certificates they name, when newer ones are due, and how many of them have no known signer yet."""
    files = ", ".join(f"{name}: orders/{file}.pem" for name, file in FILES.items())
    config = mesh.config("orders", INBOUND.format(app=1), identity=f"{{files: {{{files}, crl: crl.pem}}}}")
    gone = [mesh.ca.svid("spiffe://example.org/gone").certificate for _ in range(2)]
    (mesh.folder / "crl.pem").write_bytes(mesh.ca.crl(*gone) + OTHER.crl(gone[0]))
    code, out, err = show("--config", str(config))
    assert (code, err) == (0, "")
    assert "    its CRLs name 2 certificates; newer ones due in 60 min\n" in out
    assert "    1 CRL waits for a chain with the certificate of the signer\n" in out
    data = json.loads(show("--config", str(config), "--json")[1])
    assert data["bundles"]["example.org"]["crls"].items() >= {"revoked": 2, "waiting": 1}.items()


def test_of_nothing(tmp_path: Path) -> None:
    """With what to do."""
    code, _, err = show("--socket", f"unix://{tmp_path}/s")
    assert code == 1
    assert err.startswith(f"no identity: there is no socket at unix://{tmp_path}/s: start the agent, ")
    assert show("--socket", "/run/s")[0] == 1
    code, _, err = show(SPIFFE_ENDPOINT_SOCKET="")
    assert (code, err) == (2, "name a YAML by --config or an agent by --socket, or set SPIFFE_ENDPOINT_SOCKET\n")
    assert show("--config", str(tmp_path / "none.yaml"))[0] == 2
