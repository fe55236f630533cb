"""``report.html``: one file, no network, no script: plots first, then every table, then how it was done."""

import datetime as dt
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from loadtest import budget, plots, report, tables
from loadtest import results as of
from loadtest.fixed_rate import PERCENTILES
from loadtest.histograms import PHASES
from loadtest.plots import Bar
from loadtest.results import Results
from loadtest.scenario import FULL_TIME, RATES, SCENARIOS
from loadtest.shape import LOADS
from loadtest.tables import Table

STYLE = """
body{font:15px/1.5 system-ui,"Segoe UI","DejaVu Sans",sans-serif;color:#222;background:#fff;
max-width:1080px;margin:2em auto;padding:0 1em}
h1{margin-bottom:.1em}h2{margin:2em 0 .2em;border-bottom:1px solid #ddd;font-size:1.2em}
p{margin:.3em 0 .7em}.note{color:#555}figure{margin:0 0 1.2em}
svg{width:100%;max-width:900px;font:12px system-ui,"DejaVu Sans",sans-serif}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-size:13px;font-variant-numeric:tabular-nums}
td,th{padding:3px 10px 3px 0;text-align:left;border-bottom:1px solid #eee;white-space:nowrap}
th{border-bottom:2px solid #999}
.cards{display:flex;flex-wrap:wrap;gap:10px;margin:1em 0}
.card{border:1px solid #ddd;border-left:5px solid #999;padding:6px 12px;width:228px}
.card b{display:block;font-size:1.5em}.ok{border-left-color:#009e73}.over{border-left-color:#c00}
.card span{color:#555;font-size:12px}
pre{background:#f6f6f6;padding:.8em;overflow-x:auto;font-size:12px}summary{cursor:pointer;margin:.4em 0}
"""


def html(results: Results, about: Mapping[str, Any], now: dt.datetime | None = None) -> str:
    """The whole page."""
    when = (now or dt.datetime.now(dt.UTC)).strftime("%Y-%m-%d %H:%M UTC")
    parts = [
        _title(results, about, when),
        _cards(results),
        *_plots(results),
        *(_table(each) for each in tables.every(results)),
        _table(Table("Before measuring: is the work done?", report.check_rows(results))) if results.checks else "",
        *_alone(results),
        *_how(about),
    ]
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>svidecar load test</title>'
    return (
        f"<!doctype html><html lang=en><head>{head}<style>{STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def _title(results: Results, about: Mapping[str, Any], when: str) -> str:
    machine = about.get("machine", {})
    said = [
        f"{when}. {machine.get('cpu', '')}, {machine.get('cores', '?')} cores, kernel {machine.get('kernel', '?')}."
    ]
    said.append(f"{about.get('pinning', '')}.".capitalize())
    said.append(
        f"svidecar: {about.get('svidecar', '')}. {max((turn.round for turn in results.turns), default=0)} rounds."
    )
    return f"<h1>What a sidecar costs</h1><p class=note>{'<br>'.join(map(escape, said))}</p>"


def _cards(results: Results) -> str:
    """The budget at a glance; only what was measured."""
    found = [each for each in budget.judge(results.summary()) if each.found is not None]
    cards = [
        f'<div class="card {"ok" if each.held else "over"}"><b>{each.found:.2f}</b>'
        f"{each.word}: at most {each.limit.most:g}<br><span>{escape(each.limit.says)}</span></div>"
        for each in found
    ]
    return f"<div class=cards>{''.join(cards)}</div>"


def _plots(results: Results) -> Iterator[str]:
    real = [name for name in results.contenders if name != "direct"]
    for scenario in (each for each in results.scenarios if each in FULL_TIME):
        rows = [bar for name in real if (bar := _cpu_bar(results, name, scenario)) is not None]
        note = (
            f"{SCENARIOS[scenario]}. Full colour: egress; lighter: ingress. The thin line is the spread of the rounds."
        )
        yield _figure(f"CPU per request: {scenario}", note, plots.bars(rows, "microseconds") if rows else "")
    for scenario in (each for each in SCENARIOS if each in RATES and each in results.scenarios):
        curves = _curves(results, {each: of.at_rate(scenario, each) for each in PERCENTILES})
        yield _figure(
            f"Latency at a fixed rate: {scenario}",
            f"{SCENARIOS[scenario]}. Medians of the rounds; 'direct' is the same without a proxy.",
            plots.percentiles(curves) if curves else "",
        )
    if "one-token" in results.scenarios:
        curves = _curves(results, {each: of.load_ms("one-token", each) for each in PERCENTILES})
        note = "A closed loop at full speed: queueing, alike for all. It is not added latency."
        yield _figure("Latency at saturation", note, plots.percentiles(curves) if curves else "")
    yield _figure("CPU per request by connections", "Both proxies, at saturation.", _connections(results, real))
    yield from _memory(results, real)
    yield _figure(
        "svidecar's own account of its time",
        "From its own histograms: p50 (large), p90, p99 (small). Overhead: the whole less the wait for the other side.",
        _phases(results),
    )


def _cpu_bar(results: Results, name: str, scenario: str) -> Bar | None:
    sides = {side: results.figure(name, of.of_load(scenario, f"{side}_us")) for side in tables.SIDES}
    parts = {side: found.median for side, found in sides.items() if found is not None}
    return Bar(name, parts, results.figure(name, of.cpu_us(scenario))) if parts else None


def _curves(results: Results, measures: Mapping[str, of.Measure]) -> dict[str, dict[str, float]]:
    curves = {}
    for name in results.contenders:
        found = {label: results.figure(name, measure) for label, measure in measures.items()}
        points = {label: each.median for label, each in found.items() if each is not None}
        if "p99.99" in points:
            curves[name] = points
    return curves


def _connections(results: Results, names: list[str]) -> str:
    counts = {name: shape.connections for name, shape in LOADS.items() if shape.connections is not None}
    curves: dict[str, dict[float, float]] = {}
    for name in names:
        for scenario, count in counts.items():
            if (found := results.figure(name, of.cpu_us(scenario))) is not None:
                curves.setdefault(name, {})[float(count)] = found.median
    return plots.lines(curves, "connections", "microseconds per request") if curves else ""


def _memory(results: Results, names: list[str]) -> Iterator[str]:
    for title, measure in (("at rest", of.rest_mb), ("with 1000 TLS connections", of.idle_mb)):
        found = {name: results.figure(name, measure) for name in names}
        rows = [Bar(name, {title: each.median}, each) for name, each in found.items() if each is not None]
        yield _figure(
            f"Memory of the ingress {title}", "Resident, all its processes.", plots.bars(rows, "MB") if rows else ""
        )


def _phases(results: Results) -> str:
    """At the slow fixed rate if it was measured, where nothing queues; else at full speed."""
    rows = {}
    for phase in PHASES:
        by_scenario = tables.phase_by_scenario(results, phase)
        for scenario in ("rate-1000", "one-token", "new-token", "handshakes"):
            if scenario in by_scenario:
                quantiles = [by_scenario[scenario].quantile(part) for part in (0.5, 0.9, 0.99)]
                p50, p90, p99 = ((value or 0.0) * 1e6 for value in quantiles)
                rows[f"{phase} ({scenario})"] = (p50, p90, p99)
                break
    return plots.ranges(rows, "microseconds, log scale") if rows else ""


def _figure(title: str, note: str, svg: str) -> str:
    """Nothing where there is nothing to draw."""
    return f"<h2>{escape(title)}</h2><p class=note>{escape(note)}</p><figure>{svg}</figure>" if svg else ""


def _table(table: Table) -> str:
    head, *body = table.rows
    cells = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in body)
    note = f"<p class=note>{escape(table.note)}</p>" if table.note else ""
    return f"<h2>{escape(table.title)}</h2>{note}<div class=scroll><table><tr>{cells}</tr>{rows}</table></div>"


def _alone(results: Results) -> Iterator[str]:
    for name, found in results.alone.items():
        yield f"<h2>{escape(name)}</h2><p class=note>{escape(SCENARIOS[name])}; exit code {found['exit_code']}.</p>"
        yield f"<pre>{escape(found['printed'])}</pre>"


def _how(about: Mapping[str, Any]) -> Iterator[str]:
    yield "<h2>How it was done</h2>"
    yield f"<p><code>{escape(str(about.get('command', '')))}</code></p>"
    lines = [f"{name}: {said}" for name, said in about.get("versions", {}).items()]
    lines += [f"{name}: {call}" for name, call in about.get("load", {}).items()]
    yield f"<details><summary>versions and load commands</summary><pre>{escape(chr(10).join(lines))}</pre></details>"
    for name, contender in about.get("contenders", {}).items():
        for file, text in contender["configs"].items():
            label = f"{escape(name)}: {escape(file)}"
            yield f"<details><summary>{label}</summary><pre>{escape(text)}</pre></details>"
