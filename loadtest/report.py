"""Tables for a person, JSON for a program."""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from loadtest import results as of
from loadtest.checks import Verdict
from loadtest.contenders import CONTENDERS
from loadtest.contenders.pair import Duty
from loadtest.figures import Figure
from loadtest.results import Results

SIDES = ("egress", "ingress")
Row = Sequence[str]


def text(results: Results) -> str:
    """Every table that the run has figures for."""
    parts = [
        ("What each contender does", _duties(results)),
        ("CPU microseconds per request at saturation: median (least-greatest)", _saturation(results)),
        ("Where the time went (a round with many others on the proxies' core is a noisy one)", _shares(results)),
        ("10 MB streams: CPU seconds per GB", _streams(results)),
        (
            "Streams: peak of resident memory above rest, MB, with 4 streams of 10 MB, and 4 of 64 MB that stall",
            _held(results),
        ),
        ("Resident memory of the ingress, MB, and CPU of a new connection", _memory(results)),
    ]
    return "\n".join(f"\n{title}\n{table(rows)}" for title, rows in parts if len(rows) > 1)


def table(rows: Sequence[Row]) -> str:
    """Columns as wide as their widest cell; the first row is the head."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def _duties(results: Results) -> list[Row]:
    rows: list[Row] = [("", *results.contenders)]
    for duty in Duty:
        cells = [_duty(CONTENDERS[name].duties, CONTENDERS[name].notes, duty) for name in results.contenders]
        rows.append((duty.value, *cells))
    return rows


def _duty(duties: frozenset[Duty], notes: Mapping[Duty, str], duty: Duty) -> str:
    return "yes" if duty in duties else notes.get(duty, "no")


def _saturation(results: Results) -> list[Row]:
    rows: list[Row] = [("", "egress", "ingress", "both", "x envoy", "x nginx", "req/s", "good rounds")]
    for name in _that_have(results, of.cpu_us):
        both = results.figure(name, of.cpu_us)
        cells = [show(results.figure(name, of.of_load(side))) for side in ("egress_us", "ingress_us")]
        ratios = [show(results.ratio(name, other, of.cpu_us), 2) for other in ("envoy", "nginx")]
        turns = sum(turn.contender == name for turn in results.turns)
        rates = show(results.figure(name, of.of_load("requests_per_s")), 0)
        rows.append((name, *cells, show(both), *ratios, rates, f"{both.rounds if both else 0} of {turns}"))
    return rows


def _shares(results: Results) -> list[Row]:
    head = ("", "p50 ms", "p99 ms", "proxies' core %", "of it others %", "stolen %", "load core %", "of it backend %")
    rows: list[Row] = [head]
    for name in _that_have(results, of.cpu_us):
        latencies = [show(results.figure(name, of.of_load(what)), 2) for what in ("p50_ms", "p99_ms")]
        shares = ("proxies_core", "others_on_proxies_core", "stolen", "load_core", "backend_share")
        cells = [show(results.figure(name, of.of_load(share, 100)), 0) for share in shares]
        rows.append((name, *latencies, *cells))
    return rows


def _streams(results: Results) -> list[Row]:
    rows: list[Row] = [("", *(f"{kind} {side}" for kind in ("download", "upload") for side in SIDES), "all", "x envoy")]
    for name in _that_have(results, of.stream_cpu):
        measures = [of.of_stream(kind, side, "cpu_s_per_gb") for kind in ("download", "upload") for side in SIDES]
        cells = [show(results.figure(name, measure), 2) for measure in (*measures, of.stream_cpu)]
        rows.append((name, *cells, show(results.ratio(name, "envoy", of.stream_cpu), 2)))
    return rows


def _held(results: Results) -> list[Row]:
    kinds = ("download", "upload", "stalled reader", "stalled app")
    rows: list[Row] = [("egress, ingress", *kinds)]
    for name in results.contenders:
        pairs = [[of.of_stream(kind, side, "above_rest_mb") for side in SIDES] for kind in kinds]
        cells = [", ".join(show(results.figure(name, measure)) for measure in pair) for pair in pairs]
        if any(cell != "-, -" for cell in cells):
            rows.append((name, *cells))
    return rows


def _memory(results: Results) -> list[Row]:
    rows: list[Row] = [("", "at rest", "after load", "1000 connections", "x envoy", "ms CPU a connection")]
    for name in _that_have(results, of.rest_mb):
        cells = [show(results.figure(name, measure)) for measure in (of.rest_mb, of.loaded_mb, of.idle_mb)]
        against = show(results.ratio(name, "envoy", of.idle_mb), 2)
        rows.append((name, *cells, against, show(results.figure(name, of.handshake_ms), 2)))
    return rows


def _that_have(results: Results, measure: of.Measure) -> Iterator[str]:
    return (name for name in results.contenders if results.by_round(name, measure))


def show(figure: Figure | None, digits: int = 1) -> str:
    """``31.2 (30.8-32.0)``; one round has no spread; ``-`` where there is nothing."""
    if figure is None:
        return "-"
    median, low, high = (f"{value:.{digits}f}" for value in (figure.median, figure.low, figure.high))
    return median if figure.rounds == 1 else f"{median} ({low}-{high})"


def checks(results: Results) -> str:
    """A row a case, a column a contender: what was seen, and how it is judged."""
    columns = [results.checks[name] for name in results.contenders if name in results.checks]
    names = [name for name in results.contenders if name in results.checks]
    rows: list[Row] = [("case", *names)]
    for cells in zip(*columns, strict=True):
        seen = [cell.seen if cell.verdict is Verdict.OK else f"{cell.verdict} ({cell.seen})" for cell in cells]
        rows.append((cells[0].case, *seen))
    return f"\nBefore measuring: is the work done?\n{table(rows)}"


def write_json(path: Path, results: Results, about: Mapping[str, Any]) -> None:
    """Everything, raw; ``summary`` has the medians that the budget speaks of."""
    whole = {**about, "summary": results.summary(), **dataclasses.asdict(results)}
    path.write_text(json.dumps(whole, indent=1, default=dataclasses.asdict) + "\n")
