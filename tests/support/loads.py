"""Turns of a load test that nobody ran, for the tests of what is made of them."""

from collections.abc import Mapping

from loadtest.fixed_rate import PERCENTILES, FixedRate
from loadtest.histograms import Histogram
from loadtest.idle import Idle
from loadtest.results import Results, Turn
from loadtest.saturation import Saturation, Slice

REST = {"egress": 40.0, "ingress": 50.0}


def load(us: float, *, errors: Mapping[str, int] | None = None, load_core: float = 0.4) -> Saturation:
    """1000 requests at ``us`` microseconds for both sides together."""
    one = Slice(
        requests=1000,
        seconds=1.0,
        errors=dict(errors or {}),
        percentiles_ms={name: float(number + 1) for number, name in enumerate(PERCENTILES)},
        wall_s=1.0,
        egress_s=us * 400e-6,
        ingress_s=us * 600e-6,
        backend_s=0.1,
        proxies_core=0.98,
        load_core=load_core,
        stolen=0.0,
    )
    return Saturation(slices=(one,))


def _idle(mb: float) -> Idle:
    return Idle(connections=1000, open=1000, rss_mb=mb, pss_mb=mb, anonymous_mb=mb, ingress_ms_each=2.0)


def rate(p99: float, *, us: float = 100.0, errors: Mapping[str, int] | None = None) -> FixedRate:
    """A second at 1000 requests/s with this p99, and every other percentile a step away from it."""
    steps = {name: p99 * (number + 1) / 4 for number, name in enumerate(PERCENTILES)}
    return FixedRate(
        rate=1000.0,
        connections=32,
        requested=1000,
        completed=1000,
        errors=errors or {},
        seconds=1.0,
        percentiles_ms=steps,
        service_percentiles_ms=steps,
        client={},
        wall_s=2.0,
        cpu_s={"egress": us * 800e-6, "ingress": us * 1200e-6},
        rss_mb=REST,
        others_on_proxies_core=0.0,
    )


def turn(contender: str, number: int = 1, us: float | None = None, rest: float = 50.0) -> Turn:
    """With its memory at rest, and with a load where ``us`` says so."""
    loads = {} if us is None else {"one-token": load(us), "new-token": load(us * 2)}
    return Turn(contender=contender, round=number, commands={}, rest=REST | {"ingress": rest}, loads=loads)


def whole() -> Results:
    """A run of everything that plots and tables know."""
    turns = []
    costs = {"svidecar": 60.0, "envoy": 200.0, "envoy-uncached": 300.0, "nginx": 50.0, "direct": 0.0}
    for number in (1, 2):
        for name, us in costs.items():
            turns.append(
                Turn(
                    contender=name,
                    round=number,
                    commands={},
                    rest=REST if us else {},
                    loads={"one-token": load(us * number), "new-token": load(us * 2), "connections-16": load(us)},
                    rates={"rate-1000": rate(1 + us / 100, us=us), "rate-half": rate(1 + us / 50, us=us)},
                    idle=_idle(us) if us else None,
                    phases={"rate-1000": {"overhead, inbound": Histogram((1e-5, 1e-4, float("inf")), (50, 100, 100))}}
                    if name == "svidecar"
                    else {},
                )
            )
    return Results(
        contenders=tuple(costs),
        checks={},
        turns=turns,
        scenarios=("one-token", "new-token", "connections-16", "rate-1000", "rate-half", "idle-1000"),
        absent={"ghostunnel": "not here: <go install>"},
    )
