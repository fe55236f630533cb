"""``svidecar policy diff``: recorded decisions, judged by two policies. It reads files alone and changes nothing.

The lines are taken as they are: whether they are whole is for ``svidecar audit verify``.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from proxy.config.load import load
from proxy.observe.audit.opened import open_log
from proxy.policy.compile import compile_policy
from proxy.policy.replay import NotRecorded, Recorded, Verdict, judge, read_record
from proxy.policy.rules import Policy

SAME, CHANGED = 0, 1
"""Exit codes, beside the one for usage."""

MAX_EXAMPLES: Final = 5
"""Lines of the audit that are named for each kind of change."""

Change = tuple[Verdict, Verdict]


@dataclass(slots=True, kw_only=True)
class Difference:
    """What was found. ``changes``: numbers of lines by the two verdicts; ``told``: why lines were not judged."""

    judged: int = 0
    templated: int = 0
    others: int = 0
    unreadable: int = 0
    changes: dict[Change, list[int]] = field(default_factory=dict)
    by_other_rules: Counter[tuple[str, str]] = field(default_factory=Counter)
    told: Counter[str] = field(default_factory=Counter)

    @property
    def changed(self) -> int:
        """How many would be decided otherwise."""
        return sum(len(lines) for lines in self.changes.values())

    def as_data(self) -> dict[str, Any]:
        """The same for ``--json``."""
        return {
            "judged": self.judged,
            "changed": self.changed,
            "by_template": self.templated,
            "not_of_policy": self.others,
            "unreadable": self.unreadable,
            "not_recorded": dict(self.told),
            "changes": [
                {"count": len(lines), "old": _as_data(old), "new": _as_data(new), "lines": lines[:MAX_EXAMPLES]}
                for (old, new), lines in self._in_order()
            ],
            "other_rules": [
                {"count": count, "old": old, "new": new} for (old, new), count in self.by_other_rules.most_common()
            ],
        }

    def _in_order(self) -> list[tuple[Change, list[int]]]:
        return sorted(self.changes.items(), key=lambda item: -len(item[1]))

    def words(self) -> Iterator[str]:
        """Yield it as lines for a person."""
        yield f"{self.judged} recorded decisions judged again, {self.changed} would change"
        for (old, new), lines in self._in_order():
            examples = ", ".join(map(str, lines[:MAX_EXAMPLES])) + (", ..." if len(lines) > MAX_EXAMPLES else "")
            yield f"  {len(lines):6}  {_told(old)} -> {_told(new)}; lines {examples}"
        for (before, after), count in self.by_other_rules.most_common():
            yield f"  {count:6}  decided alike, by the rule {after!r} instead of {before!r}"
        if self.templated:
            yield f"{self.templated} were judged by the template of their route: a rule for one path of it is not seen"
        for what, count in self.told.most_common():
            yield f"{count} could not be judged, for the audit does not hold {what}"
        if self.unreadable:
            yield f"{self.unreadable} lines are none of an audit: svidecar audit verify says more"


def diff(old: Path, new: Path, logs: Sequence[Path], environ: Mapping[str, str]) -> Difference:
    """Judge what these logs hold by the policies of two YAMLs.

    Raises:
        ConfigInvalid: one of the YAMLs is refused.
        OSError: a log cannot be read.

    """
    before, after = _policy(old, environ), _policy(new, environ)
    found = Difference()
    for path in logs:
        with open_log(path) as file:
            for raw in file:
                _take(found, raw, before, after)
    return found


def _policy(path: Path, environ: Mapping[str, str]) -> Policy:
    settings = load(path, environ)
    return compile_policy(settings.policy, settings.tokens.audience)


def _take(found: Difference, raw: bytes, before: Policy, after: Policy) -> None:
    try:
        line = json.loads(raw)
        record = read_record(line, _time_of(line))
    except NotRecorded as why:
        found.told[str(why)] += 1
        return
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        found.unreadable += 1
        return
    if record is None:
        found.others += 1
        return
    try:
        old, new = judge(before, record), judge(after, record)
    except NotRecorded as why:
        found.told[str(why)] += 1
        return
    _compare(found, record, old, new)


def _compare(found: Difference, record: Recorded, old: Verdict, new: Verdict) -> None:
    found.judged += 1
    found.templated += record.templated
    if (old.decision, old.reason) != (new.decision, new.reason):
        found.changes.setdefault((old, new), []).append(record.n)
    elif old.rule != new.rule:
        found.by_other_rules[old.rule, new.rule] += 1


def _time_of(line: Mapping[str, Any]) -> float:
    """When it was decided: a line is written when its request ends."""
    ended = datetime.fromisoformat(line["time"]).timestamp()
    return ended - float(line.get("duration_us", 0)) / 1e6


def _as_data(verdict: Verdict) -> dict[str, str]:
    return {"decision": verdict.decision, "reason": verdict.reason, "rule": verdict.rule}


def _told(verdict: Verdict) -> str:
    words = {"allow": "allowed", "deny": "refused", "would_refuse": "let pass in audit mode"}[verdict.decision]
    why = f" ({verdict.reason})" if verdict.reason else ""
    return f"{words}{why}" + (f" by {verdict.rule!r}" if verdict.rule else "")
