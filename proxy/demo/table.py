"""The outcomes as a table for people: at most 120 columns, plain ASCII, colours only if asked for. Pure."""

from collections.abc import Iterable, Sequence
from itertools import groupby

from proxy.demo.configuration import SIDECARS, TRUST_DOMAIN
from proxy.demo.outcome import Outcome

EXPLANATION = (
    "edge -> orders -> ledger: three apps speak plain HTTP to their sidecars; between sidecars mTLS and a transaction",
    f"token (txn). Callers are proved SPIFFE IDs: /edge is spiffe://{TRUST_DOMAIN}/edge. us: a sidecar's own time.",
)

_COLUMNS = (  # heading, width, alignment
    ("what was tried", 34, "<"),
    ("verdict", 9, "<"),
    ("reason", 20, "<"),
    ("txn", 8, "<"),
    ("us", 6, ">"),
    ("caller", 9, "<"),
    ("us", 6, ">"),
    ("caller", 7, "<"),
    ("us", 5, ">"),
)
_FIRST_OF_SIDECAR = {4: "edge", 5: "orders", 7: "ledger"}
_BOLD, _GREEN, _YELLOW, _RED, _END = "\x1b[1m", "\x1b[32m", "\x1b[33m", "\x1b[1;31m", "\x1b[0m"
_TXN_DIGITS = 8


def table(outcomes: Sequence[Outcome], *, colours: bool) -> str:
    """Write the whole table, with its explanation and the sum."""
    lines = [*EXPLANATION, "", *_headings(colours=colours)]
    for group, members in groupby(outcomes, key=lambda outcome: outcome.case.group):
        lines.append(_in(_BOLD, group, colours=colours))
        for outcome in members:
            lines += _row(outcome, colours=colours)
    return "\n".join([*lines, "", _sum(outcomes, colours=colours)]) + "\n"


def _headings(*, colours: bool) -> Iterable[str]:
    cells = [""] * len(_COLUMNS)
    sidecars = _line([_FIRST_OF_SIDECAR.get(at, "") for at in range(len(cells))])
    names = _line([heading for heading, _, _ in _COLUMNS])
    return [_in(_BOLD, line, colours=colours) for line in (sidecars, names)] + [
        "  ".join("-" * width for _, width, _ in _COLUMNS)
    ]


def _line(cells: Sequence[str]) -> str:
    shown = (f"{cell:{align}{width}}" for cell, (_, width, align) in zip(cells, _COLUMNS, strict=True))
    return "  ".join(shown).rstrip()


def _row(outcome: Outcome, *, colours: bool) -> Iterable[str]:
    status = "-" if outcome.status is None else str(outcome.status)
    cells = [
        "  " + outcome.case.name,
        f"{outcome.verdict:5} {status}",
        outcome.reason or "-",
        (outcome.txn or "-")[:_TXN_DIGITS],
        *_of_sidecars(outcome),
    ]
    line = _line(cells)
    colour = _RED if outcome.wrong else _GREEN if outcome.verdict == "allow" else _YELLOW
    verdict = cells[1]
    yield line.replace(verdict, _in(colour, verdict, colours=colours), 1)
    for what in outcome.wrong:
        yield _in(_RED, f"  !! NOT AS IT SHOULD BE: {what}", colours=colours)


def _of_sidecars(outcome: Outcome) -> list[str]:
    """Give who called and what it took, at each sidecar; of edge only what it took, for nobody calls it."""
    cells = []
    for name in SIDECARS:
        hops = [hop for hop in outcome.hops if hop.way.sidecar == name]
        callers = [hop.way.peer or "-" for hop in hops if hop.way.direction == "inbound"]
        took = [hop.overhead_us for hop in hops if hop.overhead_us is not None]
        caller = callers[0].removeprefix(f"spiffe://{TRUST_DOMAIN}") if callers else "-"
        cells += [caller, str(sum(took)) if took else "-"]
    return cells[1:]


def _sum(outcomes: Sequence[Outcome], *, colours: bool) -> str:
    wrong = sum(bool(outcome.wrong) for outcome in outcomes)
    if wrong:
        return _in(_RED, f"{wrong} of {len(outcomes)} cases are NOT as they should be.", colours=colours)
    return f"All {len(outcomes)} cases ended as they should."


def _in(colour: str, text: str, *, colours: bool) -> str:
    return f"{colour}{text}{_END}" if colours else text
