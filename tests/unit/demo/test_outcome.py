"""A case is judged by what the caller saw and by what every sidecar wrote down; whatever does not fit is told."""

from dataclasses import replace

from proxy.demo.caller import Answer
from proxy.demo.cases import CASES, EDGE, FROM_EDGE, Case, Way
from proxy.demo.outcome import Hop, Record, judge, typical

BY_NAME = {case.name: case for case in CASES}
READ, NO_TOKEN = BY_NAME["edge reads an order, first call"], BY_NAME["no token"]
PLAINTEXT = BY_NAME["plaintext to the mTLS port"]

TOLD = Answer(status=401, body=b"", reason="token_missing")


def record(way: Way, **changes: object) -> Record:
    """A line of an access log."""
    seen = {"sidecar": way.sidecar, "direction": way.direction, "time": "2026-01-01T00:00:00.000Z"}
    who = {"local" if way.direction == "outbound" else "peer": way.peer} if way.peer else {}
    return {**seen, **who, "kind": "request", "decision": "allow", "reason": "", "overhead_s": 0.00005, **changes}


def chain(**changes: object) -> list[Record]:
    """The records of the allowed chain; inbound sidecars know the transaction."""
    return [
        record(way, txn="t1", **changes) if way.direction == "inbound" else record(way, **changes) for way in FROM_EDGE
    ]


def denied(case: Case = NO_TOKEN, **changes: object) -> Record:
    """The record of a refusal as it should be."""
    return record(case.ways[0], **({"decision": "deny", "reason": case.reason} | changes))


def test_the_chain_as_it_should_be() -> None:
    """Hops in the order of the request, whatever the order of the logs; times in microseconds."""
    outcome = judge(READ, Answer(status=200, body=b""), chain()[::-1])
    assert (outcome.verdict, outcome.reason, outcome.status, outcome.txn) == ("allow", None, 200, "t1")
    assert outcome.hops == tuple(Hop(way, 50) for way in FROM_EDGE)
    assert outcome.wrong == ()


def test_a_refusal_as_it_should_be() -> None:
    """No transaction: a token that is not there, or not verified, names none."""
    outcome = judge(NO_TOKEN, TOLD, [denied()])
    assert (outcome.verdict, outcome.reason, outcome.status, outcome.txn) == ("deny", "token_missing", 401, None)
    assert outcome.wrong == ()


def test_a_refused_connection_as_it_should_be() -> None:
    """Nobody is known, nothing was answered, and no time was taken down."""
    seen = denied(PLAINTEXT, kind="connection")
    outcome = judge(PLAINTEXT, None, [{k: v for k, v in seen.items() if k != "overhead_s"}])
    assert outcome.hops == (Hop(Way("orders", "inbound", None), None),)
    assert outcome.wrong == ()


def test_data_has_what_was_promised() -> None:
    """For a program that reads it."""
    assert judge(NO_TOKEN, TOLD, [denied()]).as_data() == {
        "case": "no token",
        "expected": "deny",
        "verdict": "deny",
        "reason": "token_missing",
        "status": 401,
        "txn": None,
        "hops": [{"sidecar": "orders", "direction": "inbound", "peer": EDGE, "overhead_us": 50}],
        "expected_reason": "token_missing",
        "expected_status": 401,
        "ok": True,
        "wrong": [],
    }


def test_what_got_through_is_told() -> None:
    """The worst of all, from each side."""
    wrong = judge(NO_TOKEN, Answer(status=200, body=b""), [denied(decision="allow", reason="")]).wrong
    assert wrong == (
        "expected deny token_missing",
        "expected status 401, not status 200",
        "the caller was told no reason",
    )


def test_another_reason_is_told() -> None:
    """A refusal for the wrong reason proves nothing."""
    told = replace(TOLD, reason="token_expired")
    wrong = judge(NO_TOKEN, told, [denied(reason="token_expired")]).wrong
    assert wrong == ("expected deny token_missing", "the caller was told token_expired")


def test_a_refused_request_that_went_further_is_told() -> None:
    """The caller was refused, and yet another sidecar has seen the request."""
    [wrong] = judge(NO_TOKEN, TOLD, [denied(), record(FROM_EDGE[3])]).wrong
    assert wrong == (
        "expected to pass orders inbound called by spiffe://example.org/edge; it passed orders inbound called by "
        "spiffe://example.org/edge, ledger inbound called by spiffe://example.org/orders"
    )


def test_another_caller_is_told() -> None:
    """Who called is half of what is shown."""
    wrong = judge(NO_TOKEN, TOLD, [denied(peer="spiffe://example.org/intruder")]).wrong
    assert [what.startswith("expected to pass") for what in wrong] == [True]


def test_a_transaction_that_changes_is_told() -> None:
    """One transaction is what the token is for."""
    records = [*chain()[:3], record(FROM_EDGE[3], txn="t2")]
    assert judge(READ, Answer(status=200, body=b""), records).wrong == ("the transaction changed on the way",)


def test_no_record_is_told() -> None:
    """A connection that ends without a word in any log was not refused by us."""
    outcome = judge(PLAINTEXT, None, [])
    assert outcome.verdict == "unknown"
    assert outcome.wrong[0] == "expected deny plaintext"
    assert outcome.wrong[1].endswith("; it passed nothing")


def test_silence_is_told() -> None:
    """Refused in the log, and the caller waits for ever."""
    outcome = judge(PLAINTEXT, None, [denied(PLAINTEXT, kind="connection")], hung=True)
    assert outcome.wrong == ("the caller was left waiting",)


def test_the_typical_one_has_the_median_of_each_hop() -> None:
    """One slow hop of one request is not typical."""
    times = [(10, 90), (20, 20), (90, 10)]
    ways = FROM_EDGE[:2]
    case = replace(READ, ways=ways)
    outcomes = [
        judge(
            case,
            Answer(status=200, body=b""),
            [record(w, overhead_s=us / 1e6) for w, us in zip(ways, each, strict=True)],
        )
        for each in times
    ]
    assert [hop.overhead_us for hop in typical(outcomes).hops] == [20, 20]


def test_the_typical_one_hides_nothing() -> None:
    """One of many that went wrong is the one to show."""
    good = judge(READ, Answer(status=200, body=b""), chain())
    bad = judge(READ, None, chain())
    assert typical([good, bad, good]) is bad
