"""What came of a case: the answer that the caller saw, and what each sidecar wrote down of it. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from proxy.demo.caller import Answer
from proxy.demo.cases import Case, Way

Record = Mapping[str, Any]
"""A line of an access log, with ``sidecar`` put in: whose log it is."""


@dataclass(frozen=True, slots=True)
class Hop:
    """A sidecar that the request came through, or was refused at, and the time that it took itself."""

    way: Way
    overhead_us: int | None

    def as_data(self) -> dict[str, object]:
        """Give it for JSON."""
        way = self.way
        return {
            "sidecar": way.sidecar,
            "direction": way.direction,
            "peer": way.peer,
            "overhead_us": self.overhead_us,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A case as it ended. ``wrong`` says what is not as it should be, and is empty where all is well."""

    case: Case
    verdict: str
    reason: str | None
    status: int | None
    txn: str | None
    hops: tuple[Hop, ...]
    wrong: tuple[str, ...]

    def as_data(self) -> dict[str, object]:
        """Give it for JSON."""
        return {
            "case": self.case.name,
            "expected": self.case.verdict,
            "verdict": self.verdict,
            "reason": self.reason,
            "status": self.status,
            "txn": self.txn,
            "hops": [hop.as_data() for hop in self.hops],
            "expected_reason": self.case.reason,
            "expected_status": self.case.status,
            "ok": not self.wrong,
            "wrong": list(self.wrong),
        }


def judge(case: Case, answer: Answer | None, records: Sequence[Record], *, hung: bool = False) -> Outcome:
    """Put a case together out of its answer and the records of it, in any order.

    ``hung``: neither an answer nor the end of the connection came.
    """
    flow = sorted(records, key=lambda record: _place(case, record))
    denied = [record for record in flow if record["decision"] != "allow"]
    verdict = "deny" if denied else "allow" if flow else "unknown"
    reason = denied[-1]["reason"] if denied else None
    status = answer.status if answer is not None else None
    txns = sorted({record["txn"] for record in flow if "txn" in record})
    hops = tuple(_hop(record) for record in flow)
    return Outcome(
        case=case,
        verdict=verdict,
        reason=reason,
        status=status,
        txn=txns[0] if txns else None,
        hops=hops,
        wrong=(("the caller was left waiting",) if hung else ())
        + tuple(_wrong(case, verdict, reason, answer, txns, hops)),
    )


def typical(outcomes: Sequence[Outcome]) -> Outcome:
    """Give one outcome for several of the same case: one that is wrong, else the last with the median times."""
    wrong = [outcome for outcome in outcomes if outcome.wrong]
    if wrong:
        return wrong[0]
    times = zip(*(outcome.hops for outcome in outcomes), strict=True)
    return replace(outcomes[-1], hops=tuple(_median(hops) for hops in times))


def _median(hops: Sequence[Hop]) -> Hop:
    took = [hop.overhead_us for hop in hops if hop.overhead_us is not None]
    return Hop(hops[0].way, round(median(took)) if took else None)


def _hop(record: Record) -> Hop:
    overhead_s = record.get("overhead_s")
    return Hop(_way(record), None if overhead_s is None else round(overhead_s * 1e6))


def _way(record: Record) -> Way:
    outbound = record["direction"] == "outbound"
    # Who calls an outbound port is the app beside it: it goes out under the identity of its own sidecar.
    return Way(record["sidecar"], record["direction"], record.get("local" if outbound else "peer"))


def _place(case: Case, record: Record) -> tuple[int, str]:
    way = _way(record)
    return (case.ways.index(way) if way in case.ways else len(case.ways)), str(record["time"])


def _wrong(
    case: Case, verdict: str, reason: str | None, answer: Answer | None, txns: Sequence[str], hops: Sequence[Hop]
) -> list[str]:
    status = answer.status if answer is not None else None
    wrong = []
    if (verdict, reason) != (case.verdict, case.reason):
        wrong.append(f"expected {case.verdict} {case.reason or ''}".rstrip())
    if status != case.status:
        wrong.append(f"expected {_status(case.status)}, not {_status(status)}")
    if answer is not None and answer.reason != case.reason:
        wrong.append(f"the caller was told {answer.reason or 'no reason'}")
    if tuple(hop.way for hop in hops) != case.ways:
        wrong.append(f"expected to pass {_told(case.ways)}; it passed {_told([hop.way for hop in hops])}")
    if len(txns) > 1:
        wrong.append("the transaction changed on the way")
    return wrong


def _status(status: int | None) -> str:
    return "no answer" if status is None else f"status {status}"


def _told(ways: Sequence[Way]) -> str:
    return (
        ", ".join(f"{way.sidecar} {way.direction} called by {way.peer or 'nobody known'}" for way in ways) or "nothing"
    )
