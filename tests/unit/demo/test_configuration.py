"""The YAML files of the demo are good ones: readers copy them."""

from pathlib import Path

import pytest

from proxy.authority.read import read_settings
from proxy.config.check import check
from proxy.config.load import load_text
from proxy.demo.configuration import SIDECARS, TRUST_DOMAIN, authority_yaml, sidecar_yaml

PORTS = {"authority": 8443, "app": 8080, "orders": 15006, "ledger": 15007}


@pytest.mark.parametrize("name", SIDECARS)
def test_a_sidecar_takes_it(tmp_path: Path, name: str) -> None:
    """Valid, and nothing to warn of but what the authority has yet to make."""
    path = tmp_path / f"{name}.yaml"
    path.write_text(sidecar_yaml(name, Path("/demo"), **PORTS))
    (tmp_path / "logs").mkdir()
    report = check(path, {}, 0.0)
    assert all("api.sock" in warning.told("") for warning in report.warnings)
    assert not [line for line in report.summary if "0.0.0.0" in line], "a demo listens on loopback alone"


def test_each_knows_where_the_next_one_listens() -> None:
    """And who has to answer there."""
    edge, orders = (load_text(sidecar_yaml(name, Path("/demo"), **PORTS), Path("/"), {}) for name in ("edge", "orders"))
    assert [(d.host, d.address, d.spiffe_id) for d in edge.destinations] == [
        ("orders", "127.0.0.1:15006", "spiffe://example.org/orders"),
        ("billing", "127.0.0.1:15007", "spiffe://example.org/billing"),
    ]
    assert [(d.host, d.address, d.token) for d in orders.destinations] == [("ledger", "127.0.0.1:15007", None)]


def test_the_authority_takes_its_own(tmp_path: Path) -> None:
    """It listens at a free port of loopback, and knows every workload of the demo."""
    settings = read_settings(TRUST_DOMAIN, tmp_path, document=authority_yaml(1000))
    assert (settings.host, settings.port) == ("127.0.0.1", 0)
    assert {workload.name for workload in settings.workloads} == {*SIDECARS, "support", "intruder"}
    assert {workload.name for workload in settings.workloads if workload.selectors} == set(SIDECARS)
