"""How a check is judged."""

from loadtest.checks import DENIED, Verdict, judge
from loadtest.contenders import CONTENDERS
from loadtest.contenders.pair import Duty


def test_a_claimed_duty_that_is_not_done_fails() -> None:
    """Envoy that lets a request without a token pass must not be timed."""
    assert judge(CONTENDERS["envoy"], "no token", Duty.TOKEN, DENIED, "200").verdict is Verdict.FAILED
    assert judge(CONTENDERS["envoy"], "no token", Duty.TOKEN, DENIED, "401").verdict is Verdict.OK


def test_a_duty_that_is_not_claimed_is_reported() -> None:
    """Nginx checks no token, and says so."""
    assert judge(CONTENDERS["nginx"], "no token", Duty.TOKEN, DENIED, "200").verdict is Verdict.NOT_DONE


def test_silence_and_errors_are_no_refusal() -> None:
    """A proxy that is broken refuses nothing."""
    for seen in ("no answer", "500", "502", "404", "closed"):
        assert judge(CONTENDERS["envoy"], "no token", Duty.TOKEN, DENIED, seen).verdict is Verdict.FAILED
