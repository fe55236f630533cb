"""What is printed when the demo stays up can be copied."""

import shlex
from pathlib import Path

from proxy.demo.guide import guide

PORTS = {
    name: {"health": 50000 + n, "metrics": 51000 + n, "admin": 52000 + n, "outbound": 53000 + n}
    for n, name in enumerate(("edge", "orders", "ledger"))
}


def test_it_fits_and_names_all() -> None:
    """Each address of each sidecar, and the folder."""
    shown = guide(Path("/tmp/svidecar-demo-abcdefgh"), 54000, PORTS)
    assert max(map(len, shown.splitlines())) <= 120
    for name, ports in PORTS.items():
        [line] = [line for line in shown.splitlines() if line.startswith(f"  {name} ")]
        assert line.split()[1:] == [
            f"http://127.0.0.1:{ports['metrics']}/metrics",
            f"http://127.0.0.1:{ports['health']}/healthz/ready",
            f"http://127.0.0.1:{ports['admin']}/",
        ]
    assert "/tmp/svidecar-demo-abcdefgh" in shown


def test_the_commands_are_commands() -> None:
    """What stands behind them is a comment for every shell."""
    shown = guide(Path("/tmp/x"), 54000, PORTS)
    commands = [shlex.split(line, comments=True) for line in shown.splitlines() if line.startswith("  curl")]
    assert len(commands) == 4
    assert commands[0] == ["curl", "http://127.0.0.1:54000/orders/7"]
    assert commands[2] == ["curl", "-H", "Host: orders", "http://127.0.0.1:53000/orders/7"]
