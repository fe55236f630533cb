"""What is told before it is too late, and when it is."""

import logging
import time
from dataclasses import replace

import pytest
from support.mtls import store_of, take
from support.pki import Authority

from proxy.admin.expiry import EXPIRY_WARNING, ExpiryWatch
from proxy.admin.health import Gate, Health
from proxy.identity.revocation import Revocations
from proxy.identity.store import IdentityStore

NOW = time.time()
CA = Authority.make("example.org")
URI = "spiffe://example.org/orders"


class Bench:
    """A watch over a store, and what it has logged."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self.store = store_of(CA.svid(URI), CA, now=NOW)
        self.health = Health()
        self.health.set(Gate.SVID, ok=True, detail=URI)
        self.watch = ExpiryWatch(self.store, self.health)
        self._caplog = caplog

    def look(self, now: float) -> list[str]:
        """Look at that moment; give what is logged newly."""
        self._caplog.clear()
        self.watch.look(now)
        return [record.getMessage() for record in self._caplog.records]

    @property
    def is_open(self) -> bool:
        """Whether the gate of the SVID is open."""
        return self.health.findings[Gate.SVID].ok


@pytest.fixture(name="bench")
def _bench(caplog: pytest.LogCaptureFixture) -> Bench:
    caplog.set_level(logging.WARNING)
    return Bench(caplog)


def test_a_warning_before_the_end(bench: Bench) -> None:
    """Once, in the last fifth of its life; the next SVID has a warning of its own."""
    svid = bench.store.require().svid
    warns_at = svid.not_after - EXPIRY_WARNING * (svid.not_after - svid.not_before)
    assert bench.look(warns_at) == []
    (said,) = bench.look(warns_at + 1)
    assert said.startswith("identity: the SVID ends in ")
    assert bench.look(warns_at + 2) == []
    assert bench.is_open
    take(bench.store, CA.svid(URI), CA, now=NOW)
    assert bench.look(NOW) == []
    assert len(bench.look(bench.store.require().svid.not_after - 1)) == 1


def test_not_ready_from_its_end_on(bench: Bench) -> None:
    """To the second; a sidecar that can prove nothing must get no traffic."""
    ends = bench.store.require().svid.not_after
    states = []
    for now in (ends - 1, ends):
        bench.look(now)
        states.append(bench.is_open)
    assert states == [True, False]
    assert "has ended" in bench.health.findings[Gate.SVID].detail


def test_a_crl_that_has_grown_old(bench: Bench) -> None:
    """Told once, by the name of its domain; and again when another one has."""
    identity = bench.store.require()
    bundle = identity.bundles["example.org"]
    for _ in range(2):
        old = {"example.org": replace(bundle, revocations=Revocations(next_update=NOW + 60))}
        bench.store.replace(identity.svid, old, NOW)
        assert bench.look(NOW + 60) == []
        (said,) = bench.look(NOW + 61)
        assert "CRL of example.org" in said
        assert bench.look(NOW + 62) == []
        new = {"example.org": replace(bundle, revocations=Revocations(next_update=NOW + 3600))}
        bench.store.replace(identity.svid, new, NOW)
        assert bench.look(NOW + 62) == []


def test_without_an_identity() -> None:
    """Nothing runs out."""
    health = Health()
    ExpiryWatch(IdentityStore(), health).look(NOW)
    assert health.findings[Gate.SVID].detail == "not yet"
