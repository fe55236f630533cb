"""What to do with a demo that stays up: commands to copy, and addresses. Pure."""

from collections.abc import Mapping
from pathlib import Path

from proxy.demo.configuration import SIDECARS

_HOST = "http://127.0.0.1"
_COMMAND_WIDTH = 66


def guide(folder: Path, app: int, ports: Mapping[str, Mapping[str, int]]) -> str:
    """Write it; ``app`` is the port of edge's app, ``ports`` are those of each sidecar by name."""
    outbound = ports["edge"]["outbound"]
    commands = (
        (f"curl {_HOST}:{app}/orders/7", "edge's app; the answer tells of each hop"),
        (f"""curl -d '{{"item": "book"}}' {_HOST}:{app}/orders""", "a POST through the chain"),
        (f"curl -H 'Host: orders' {_HOST}:{outbound}/orders/7", "as edge's app calls orders: through its sidecar"),
        (f"curl -i -H 'Host: payroll' {_HOST}:{outbound}/", "refused, and told why"),
        (
            f"svidecar tap --url {_HOST}:{ports['orders']['admin']}/tap",
            "what orders decides, as it decides it",
        ),
    )
    return "\n".join(
        [
            "It stays up. Try, from another terminal:",
            "",
            *(f"  {command:{_COMMAND_WIDTH}}  # {what}" for command, what in commands),
            "",
            f"  {'sidecar':8}  {'metrics':31}  {'health':37}  status",
            *(_addresses(name, ports[name]) for name in SIDECARS),
            "",
            f"The YAML files, SVIDs, keys and logs of it all are in {folder}",
            "Ctrl-C ends every process and removes that folder.",
        ]
    )


def _addresses(name: str, ports: Mapping[str, int]) -> str:
    metrics, health = f"{_HOST}:{ports['metrics']}/metrics", f"{_HOST}:{ports['health']}/healthz/ready"
    return f"  {name:8}  {metrics:31}  {health:37}  {_HOST}:{ports['admin']}/"
