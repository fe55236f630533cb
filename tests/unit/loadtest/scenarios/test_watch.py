"""Descriptors as the kernel has them, and growth as it is told."""

import subprocess
import sys

from loadtest.scenarios.slope import Slope, Verdict
from loadtest.scenarios.watch import Growth, Sample, descriptors


def test_descriptors_of_a_process_that_we_started() -> None:
    """Those of its session; three more when it opens three."""
    script = (
        "import os,sys\nprint(0, flush=True)\nsys.stdin.readline()\n[os.dup(0) for _ in range(3)]\n"
        "print(1, flush=True)\nsys.stdin.readline()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", script], start_new_session=True, **pipes) as child:  # type: ignore[call-overload]
        child.stdout.readline()  # it has started: nothing of the interpreter's own is open any more
        before = descriptors(child.pid)
        child.stdin.write(b"\n")
        child.stdin.flush()
        child.stdout.readline()
        assert descriptors(child.pid) == before + 3
        child.communicate(b"\n")
        assert descriptors(child.pid) == 0


def test_growth_is_told_with_its_bound() -> None:
    """Steady says nothing; growth and doubt say why, in words."""
    samples = [Sample(done, 50.0, 9) for done in range(0, 50, 10)]
    leak = Growth.of("ingress", "descriptors", samples, [9.0, 19.0, 29.0, 39.0, 49.0], 0.001)
    steady = Growth.of("egress", "bytes", samples, [5e7] * 5, 10)
    assert list(steady.problem("requests")) == []
    assert steady.row()[:4] == ("egress", "resident MB", "50.0", "50.0")
    (told,) = leak.problem("connections")
    assert told.startswith("grows: ingress: 1 descriptors for each of the connections")
    doubt = Growth("ingress", "bytes", Slope(1, -5, 50, 9), 10, 0, 0)
    assert doubt.verdict is Verdict.UNSURE
    assert "run it longer" in next(doubt.problem("requests"))
