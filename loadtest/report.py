"""Text for a terminal, JSON for a program."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from loadtest import results as of
from loadtest import tables
from loadtest.checks import Verdict
from loadtest.figures import Figure
from loadtest.fixed_rate import PERCENTILES
from loadtest.results import Results
from loadtest.scenario import RATES
from loadtest.shape import LOADS
from loadtest.tables import Row


def text(results: Results) -> str:
    """Every table that the run has figures for."""
    parts = [f"\n{each.title}\n{table(each.rows)}{_noted(each.note)}" for each in tables.every(results)]
    parts += [f"\n{name} (exit code {found['exit_code']})\n{found['printed']}" for name, found in results.alone.items()]
    return "\n".join(parts)


def _noted(note: str) -> str:
    return f"\n({note})" if note else ""


def table(rows: Sequence[Row]) -> str:
    """Columns as wide as their widest cell; the first row is the head."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def checks(results: Results) -> str:
    """For a terminal."""
    return f"\nBefore measuring: is the work done?\n{table(check_rows(results))}"


def check_rows(results: Results) -> list[Row]:
    """A row a case, a column a contender: what was seen, and how it is judged."""
    names = [name for name in results.contenders if name in results.checks]
    rows: list[Row] = [("case", *names)]
    for cells in zip(*(results.checks[name] for name in names), strict=True):
        seen = [cell.seen if cell.verdict is Verdict.OK else f"{cell.verdict} ({cell.seen})" for cell in cells]
        rows.append((cells[0].case, *seen))
    return rows


def write_json(path: Path, results: Results, about: Mapping[str, Any]) -> None:
    """Everything, raw; ``figures`` are the medians and spreads, ``summary`` those that the budget speaks of."""
    whole = {**about, "summary": results.summary(), "figures": figures(results), **dataclasses.asdict(results)}
    path.write_text(json.dumps(whole, indent=1, default=dataclasses.asdict) + "\n")


def figures(results: Results) -> dict[str, dict[str, Any]]:
    """By contender and measure: the median, the least, the greatest, and of how many rounds."""
    measures: dict[str, of.Measure] = {}
    for scenario in (each for each in results.scenarios if each in LOADS):
        for what in ("egress_us", "ingress_us", "total_us", "requests_per_s", "p50_ms", "p99_ms", "load_core"):
            measures[f"{scenario}.{what}"] = of.of_load(scenario, what)
    for scenario in (each for each in results.scenarios if each in RATES):
        measures[f"{scenario}.cpu_us"] = of.rate_cpu_us(scenario)
        measures |= {f"{scenario}.{each}_ms": of.at_rate(scenario, each) for each in PERCENTILES}
    measures |= {"rest_mb": of.rest_mb, "loaded_mb": of.loaded_mb, "idle_mb": of.idle_mb}
    measures |= {"idle_anonymous_mb": of.idle_anonymous_mb}
    measures |= {"handshake_ms": of.handshake_ms, "stream_cpu_s_per_gb": of.stream_cpu}
    return {name: _figures(results, name, measures) for name in results.contenders}


def _figures(results: Results, name: str, measures: Mapping[str, of.Measure]) -> dict[str, Figure]:
    found = {label: results.figure(name, measure) for label, measure in measures.items()}
    return {label: each for label, each in found.items() if each is not None}
