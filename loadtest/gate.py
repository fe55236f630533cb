"""``python -m loadtest gate``: a short comparison that fails if a figure leaves the budget; for before a release."""

from loadtest import budget, report
from loadtest.plan import Plan
from loadtest.results import Results
from loadtest.scenario import GATED

CONTENDERS = ("svidecar", "envoy", "envoy-uncached", "nginx", "direct")
PLAN = Plan(rounds=3, seconds=2, rate_seconds=5, scenarios=GATED)


def verdict(results: Results) -> tuple[bool, str]:
    """Whether every limit held, and the table that says so. What was not measured has not held."""
    verdicts = budget.judge(results.summary())
    broken = [each for each in verdicts if not each.held]
    lines = [f"\nThe gate\n{report.table(budget.rows(verdicts))}"]
    if over := [each.limit.name for each in broken if each.found is not None]:
        lines.append(f"over the budget: {', '.join(over)}")
    if unknown := [each.limit.name for each in broken if each.found is None]:
        why = ", ".join(dict.fromkeys(results.absent.values())) or "no good round"
        lines.append(f"not measured, so not held: {', '.join(unknown)} ({why})")
    return not broken, "\n".join(lines if broken else [*lines, "every figure is inside the budget"])
