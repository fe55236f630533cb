"""A control plane in memory: what ``proxy.tokens.fetch.Fetch`` would bring from the network."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from proxy.identity.spiffe_id import SpiffeId
from proxy.tokens.fetch import Answer


@dataclass(frozen=True, slots=True)
class Sent:
    """One request that was sent."""

    method: str
    url: str
    fields: Mapping[str, str]
    body: bytes
    timeout_s: float
    expect: SpiffeId | None


@dataclass(slots=True)
class Web:
    """Answers every request with ``answer``, or fails with it; while ``gate`` is not set, requests wait there."""

    answer: Answer | Exception
    sent: list[Sent] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    ended: int = 0

    def __post_init__(self) -> None:
        self.gate.set()

    async def __call__(
        self,
        method: str,
        url: str,
        *,
        fields: Mapping[str, str] | None = None,
        body: bytes = b"",
        timeout_s: float,
        expect: SpiffeId | None = None,
    ) -> Answer:
        """Take a request; see ``Fetch``."""
        self.sent.append(Sent(method, url, fields or {}, body, timeout_s, expect))
        await self.gate.wait()
        self.ended += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def json_answer(body: bytes, status: int = 200, content_type: str = "application/json") -> Answer:
    """Make an answer that holds JSON."""
    return Answer(status, {"content-type": content_type}, body)


class Clock:
    """A clock that a test moves; ``sleep`` moves it too and lets others run."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now
        self.slept: list[float] = []

    def __call__(self) -> float:
        """Tell the time."""
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Move on by ``seconds``."""
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)
