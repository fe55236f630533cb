"""Limits, timeouts, TLS, ports: how they are written. Their bounds are tested in test_schema, all of them."""

import pytest
from support.yaml_text import GOOD, only, settings

from proxy.config.tuning import OUTBOUND_POOL


def test_the_pool_of_the_mesh_has_its_own_idle_time() -> None:
    """Below our own inbound idle time, where the app's is far shorter."""
    assert OUTBOUND_POOL.idle_s == 60.0


@pytest.mark.parametrize("written", ["1.2", "'1.2'", '"1.2"'])
def test_versions_need_no_quotes(written: str) -> None:
    """YAML takes 1.2 for a number; here it is a version."""
    assert settings(GOOD + f"tls: {{min_version: {written}}}\n").tls.min_version == "1.2"


@pytest.mark.parametrize("written", ["1.1", "1", "1.20", "TLSv1.3", "1.4"])
def test_other_versions(written: str) -> None:
    """There are two."""
    assert "is not one of 1.3, 1.2" in only(GOOD + f"tls: {{min_version: {written}}}\n")


@pytest.mark.parametrize("address", ["0.0.0.0:15000", "'[::]:15000'", "10.0.0.1:15000"])
def test_the_admin_port_is_for_this_machine(address: str) -> None:
    """It says why."""
    assert "whoever reaches the admin port can end this sidecar" in only(GOOD + f"admin: {{listen: {address}}}\n")


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("15020", "'15020' is a port without a host: write host:port"),
        ("22:22", "'22:22' ends in a number, but is not an IP address"),
        ("0.0.0.0", "'0.0.0.0' has no port: write host:port"),
        ("'*:15020'", "write 0.0.0.0 (or [::]) for every interface"),
        ("metrics.local:15020", "listen on an IP address of this machine"),
    ],
)
def test_slips_of_a_listening_address(written: str, said: str) -> None:
    """YAML takes some of them for numbers, even 22:22; the message is about the address."""
    assert said in only(GOOD + f"metrics: {{listen: {written}}}\n")
