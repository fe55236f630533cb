"""What is counted as whose delay, and when a run is bad."""

from loadtest.openloop.account import CPU_SHARE, LAG_P99_MS, Account
from loadtest.openloop.schedule import SECOND_NS, Schedule

MS = 1_000_000
SCHEDULE = Schedule(rate=100, seconds=1)


def full(*, lag_ns: int = 0, late: int = 0, good: int = 100) -> Account:
    """A hundred requests; ``late`` of them were sent so much too late, though a connection was free."""
    account = Account()
    for number in range(100):
        due = number * 10 * MS
        sent = due + (lag_ns if number < late else 0)
        account.was_sent(due, 0, sent)
        if number < good:
            account.was_answered(due, sent, sent + MS)
    return account


def bad(account: Account, *, cpu_ns: int = 0) -> str:
    """Why the run is bad."""
    return account.report(SCHEDULE, connections=1, elapsed_ns=SECOND_NS, cpu_ns=cpu_ns).bad


def test_our_own_lag_makes_a_run_bad() -> None:
    """From just above the bound, in the 99th percentile."""
    limit = int(LAG_P99_MS * MS)
    assert bad(full(lag_ns=limit - limit // 500, late=2)) == ""
    assert bad(full(lag_ns=limit + limit // 500, late=1)) == ""
    assert "the client was late" in bad(full(lag_ns=limit + limit // 500, late=2))


def test_a_wait_for_the_other_side_is_no_lag_of_ours() -> None:
    """Due at 0, the only connection free at 300 ms: the latency says it, our lag does not."""
    account = Account()
    account.was_sent(0, 300 * MS, 300 * MS)
    account.was_answered(0, 300 * MS, 301 * MS)
    report = account.report(Schedule(rate=1, seconds=1), connections=1, elapsed_ns=SECOND_NS, cpu_ns=0)
    assert report.bad == ""
    assert report.figures["percentiles_ms"]["p50"] == 301
    assert report.figures["service_percentiles_ms"]["p50"] == 1
    assert report.figures["lag_ms"]["max"] == 0
    assert report.figures["waited_for_a_connection"] == 1


def test_answers_that_wait_for_us_make_a_run_bad() -> None:
    """Who reads late is late as well."""
    account = full()
    for _ in range(100):
        account.reading.record(2 * MS)
    assert "the client was late" in bad(account)


def test_a_full_client_makes_a_run_bad() -> None:
    """Even where its lag does not show."""
    assert bad(full(), cpu_ns=int(CPU_SHARE * SECOND_NS)) == ""
    assert "full" in bad(full(), cpu_ns=int(CPU_SHARE * SECOND_NS) + 1)


def test_every_request_that_was_due_is_in_the_sum() -> None:
    """Who was never sent is an error, and a run without the worst is bad."""
    account = full(good=90)
    account.failed("reset", 4)
    account.failed("status 503", 4)
    report = account.report(SCHEDULE, connections=1, elapsed_ns=SECOND_NS, cpu_ns=0)
    assert report.errors == {"reset": 4, "status 503": 4, "unsent": 2}
    assert report.completed + sum(report.errors.values()) == report.figures["requested"] == 100
    assert "leave out the worst" in report.bad


def test_no_good_answer_is_bad() -> None:
    """Percentiles of nothing are none."""
    account = full(good=0)
    account.failed("closed", 100)
    report = account.report(SCHEDULE, connections=1, elapsed_ns=SECOND_NS, cpu_ns=0)
    assert report.bad
    assert report.figures["percentiles_ms"]["p99"] is None
