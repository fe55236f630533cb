"""Bodies that come, and bodies that drip."""

from dataclasses import dataclass

import pytest

from proxy.flow.body_pace import BodyPace
from proxy.flow.settings import ListenerSettings

RATE = 500


@dataclass
class Body:
    """Bytes that have come."""

    request_bytes: int = 0


def lives_s(bytes_a_second: float, rate: int = RATE, until_s: int = 4000) -> int:
    """For how long a caller that sends so many bytes each second holds its place; ``until_s`` where it may go on."""
    body = Body()
    pace = BodyPace(body, 0, 30, rate)
    sent = 0.0
    for now in range(until_s):
        if pace.deadline(max(0, now - 1)) < now:
            return now
        sent += bytes_a_second
        body.request_bytes = int(sent)
    return until_s


def test_rate_n_and_n_minus_1() -> None:
    """At the least rate a body may come for ever; a little below it is cut in the end."""
    assert lives_s(RATE) == 4000
    assert lives_s(RATE - 10) < 4000
    assert lives_s(RATE - 1, until_s=40_000) < 40_000


def test_a_drip() -> None:
    """One byte a second is cut after the first pause that any body may make."""
    assert 30 <= lives_s(1) <= 32


def test_no_least_rate() -> None:
    """0 asks for none: pauses alone are bounded."""
    assert lives_s(1, rate=0) == 4000
    assert BodyPace(Body(), 7, 30, 0).deadline(1000) == 1030


def test_a_fast_beginning_is_credit_and_a_pause_is_bounded_all_the_same() -> None:
    """Who has sent a megabyte at once may still not be silent for longer than a pause."""
    pace = BodyPace(Body(1_000_000), 0, 30, RATE)
    assert pace.deadline(10) == 30, "what came before the measure began is no credit"
    body = Body()
    pace = BodyPace(body, 0, 30, RATE)
    body.request_bytes = 1_000_000
    assert pace.deadline(10) == 40


@pytest.mark.parametrize("field", ["min_body_rate"])
def test_the_default(field: str) -> None:
    """As documented."""
    assert getattr(ListenerSettings(host="127.0.0.1", port=0), field) == 0
