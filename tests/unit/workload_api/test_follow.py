"""When a stream is opened again."""

import pytest

from proxy.workload_api import follow as module
from proxy.workload_api.failure import CallFailed, Failure
from proxy.workload_api.follow import BACKOFF_MAX_S, Follower, OnMessage, pause_s


def test_the_pause_grows_and_has_jitter() -> None:
    """None after a stream that worked; then 1 s, 2 s, up to the most, each less up to half of it."""
    assert pause_s(0, 0.5) == 0
    assert [pause_s(n, 0) for n in (1, 2, 3, 9, 10, 11, 1000)] == [1, 2, 3, 9, 10, BACKOFF_MAX_S, BACKOFF_MAX_S]
    assert pause_s(4, 1) == 2


class GivenUp(BaseException):
    """Nobody else is there to ask."""


class Stream:
    """Fails as it is told to, after so many messages; keeps what the follower said."""

    def __init__(self, *plan: tuple[int, Failure]) -> None:
        self.plan = list(plan)
        self.said: list[object] = []

    async def call(self, take: OnMessage[int]) -> None:
        """One opening of the stream."""
        count, kind = self.plan.pop(0)
        for number in range(count):
            assert take(number) is None
        raise CallFailed(kind, "why")

    async def follow(self) -> None:
        """Until a final failure that ends the plan; after others of them there is another agent."""

        async def another() -> None:
            self.said.append("another")
            if not self.plan:
                raise GivenUp

        follower = Follower(
            state=self.said.append,
            failed=lambda failure: self.said.append(failure.kind),
            jitter=lambda: 0,
            another=another,
        )
        with pytest.raises(GivenUp):
            await follower.keep(self.call, self.said.append)


async def test_it_goes_on_until_a_failure_is_final(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a stream is open is told with its first message and at its end, each time anew."""
    monkeypatch.setattr(module, "BACKOFF_STEP_S", 0.001)
    stream = Stream(
        (0, Failure.UNREACHABLE), (2, Failure.UNAVAILABLE), (1, Failure.PERMISSION_DENIED), (0, Failure.UNIMPLEMENTED)
    )
    await stream.follow()
    assert stream.said == [
        *(False, Failure.UNREACHABLE),
        *(True, 0, 1, False, Failure.UNAVAILABLE),
        *(True, 0, False, Failure.PERMISSION_DENIED),
        *(False, Failure.UNIMPLEMENTED, "another"),
    ]


async def test_after_a_final_failure_another_agent_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """And with a pause: one that is there anew, and refuses each time, is not asked in a tight loop."""
    pauses = []

    def no_pause(failures: int, _jitter: float) -> float:
        pauses.append(failures)
        return 0

    monkeypatch.setattr(module, "pause_s", no_pause)
    stream = Stream((0, Failure.UNIMPLEMENTED), (0, Failure.INVALID_ARGUMENT), (1, Failure.UNIMPLEMENTED))
    await stream.follow()
    assert stream.said == [
        *(False, Failure.UNIMPLEMENTED, "another"),
        *(False, Failure.INVALID_ARGUMENT, "another"),
        *(True, 0, False, Failure.UNIMPLEMENTED, "another"),
    ]
    assert pauses == [1, 2]


async def test_only_a_steady_stream_is_reopened_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that gives one message and closes, again and again, is not asked in a tight loop."""
    pauses = []

    def no_pause(failures: int, _jitter: float) -> float:
        pauses.append(failures)
        return 0

    monkeypatch.setattr(module, "pause_s", no_pause)
    flighty = [(1, Failure.UNAVAILABLE)] * 3
    await Stream(*flighty, (0, Failure.UNIMPLEMENTED)).follow()
    assert pauses == [1, 2, 3]
    pauses.clear()
    monkeypatch.setattr(module, "STEADY_S", 0)
    await Stream(*flighty, (0, Failure.UNREACHABLE), (0, Failure.UNIMPLEMENTED)).follow()
    assert pauses == [0, 0, 0, 1]
