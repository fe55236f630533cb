"""What we need, and where it is."""

from pathlib import Path

import pytest

from loadtest import machine


def test_every_missing_program_is_named_with_its_remedy(tmp_path: Path) -> None:
    """All at once, not one after the other; what is here is not asked for."""
    here = tmp_path / "nginx"
    here.touch(mode=0o755)
    remedies = r"(?s)pip install '\.\[load\]'.*apt-get install wrk"
    with pytest.raises(machine.MissingProgram, match=remedies) as missing:
        machine.require("nginx", "envoy", "wrk", path=str(tmp_path))
    assert "nginx-light" not in str(missing.value)
    assert machine.require("nginx", path=str(tmp_path)) == {"nginx": str(here)}


def test_proxies_and_load_have_different_cores_where_there_are_two() -> None:
    """On one core they share it, and it is said."""
    assert machine.cores({0, 1, 2}) == machine.Cores((2,), (0, 1))
    assert machine.cores({5}) == machine.Cores((5,), (5,))
    assert "one core only" in machine.cores({5}).said
