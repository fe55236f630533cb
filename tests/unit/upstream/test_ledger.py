"""The books of a pool, without sockets."""

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.upstream.ledger import Ledger, Lendable


@dataclass(eq=False)
class Connection(Lendable):
    """What the ledger must know of one."""

    idle_until: float = 100.0
    alive: bool = True
    in_step: bool = True

    def is_open(self) -> bool:
        """Whether it is open."""
        return self.alive

    def is_reusable(self) -> bool:
        """Whether it is open and in step."""
        return self.alive and self.in_step


def _ledger(max_connections: int = 10, max_idle: int = 10) -> Ledger[Connection]:
    return Ledger(max_connections, max_idle)


def _idle(ledger: Ledger[Connection], **facts: object) -> Connection:
    connection = Connection(**facts)  # type: ignore[arg-type]
    ledger.opening()
    assert ledger.take_back(connection)
    return connection


def test_the_last_one_returned_is_the_first_one_lent() -> None:
    """The others may grow old and go."""
    ledger = _ledger()
    first, second = _idle(ledger), _idle(ledger)
    assert [ledger.lend(0.0), ledger.lend(0.0), ledger.lend(0.0)] == [second, first, None]


def test_one_that_is_too_old_or_closed_is_not_lent() -> None:
    """At its end already, not only after it."""
    ledger = _ledger()
    good = _idle(ledger)
    _idle(ledger, idle_until=50.0)
    closed = _idle(ledger)
    closed.alive = False
    assert ledger.lend(50.0) is good


def test_one_that_is_out_of_step_is_not_taken_back() -> None:
    """An answer is pending, or bytes came that nobody asked for."""
    ledger = _ledger()
    ledger.opening()
    assert not ledger.take_back(Connection(in_step=False))
    assert not ledger.take_back(Connection(alive=False))
    assert ledger.idle == 0


def test_as_many_idle_as_may_be_and_one_more() -> None:
    """The one more is closed instead."""
    ledger = _ledger(max_idle=2)
    _idle(ledger), _idle(ledger)
    assert not ledger.take_back(Connection())
    assert ledger.idle == 2
    assert not _ledger(max_idle=0).take_back(Connection())


def test_as_many_open_as_may_be_and_one_more() -> None:
    """Those that are being opened count; one that ends makes room."""
    ledger = _ledger(max_connections=2)
    assert ledger.may_open()
    ledger.opening()
    ledger.opening()
    assert not ledger.may_open()
    ledger.closed(None)
    assert ledger.may_open()


def test_one_that_ends_while_idle_is_off_the_books() -> None:
    """It is not lent, and not counted."""
    ledger = _ledger()
    gone = _idle(ledger)
    ledger.closed(gone)
    assert (ledger.open, ledger.idle, ledger.lend(0.0)) == (0, 0, None)


def test_idle_ones_are_given_up_together() -> None:
    """They stay counted until they are closed."""
    ledger = _ledger()
    both = [_idle(ledger), _idle(ledger)]
    assert ledger.drop_idle() == both
    assert (ledger.open, ledger.idle) == (2, 0)


@settings(deadline=None)
@given(st.lists(st.sampled_from(["open", "lend", "return", "close idle", "close lent", "kill"]), max_size=60))
def test_the_books_are_right_whatever_happens(events: list[str]) -> None:
    """Open is idle plus lent; nothing is lent twice."""
    ledger = _ledger(5, 3)
    lent: list[Connection] = []
    idle: list[Connection] = []
    for event in events:
        if event == "open" and ledger.may_open():
            ledger.opening()
            lent.append(Connection())
        elif event == "lend" and (connection := ledger.lend(0.0)) is not None:
            assert connection in idle
            idle.remove(connection)
            lent.append(connection)
        elif event == "return" and lent:
            connection = lent.pop()
            if ledger.take_back(connection):
                idle.append(connection)
            else:
                ledger.closed(connection)
        elif event == "close idle" and idle:
            connection = idle.pop()
            connection.alive = False
            ledger.closed(connection)
        elif event == "close lent" and lent:
            ledger.closed(lent.pop())
        assert ledger.open == len(lent) + len(idle) <= 5
        assert ledger.idle == len(idle) <= 3
