"""What every test may ask for."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared" / "testdata"


@pytest.fixture(scope="session")
def shared_testdata() -> Path:
    """The cases that nobody here wrote; a clone alone has none and skips, .ci/run never does."""
    if not SHARED.is_dir():
        pytest.skip("../shared/testdata is not beside this clone")
    return SHARED
