"""The trail: what the loop hands over is written by a thread, and never waited for."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from support.audit import KEY, RECORD, SIGNER, lines, read_again, whole
from support.prometheus import exposed
from support.sidecar import wait_until

from proxy.errors import ConfigInvalid
from proxy.observe.audit.settings import AuditSettings
from proxy.observe.audit.trail import Trail, open_audit
from proxy.observe.catalog import Metrics


def trail(path: Path, metrics: Metrics | None = None, **settings: Any) -> Trail:
    """A trail to this file."""
    return Trail(AuditSettings(file=path, **settings), lambda: SIGNER, metrics or Metrics("0", "orders"), "0a0b0c0d")


def sample(metrics: Metrics, name: str) -> float:
    """The sample of a metric without labels."""
    text = exposed(metrics)[1].decode()
    return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name} "))


def chain_of(path: Path) -> str:
    """The chain that a file names."""
    name = lines(path)[0]["chain"]
    assert isinstance(name, str)
    return name


def test_what_is_put_is_written(tmp_path: Path) -> None:
    """By a thread, soon, and all of it at the end."""
    metrics = Metrics("0", "orders")
    made = trail(tmp_path / "a.log", metrics)
    made.put(RECORD)
    made.start()
    for _ in range(5):
        made.put(RECORD)
    until = time.monotonic() + 5
    while sample(metrics, "svidecar_audit_lines") < 7 and time.monotonic() < until:
        time.sleep(0.01)
    assert sample(metrics, "svidecar_audit_lines") == 7
    for _ in range(500):
        made.put(RECORD)
    made.close()
    outcome = read_again(tmp_path / "a.log", chain=chain_of(tmp_path / "a.log"))
    assert whole(outcome)
    assert outcome.kinds["request"] == 506
    assert sample(metrics, "svidecar_audit_dropped_total") == 0
    assert not any(thread.name == "audit" for thread in threading.enumerate())


def test_the_queue_has_a_limit(tmp_path: Path) -> None:
    """At n it holds all, at n and one more one is dropped: counted in the metric and in the chain."""
    for extra in (0, 1, 7):
        metrics = Metrics("0", "orders")
        path = tmp_path / f"{extra}.log"
        made = trail(path, metrics, queue=16)
        for _ in range(16 + extra):
            made.put(RECORD)
        made.start()
        made.close()
        outcome = read_again(path, chain=chain_of(path))
        assert whole(outcome)
        assert (outcome.kinds["request"], outcome.dropped) == (16, extra)
        assert sample(metrics, "svidecar_audit_dropped_total") == extra


def test_what_is_allowed_may_be_sampled(tmp_path: Path) -> None:
    """Refusals never; and how many were left out stands in each checkpoint."""
    made = trail(tmp_path / "a.log", allows=10)
    made.start()
    for _ in range(100):
        made.put(RECORD)
        made.put(RECORD._replace(decision="deny", reason="scope_missing"))
    made.close()
    outcome = read_again(tmp_path / "a.log", chain=chain_of(tmp_path / "a.log"))
    assert (outcome.kinds["request"], outcome.sampled_out) == (110, 90)


def test_an_idle_trail_does_nothing(tmp_path: Path) -> None:
    """Once all is signed the thread sleeps until it is called."""
    made = trail(tmp_path / "a.log", checkpoint_s=0.1)
    made.start()
    made.put(RECORD)
    until = time.monotonic() + 5
    while lines(tmp_path / "a.log")[-1:] != [] and lines(tmp_path / "a.log")[-1]["kind"] != "checkpoint":
        assert time.monotonic() < until
        time.sleep(0.01)
    wait_until(lambda: made._writer.wait_s is None, "it sleeps")
    made.put(RECORD)
    made.close()
    assert [line["kind"] for line in lines(tmp_path / "a.log")].count("request") == 2


def test_a_policy_is_told_once(tmp_path: Path) -> None:
    """Whenever it is another one."""
    made = trail(tmp_path / "a.log")
    made.start()
    for version in ("aa", "aa", "bb"):
        made.policy_taken("inbound", version, 3)
    made.close()
    assert [line["policy"] for line in lines(tmp_path / "a.log") if line["kind"] == "policy"] == ["aa", "bb"]


def test_handing_over_is_cheap(tmp_path: Path) -> None:
    """A record costs the loop a few microseconds at the most, also on a slow machine; here about one."""
    made = trail(tmp_path / "a.log", queue=100_000)
    times = []
    for _ in range(20):
        started = time.thread_time()
        for _ in range(500):
            made.put(RECORD)
        times.append(time.thread_time() - started)
    made.start()
    made.close()
    assert min(times) / 500 < 5e-6


def test_a_key_of_the_operator(tmp_path: Path) -> None:
    """It signs instead of the SVID's."""
    (tmp_path / "key.pem").write_bytes(KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    settings = AuditSettings(file=tmp_path / "a.log", key=tmp_path / "key.pem")
    made = Trail(settings, lambda: None, Metrics("0", "orders"), "0a")
    made.start()
    made.close()
    assert whole(read_again(tmp_path / "a.log", chain=chain_of(tmp_path / "a.log")))


def test_what_cannot_be_used_is_said_at_the_start(tmp_path: Path) -> None:
    """A file in no folder, a key that is none, a file that is no file."""
    (tmp_path / "bad.pem").write_text("no key")
    for settings, message in (
        (AuditSettings(file=tmp_path / "no/a.log"), "audit.file: .* cannot be used: No such file"),
        (AuditSettings(file=tmp_path), "audit.file: .* cannot be used"),
        (AuditSettings(file=tmp_path / "a.log", key=tmp_path / "no.pem"), "audit.key: .* cannot be read"),
        (AuditSettings(file=tmp_path / "a.log", key=tmp_path / "bad.pem"), "audit.key: .* no unencrypted private key"),
    ):
        with pytest.raises(ConfigInvalid, match=message):
            open_audit(settings, lambda: None, Metrics("0", "orders"))


def test_none_is_none() -> None:
    """Without a file there is no audit, and nothing of it in the metrics."""
    metrics = Metrics("0", "orders")
    assert open_audit(AuditSettings(), lambda: None, metrics) is None
    assert "\nsvidecar_audit" not in exposed(metrics)[1].decode()
