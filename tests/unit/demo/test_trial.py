"""Reading what became of a case in logs that other processes write."""

import json
import time
from pathlib import Path

import pytest

from proxy.demo import trial
from proxy.demo.trial import Logs


def logs(folder: Path) -> Logs:
    """Of two sidecars; nothing is written yet."""
    return Logs({name: folder / name for name in ("orders", "ledger")})


def write(folder: Path, name: str, **record: str) -> None:
    """Add a record."""
    with (folder / name).open("a") as file:
        file.write(json.dumps(record) + "\n")


def test_a_request_is_found_in_every_log(tmp_path: Path) -> None:
    """With whose log it was."""
    write(tmp_path, "orders", kind="request", trace_id="a")
    write(tmp_path, "orders", kind="request", trace_id="b")
    write(tmp_path, "ledger", kind="request", trace_id="a")
    assert [record["sidecar"] for record in logs(tmp_path).by_trace_id()["a"]] == ["orders", "ledger"]


def test_a_line_that_is_being_written_is_not_read(tmp_path: Path) -> None:
    """It is there next time."""
    (tmp_path / "orders").write_text('{"kind": "request", "trace_id": "a"}\n{"kind": "requ')
    assert list(logs(tmp_path).by_trace_id()) == ["a"]


def test_a_log_that_is_not_there_yet_is_empty(tmp_path: Path) -> None:
    """A sidecar makes it with its start."""
    assert logs(tmp_path).by_trace_id() == {}


async def test_waiting_for_records_ends_as_soon_as_they_are_there(tmp_path: Path) -> None:
    """And a moment later, so that one too many is seen."""
    write(tmp_path, "orders", kind="request", trace_id="a")
    began = time.monotonic()
    await logs(tmp_path).wait_for({"a": 1})
    assert time.monotonic() - began < trial.RECORDS_S


async def test_waiting_for_records_that_never_come_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not there is judged as wrong."""
    monkeypatch.setattr(trial, "RECORDS_S", 0.1)
    await logs(tmp_path).wait_for({"a": 1})
    assert await logs(tmp_path).wait_for_refused(0) == []


async def test_a_refused_connection_is_the_one_that_was_added(tmp_path: Path) -> None:
    """Those before belong to other cases, and those of other sidecars are the echo of what we did."""
    write(tmp_path, "orders", kind="connection", reason="plaintext")
    write(tmp_path, "orders", kind="request", trace_id="a")
    before = len(logs(tmp_path).refused_connections())
    write(tmp_path, "ledger", kind="connection", reason="handshake_failed")
    write(tmp_path, "orders", kind="connection", reason="untrusted_chain")
    assert [record["reason"] for record in await logs(tmp_path).wait_for_refused(before)] == ["untrusted_chain"]
