"""Every table of a run, as rows of text: for the terminal and for the page."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from loadtest import budget
from loadtest import results as of
from loadtest.contenders import CONTENDERS
from loadtest.contenders.pair import Duty
from loadtest.figures import Figure, figure
from loadtest.fixed_rate import PERCENTILES
from loadtest.histograms import PHASES, Histogram
from loadtest.results import Results
from loadtest.saturation import BUSY
from loadtest.scenario import RATES, SCENARIOS
from loadtest.shape import LOADS

SIDES = ("egress", "ingress")
Row = Sequence[str]


@dataclass(frozen=True, slots=True)
class Table:
    """A title, what a reader must know, and rows of which the first is the head."""

    title: str
    rows: Sequence[Row]
    note: str = ""


def every(results: Results) -> list[Table]:
    """Those that the run has figures for."""
    tables = [duties(results), held_budget(results), saturation(results), shares(results), by_scenario(results)]
    tables += [against_envoy(results), throughput(results)]
    tables += [at_rate(results, scenario) for scenario in SCENARIOS if scenario in RATES]
    tables += [streams(results), held(results), memory(results), phases(results), absent(results)]
    return [table for table in tables if len(table.rows) > 1]


def duties(results: Results) -> Table:
    """What each contender does, and what it does not."""
    rows: list[Row] = [("", *results.contenders)]
    rows += [(duty.value, *(_duty(name, duty) for name in results.contenders)) for duty in Duty]
    return Table("What each contender does", rows, "What one cannot do is work that it is not timed on.")


def _duty(name: str, duty: Duty) -> str:
    contender = CONTENDERS[name]
    return contender.notes.get(duty, "yes" if duty in contender.duties else "no")


def held_budget(results: Results) -> Table:
    """The budget, beside what was found; nothing where there is nobody to be compared with."""
    compared = len([name for name in results.contenders if not name.startswith(("svidecar", "direct"))])
    verdicts = budget.judge(results.summary())
    shown = verdicts if compared else [v for v in verdicts if v.found is not None]
    return Table("The budget", budget.rows(shown), "Medians of the ratios inside each round.")


def saturation(results: Results) -> Table:
    """CPU a request at full speed, of both sides."""
    rows: list[Row] = [("", "egress", "ingress", "both", "x envoy", "x nginx", "req/s", "good rounds")]
    cpu = of.cpu_us("one-token")
    for name in _that_have(results, cpu):
        both = results.figure(name, cpu)
        cells = [show(results.figure(name, of.of_load("one-token", side))) for side in ("egress_us", "ingress_us")]
        ratios = [show(results.ratio(name, other, cpu), 2) for other in ("envoy", "nginx")]
        turns = sum(turn.contender == name for turn in results.turns)
        rates = show(results.figure(name, of.of_load("one-token", "requests_per_s")), 0)
        rows.append((name, *cells, show(both), *ratios, rates, f"{both.rounds if both else 0} of {turns}"))
    note = f"{SCENARIOS['one-token']}. Median (least-greatest); ratios are taken inside each round."
    return Table("CPU microseconds per request at saturation", rows, note)


def shares(results: Results) -> Table:
    """What limited the load, so that it can be seen that the client did not."""
    head = ("", "p50 ms", "p99 ms", "proxies' core %", "of it others %", "stolen %", "load core %", "of it backend %")
    rows: list[Row] = [(*head, "limited by")]
    for name in _that_have(results, of.cpu_us("one-token")):
        latencies = [show(results.figure(name, of.of_load("one-token", what)), 2) for what in ("p50_ms", "p99_ms")]
        names = ("proxies_core", "others_on_proxies_core", "stolen", "load_core", "backend_share")
        cells = [show(results.figure(name, of.of_load("one-token", share, 100)), 0) for share in names]
        rows.append((name, *latencies, *cells, limited_by(results, name, "one-token")))
    note = (
        "A core is full from 95 %. Where the proxies' core is full, they are the bottleneck, not the client; 'direct'"
        " shows what client and app can do without them. A latency here is that of a closed loop at saturation."
    )
    return Table("Where the time went", rows, note)


def limited_by(results: Results, name: str, scenario: str) -> str:
    """Which core was full: the proxies', or the one of client and app."""
    proxies, load = (results.figure(name, of.of_load(scenario, core)) for core in ("proxies_core", "load_core"))
    if proxies is None or load is None:
        return "-"
    if name != "direct" and proxies.median >= BUSY:
        return "proxies"
    return "client and app" if load.median >= BUSY else "waiting"


def by_scenario(results: Results) -> Table:
    """CPU of both proxies a request, in every load."""
    return _matrix(
        results,
        "CPU microseconds per request, both proxies, by scenario",
        lambda name, scenario: show(results.figure(name, of.cpu_us(scenario))),
        [name for name in results.contenders if name != "direct"],
    )


def against_envoy(results: Results) -> Table:
    """The same as ratios."""
    names = [name for name in results.contenders if name not in {"direct", "envoy"}]
    return _matrix(
        results,
        "CPU per request as a multiple of Envoy's, by scenario",
        lambda name, scenario: show(results.ratio(name, "envoy", of.cpu_us(scenario)), 2),
        names if "envoy" in results.contenders else [],
    )


def throughput(results: Results) -> Table:
    """Requests a second, and where it was the client that was full."""

    def cell(name: str, scenario: str) -> str:
        rate = show(results.figure(name, of.of_load(scenario, "requests_per_s")), 0)
        return f"{rate} *" if limited_by(results, name, scenario) == "client and app" else rate

    note = "* the core of client and app was full: the proxies could do more. CPU per request stays true."
    return _matrix(results, "Requests per second, by scenario", cell, results.contenders, note)


def _matrix(
    results: Results, title: str, cell: Callable[[str, str], str], names: Sequence[str], note: str = ""
) -> Table:
    scenarios = [name for name in SCENARIOS if name in LOADS and name in results.scenarios]
    rows: list[Row] = [("", *names)]
    for scenario in scenarios if names else []:
        cells = [cell(name, scenario) for name in names]
        if set(cells) != {"-"}:
            rows.append((scenario, *cells))
    return Table(title, rows, note)


def at_rate(results: Results, scenario: str) -> Table:
    """Latencies at a fixed rate, and what is added to that of no proxy."""
    rows: list[Row] = [("", *(f"{name} ms" for name in PERCENTILES), "added p90", "added p99", "CPU us", "cores/1000")]
    rates = {turn.rates[scenario].rate for turn in results.turns if scenario in turn.rates}
    for name in _that_have(results, of.at_rate(scenario, "p50")):
        cells = [show_short(results.figure(name, of.at_rate(scenario, each))) for each in PERCENTILES]
        added = [show_short(figure(list(results.added(name, scenario, each).values()))) for each in ("p90", "p99")]
        cpu = results.figure(name, of.rate_cpu_us(scenario))
        cores = "-" if cpu is None else f"{cpu.median * 1e-3:.3f}"
        rows.append((name, *cells, *(added if name != "direct" else ("", "")), show(cpu), cores))
    said = " and ".join(f"{rate:.0f}" for rate in sorted(rates))
    note = (
        "Open loop: latency is counted from when each request was due, so that a proxy that stalls cannot hide it."
        " 'cores/1000': cores that both proxies fill for 1000 requests/s. Medians of the rounds."
    )
    return Table(f"Latency at {said} requests/s ({scenario})", rows, note)


def streams(results: Results) -> Table:
    """CPU a gigabyte."""
    rows: list[Row] = [("", *(f"{kind} {side}" for kind in ("download", "upload") for side in SIDES), "all", "x envoy")]
    for name in _that_have(results, of.stream_cpu):
        measures = [of.of_stream(kind, side, "cpu_s_per_gb") for kind in ("download", "upload") for side in SIDES]
        cells = [show(results.figure(name, measure), 2) for measure in (*measures, of.stream_cpu)]
        rows.append((name, *cells, show(results.ratio(name, "envoy", of.stream_cpu), 2)))
    return Table("10 MB streams: CPU seconds per GB", rows)


def held(results: Results) -> Table:
    """Memory that streams need on their way."""
    kinds = ("download", "upload", "stalled reader", "stalled app")
    rows: list[Row] = [("egress, ingress", *kinds)]
    for name in results.contenders:
        pairs = [[of.of_stream(kind, side, "above_rest_mb") for side in SIDES] for kind in kinds]
        cells = [", ".join(show(results.figure(name, measure)) for measure in pair) for pair in pairs]
        if any(cell != "-, -" for cell in cells):
            rows.append((name, *cells))
    note = "4 streams of 10 MB each way, and 4 of 64 MB whose reader, or app, does not read for 2 s."
    return Table("Streams: peak of memory in no file above rest, MB", rows, note)


def memory(results: Results) -> Table:
    """Of the ingress."""
    rows: list[Row] = [("", "at rest", "after load", "1000 connections", "x envoy", "in no file", "ms CPU a handshake")]
    for name in _that_have(results, of.rest_mb):
        cells = [show(results.figure(name, measure)) for measure in (of.rest_mb, of.loaded_mb, of.idle_mb)]
        against = show(results.ratio(name, "envoy", of.idle_mb), 2)
        anonymous = show(results.figure(name, of.idle_anonymous_mb))
        rows.append((name, *cells, against, anonymous, show(results.figure(name, of.handshake_ms), 2)))
    note = "'In no file': of those with 1000 connections, what is no code or data of a file that others may share."
    return Table("Resident memory of the ingress, MB, and CPU of a new mTLS connection with one request", rows, note)


def phases(results: Results) -> Table:
    """Svidecar's own histograms: its account of its own time."""
    rows: list[Row] = [("", "scenario", "p50", "p90", "p99", "observations")]
    for phase in PHASES:
        for scenario, found in phase_by_scenario(results, phase).items():
            quantiles = [found.quantile(part) for part in (0.5, 0.9, 0.99)]
            cells = ["-" if value is None else f"{value * 1e6:.0f}" for value in quantiles]
            rows.append((phase, scenario, *cells, f"{found.total:.0f}"))
    note = "From its metrics page; quantiles lie between bucket bounds. At saturation they hold the queue as well."
    return Table("svidecar's own histograms, microseconds", rows, note)


def phase_by_scenario(results: Results, phase: str) -> dict[str, Histogram]:
    """All rounds of svidecar together, by scenario, in the order of the scenarios."""
    found: dict[str, Histogram] = {}
    for turn in results.turns:
        for scenario, gained in turn.phases.items() if turn.contender == "svidecar" else ():
            if phase in gained:
                found[scenario] = found[scenario].plus(gained[phase]) if scenario in found else gained[phase]
    return {scenario: found[scenario] for scenario in SCENARIOS if scenario in found}


def absent(results: Results) -> Table:
    """What was wanted and is not there, with the reason."""
    said: dict[tuple[str, str], None] = dict.fromkeys(results.absent.items())
    for turn in results.turns:
        said |= {(f"{turn.contender}, {scenario}", why): None for scenario, why in turn.skipped.items()}
        said |= {(f"{turn.contender}, round {turn.round}", f"does not count: {why}"): None for why in turn.bad}
    return Table("Not measured", [("", "why"), *said])


def _that_have(results: Results, measure: of.Measure) -> Iterator[str]:
    return (name for name in results.contenders if results.by_round(name, measure))


def show(found: Figure | None, digits: int = 1) -> str:
    """``31.2 (30.8-32.0)``; one round has no spread; ``-`` where there is nothing."""
    if found is None:
        return "-"
    median, low, high = (f"{value:.{digits}f}" for value in (found.median, found.low, found.high))
    return median if found.rounds == 1 else f"{median} ({low}-{high})"


def show_short(found: Figure | None) -> str:
    """The median alone, with two digits that mean something."""
    return "-" if found is None else f"{found.median:.2f}"
