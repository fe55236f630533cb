"""What the contenders write before they start."""

import json
from pathlib import Path

import pytest

from loadtest import material
from loadtest.contenders import CONTENDERS, DEFAULT
from loadtest.contenders.pair import Duty, Pair, Ports, Site
from proxy.config.load import load


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Nothing listens anywhere."""
    return Site(tmp_path, material.make(tmp_path), Ports(4001, 4002, 4003, 4004, (4005, 4006, 4007, 4008, 4009, 4010)))


def prepared(name: str, site: Site) -> Pair:
    """Written, not started."""
    return CONTENDERS[name].prepare(CONTENDERS[name].program, site)


@pytest.mark.parametrize("name", CONTENDERS)
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


def test_every_duty_that_is_not_done_is_said() -> None:
    """Svidecar does all; the comparison runs it beside Envoy and nginx."""
    assert CONTENDERS["svidecar"].duties == frozenset(Duty)
    assert DEFAULT == ("svidecar", "envoy", "nginx")
    assert all(not contender.notes.keys() & contender.duties for contender in CONTENDERS.values())
