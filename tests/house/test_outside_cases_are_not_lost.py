"""A clone alone skips the cases that nobody here wrote, with a reason; where they are required, a skip has failed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

WITHOUT = {
    "an outside case": "def test_it(shared_testdata):\n    assert shared_testdata\n",
    "a package that is not there": "import pytest\n\npytest.importorskip('nothing_like_it')\n",
}


def run(folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the tests of a clone that stands alone."""
    command = [sys.executable, "-m", "pytest", "-n", "0", "-rs", "-p", "no:cacheprovider"]
    clean = {name: value for name, value in os.environ.items() if name != "SVIDECAR_SHARED_REQUIRED"}
    return subprocess.run(
        command, cwd=folder, env=clean | environ, capture_output=True, text=True, timeout=30, check=False
    )


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Our own conftest with what it needs, our settings, and nothing beside them."""
    (tmp_path / "clone/tests/support").mkdir(parents=True)
    for name in ("__init__", "secrecy"):
        shutil.copy(ROOT / f"tests/support/{name}.py", tmp_path / "clone/tests/support")
    shutil.copy(ROOT / "pyproject.toml", tmp_path / "clone")
    shutil.copy(ROOT / "tests/conftest.py", tmp_path / "clone/tests")
    return tmp_path / "clone"


@pytest.mark.parametrize("name", WITHOUT)
def test_a_skip(clone: Path, name: str) -> None:
    """Also of a test that nobody has marked, and of a file that is skipped whole."""
    (clone / "tests/test_it.py").write_text(WITHOUT[name])
    alone, required = run(clone), run(clone, SVIDECAR_SHARED_REQUIRED="1")
    assert "1 skipped" in alone.stdout, alone.stdout + alone.stderr
    assert "SKIPPED [1] tests/test_it.py" in alone.stdout
    assert required.returncode not in (0, 5), required.stdout
    assert "skipped, and SVIDECAR_SHARED_REQUIRED=1" in required.stdout


def test_the_mark_finds_them(clone: Path) -> None:
    """``-m shared`` takes whoever asks for the fixture."""
    (clone / "tests/test_it.py").write_text("def test_here():\n    pass\n\n" + WITHOUT["an outside case"])
    found = run(clone, PYTEST_ADDOPTS="-m shared")
    assert "1 skipped, 1 deselected" in found.stdout, found.stdout + found.stderr
