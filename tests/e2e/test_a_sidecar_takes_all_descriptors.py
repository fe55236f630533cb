"""The soft limit of open files is raised to the hard one: each exchange holds two, and the usual limit is 1024."""

import contextlib
import re
import resource
from collections.abc import Iterator
from pathlib import Path

from support.mesh import INBOUND, Mesh


@contextlib.contextmanager
def soft_limit(count: int) -> Iterator[int]:
    """Processes that are started have this many; give the hard limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
    try:
        yield hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_limit(mesh: Mesh) -> None:
    """As the kernel says it, and by more connections than the soft limit would have let in."""
    with soft_limit(128) as hard:
        orders = mesh.start("orders", INBOUND.format(app=mesh.app().port))
    limits = Path(f"/proc/{orders.process.pid}/limits").read_text()
    found = re.search(r"Max open files\s+(\S+)\s+(\S+)", limits)
    assert found is not None
    assert found[1] == found[2] == ("unlimited" if hard == resource.RLIM_INFINITY else str(hard))
    wires = [mesh.connect(orders.ports["inbound"]) for _ in range(150)]
    assert all(wire.ask("GET", "/any/1", mesh.bearer()).status == 200 for wire in wires)
