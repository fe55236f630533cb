"""What the contenders write before they start."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from loadtest import material
from loadtest.contenders import COMPARED, CONTENDERS
from loadtest.contenders.haproxy import san
from loadtest.contenders.pair import Duty, Pair, Ports, Site
from proxy.config.load import load


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Nothing listens anywhere."""
    return Site(tmp_path, material.make(tmp_path), Ports(4001, 4002, 4003, 4004, (4005, 4006, 4007, 4008, 4009, 4010)))


def prepared(name: str, site: Site) -> Pair:
    """Written, not started."""
    return CONTENDERS[name].prepare(CONTENDERS[name].program, site)


@pytest.mark.parametrize("name", [name for name, each in CONTENDERS.items() if each.program])
def test_the_egress_dials_where_it_is_told(name: str, site: Site) -> None:
    """Through the tap, not to the ingress itself."""
    pair = prepared(name, site)
    assert "4002" in pair.configs["egress"]
    assert "4003" not in pair.configs["egress"]
    assert "4003" in pair.configs["ingress"]
    assert "4004" in pair.configs["ingress"]


def test_envoy_remembers_tokens_only_where_it_says_so(site: Site) -> None:
    """The two Envoys differ in nothing else."""
    cached, uncached = (json.loads(prepared(name, site).configs["ingress"]) for name in ("envoy", "envoy-uncached"))
    provider = cached["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    found = provider["http_filters"][0]["typed_config"]["providers"]["tts"].pop("jwt_cache_config")
    assert found == {"jwt_cache_size": 1000}
    assert cached == uncached


def test_svidecar_accepts_its_configuration(site: Site) -> None:
    """As ``svidecar check`` would."""
    prepared("svidecar", site)
    egress, ingress = (load(site.directory / f"svidecar-{side}.yaml", {}) for side in ("egress", "ingress"))
    assert egress.inbound is None
    assert [each.spiffe_id for each in egress.destinations] == [material.ORDERS]
    assert [rule.scopes for rule in ingress.policy.rules] == [(material.SCOPE,)]


def test_svidecar_runs_from_the_tree_that_it_is_told(site: Site) -> None:
    """The compiled copy, or this tree: never what happens to be installed, never the working directory."""
    plain = prepared("svidecar", site).egress
    assert plain.environment["PYTHONPATH"] == str(Path(__file__).parents[3])
    assert plain.arguments[1:4] == ("-P", "-m", "proxy")
    copy = replace(site, tree=Path("/copy"))
    built = prepared("svidecar", copy).egress.environment
    assert built["PYTHONPATH"] == "/copy"
    assert (built["PYTHONPYCACHEPREFIX"], built["PYTHONDONTWRITEBYTECODE"]) == ("/copy/bytecode", ""), (
        "as the image has it"
    )


def test_haproxy_looks_for_the_uri_as_it_stands_in_the_certificate(site: Site) -> None:
    """With its tag and its length before it: a longer name that begins alike is another one."""
    der = x509.load_pem_x509_certificate(site.material.edge.certificate.read_bytes()).public_bytes(Encoding.DER)
    assert bytes.fromhex(san(material.EDGE)) in der
    assert bytes.fromhex(san(material.EDGE[:-1])) not in der
    with pytest.raises(ValueError, match="length"):
        san("spiffe://example.org/" + "a" * 107)


def test_haproxy_puts_no_key_where_others_read_it(site: Site) -> None:
    """It wants certificate and key in one file."""
    prepared("haproxy", site)
    assert (site.directory / "edge-both.pem").stat().st_mode & 0o077 == 0


def test_every_duty_that_is_not_done_is_said() -> None:
    """Svidecar does all, both ways of running it; a note for a duty agrees with what is claimed."""
    assert CONTENDERS["svidecar"].duties == CONTENDERS["svidecar-interpreted"].duties == frozenset(Duty)
    assert set(COMPARED) == CONTENDERS.keys() - {"svidecar-interpreted"}
    for contender in CONTENDERS.values():
        for duty, note in contender.notes.items():
            assert note.startswith("yes") == (duty in contender.duties), (contender.name, duty)
