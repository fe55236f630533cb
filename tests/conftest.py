"""What every test may ask for, and how all of them run."""

import os
import signal
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import settings
from support.secrecy import listening, overheard

SHARED = Path(__file__).resolve().parents[2] / "shared" / "testdata"

REQUIRED = os.environ.get("SVIDECAR_SHARED_REQUIRED") == "1"
"""Set by .ci/run: what a clone alone may skip is a failure there."""

# A deadline for one example would measure the machine and whoever else uses it; each test has its timeout. In CI the
# examples are the same at every run, so that a red run can be looked at.
settings.register_profile("house", deadline=None)
settings.register_profile("house-ci", deadline=None, derandomize=True, database=None, print_blob=True)
settings.load_profile("house-ci" if os.environ.get("CI") else "house")

# A shell starts what goes on in the background with SIGINT ignored, and so would every process that a test starts: one
# that is to end by it would not.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared_testdata() -> Path:
    """The cases that nobody here wrote; a clone alone has none and skips, .ci/run never does."""
    if not SHARED.is_dir():
        pytest.skip("../shared/testdata is not beside this clone")
    return SHARED


@pytest.fixture(scope="module", autouse=True)
def _no_token_is_told() -> Iterator[None]:
    """No log line, metric or record of whatever a file of tests has run holds a token; read when all of it has ended."""
    with listening():
        yield
    found = overheard()
    assert not found, f"a token stands in a log, a metric or a record: {found}"


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Mark whatever reads the outside cases, also where nobody thought of it."""
    for item in items:
        if "shared_testdata" in getattr(item, "fixturenames", ()):
            item.add_marker("shared")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where the outside cases are required, one that was skipped has failed."""
    report = yield
    if REQUIRED and report.skipped and "shared" in item.keywords and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, and SVIDECAR_SHARED_REQUIRED=1: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """A file that is skipped whole (a package that is not there) has failed, too."""
    report = yield
    if REQUIRED and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"skipped, and SVIDECAR_SHARED_REQUIRED=1: {report.longrepr}"
    return report
