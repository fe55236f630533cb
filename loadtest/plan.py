"""What is to be measured: contenders, scenarios, how often, how long. Pure."""

from dataclasses import dataclass

from loadtest.scenario import ALONE, FULL_TIME, ONCE, RATES, SHORT_S
from loadtest.shape import CONNECTIONS, LOADS

OVERHEAD_S = 0.25  # of a slice: wrk starts and ends, /proc is read
START_S = 2.0  # of a pair in a round
STREAMS_S, STALL_S, HANDSHAKES_S, IDLE_S = 4.0, 6.0, 2.0, 8.0
CHECK_S = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How many rounds, how many slices of a second for the main loads, how long at a fixed rate, and what."""

    rounds: int
    seconds: int
    rate_seconds: int
    scenarios: tuple[str, ...]
    connections: int = CONNECTIONS

    def of_round(self, number: int) -> frozenset[str]:
        """What is measured in round ``number``, from 1."""
        last = number == self.rounds
        return frozenset(self.scenarios) - ALONE.keys() - (frozenset() if last else ONCE)

    def seconds_of(self, scenario: str) -> int:
        """How many slices a load has in a round."""
        return self.seconds if scenario in FULL_TIME else min(self.seconds, SHORT_S)

    def estimate_s(self, contenders: int) -> float:
        """About how long the whole run takes."""
        return contenders * (CHECK_S + sum(self._round_s(number) for number in range(1, self.rounds + 1)))

    def _round_s(self, number: int) -> float:
        cost = {"streams": STREAMS_S, "stall": STALL_S, "handshakes": HANDSHAKES_S, "idle-1000": IDLE_S}
        cost |= {
            name: (self.seconds_of(name) + (shape.connections is not None)) * (1 + OVERHEAD_S)
            for name, shape in LOADS.items()
        }
        cost |= dict.fromkeys(RATES, self.rate_seconds + 2.0)
        return START_S + sum(cost[name] for name in self.of_round(number))
