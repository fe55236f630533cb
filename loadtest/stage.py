"""Bring a contender's pair up, and take it down again."""

import contextlib
import http.client
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from loadtest import backend, client
from loadtest.contenders import Contender
from loadtest.contenders.pair import Pair, Ports, Site
from loadtest.machine import Cores
from loadtest.material import Material
from loadtest.processes import Process, free_ports, running
from loadtest.wire import Wire

SPARE_PORTS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What all contenders share: the trust domain, the backend, the cores, the programs."""

    directory: Path
    material: Material
    backend_port: int
    backend: Process
    cores: Cores
    programs: dict[str, str]
    trees: Mapping[str, Path] = field(default_factory=dict)
    """Where a contender's Python package is taken from, by the contender's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A pair that answers."""

    contender: Contender
    material: Material
    cores: Cores
    pair: Pair | None
    ports: Ports
    sides: Mapping[str, Process]
    """Both processes by name, in the order in which a request meets them; none where there is no proxy."""

    @property
    def egress(self) -> Process:
        """The side of the calling app."""
        return self.sides["egress"]

    @property
    def ingress(self) -> Process:
        """The side of the called app."""
        return self.sides["ingress"]

    @property
    def metrics(self) -> Mapping[str, str]:
        """The URL of each side's metrics, where there are some."""
        return dict(zip(self.sides, self.pair.metrics if self.pair else (), strict=False))

    @property
    def commands(self) -> dict[str, str]:
        """How each process was started."""
        return {process.command.name: process.command.text for process in self.sides.values()}

    def good(self) -> bool:
        """Whether a good request passes both proxies now."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = client.plain(self.ports.egress)
            with contextlib.closing(connection):
                return client.ask(connection, backend.SMALL, self.material.token).status == "200"
        return False


@contextlib.contextmanager
def running_pair(stage: Stage, contender: Contender, through: Wire | None = None) -> Iterator[Running]:
    """The pair, from fresh processes, once a good request has passed it (``through`` a wire tap, if given)."""
    if not contender.program:
        yield _nobody(stage, contender)
        return
    directory = stage.directory / contender.name
    directory.mkdir(exist_ok=True)
    egress_port, ingress_port, *spare = free_ports(2 + SPARE_PORTS)
    dial = ingress_port
    if through is not None:
        dial, through.target = through.port, ingress_port
    ports = Ports(egress_port, dial, ingress_port, stage.backend_port, tuple(spare))
    pair = contender.prepare(
        stage.programs[contender.program], Site(directory, stage.material, ports, stage.trees.get(contender.name))
    )
    with contextlib.ExitStack() as stack:
        egress = stack.enter_context(running(pair.egress, on=stage.cores.proxies, log=directory / "egress.log"))
        egress.wait_for_port(ports.egress)
        ingress = stack.enter_context(running(pair.ingress, on=stage.cores.proxies, log=directory / "ingress.log"))
        ingress.wait_for_port(ports.ingress)
        up = Running(
            contender=contender,
            material=stage.material,
            cores=stage.cores,
            pair=pair,
            ports=ports,
            sides={"egress": egress, "ingress": ingress},
        )
        ingress.wait_for(up.good, "a good request does not pass")
        yield up
        egress.check()
        ingress.check()


def _nobody(stage: Stage, contender: Contender) -> Running:
    """The app itself stands where an egress would."""
    return Running(
        contender=contender,
        material=stage.material,
        cores=stage.cores,
        pair=None,
        ports=Ports(stage.backend_port, 0, 0, stage.backend_port, ()),
        sides={},
    )
