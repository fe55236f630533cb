"""All sources of one process."""

from proxy.net.deadlines import PERIOD_S
from proxy.net.lifetimes import TURN_S
from proxy.revocation.revocations import LOOK_S
from proxy.revocation.settings import RevocationSettings
from proxy.tls.proofs import GRACE_S


def test_all_of_it_ends_within_a_second() -> None:
    """As told: the parts of that second, without what a busy machine adds (``tests/e2e`` has it with a machine)."""
    assert LOOK_S + max(GRACE_S, RevocationSettings().grace_s) + PERIOD_S + TURN_S < 1
