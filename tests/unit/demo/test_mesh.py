"""Starting the processes of the demo: a failure says which one, and leaves none of the others behind."""

from pathlib import Path

import pytest

from proxy.demo.mesh import Mesh
from proxy.demo.process import ProcessFailed


async def test_an_authority_that_cannot_start_is_told(tmp_path: Path) -> None:
    """With its own words; what comes after it is not even begun."""
    (tmp_path / "state").write_text("in the way")
    said: list[str] = []
    mesh = Mesh(tmp_path, said.append)
    try:
        with pytest.raises(ProcessFailed) as caught:
            await mesh.start()
    finally:
        mesh.end()
    assert str(caught.value).startswith("authority ended by itself with exit code 1. The last that it said:\n")
    assert "cannot be used as the state folder" in str(caught.value)
    assert [process.name for process in mesh.processes] == ["authority"]
    assert said == []


async def test_a_sidecar_that_cannot_start_is_told(tmp_path: Path) -> None:
    """The first is the last of the chain, for the others need its port."""
    (tmp_path / "logs" / "ledger.access.jsonl").mkdir(parents=True)
    said: list[str] = []
    mesh = Mesh(tmp_path, said.append)
    try:
        with pytest.raises(ProcessFailed, match=r"^sidecar of ledger ended by itself with exit code 1") as caught:
            await mesh.start()
        assert "access_log.path" in str(caught.value)
        mesh.processes[0].check()
    finally:
        mesh.end()
    with pytest.raises(ProcessFailed, match=r"^authority ended"):
        mesh.check()
    assert [line.split(" ... ")[0] for line in said] == ["authority"]
