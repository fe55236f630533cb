"""Tells the audit which rules decide, at the start and whenever others are taken."""

from proxy.flow.inbound import Inbound
from proxy.flow.outbound import Outbound
from proxy.observe.audit.trail import Trail


def announce(audit: Trail | None, inbound: Inbound | None, outbound: Outbound | None) -> None:
    """Write a line for each direction whose rules are others than at the last call."""
    if audit is None:
        return
    if inbound is not None:
        audit.policy_taken("inbound", inbound.policy.version, len(inbound.policy.rules))
    if outbound is not None:
        audit.policy_taken("outbound", outbound.destinations.version, len(outbound.destinations.all))
