"""Tells which rules decide, at the start and whenever others are taken: the audit; and loudly what is not enforced."""

import logging

from proxy.flow.inbound import Inbound
from proxy.flow.outbound import Outbound
from proxy.observe.audit.trail import Trail
from proxy.observe.catalog import Metrics
from proxy.policy.rules import Policy
from proxy.policy.settings import Mode

_log = logging.getLogger("svidecar")


def announce(audit: Trail | None, metrics: Metrics, inbound: Inbound | None, outbound: Outbound | None) -> None:
    """Write a line for each direction whose rules are others than at the last call, and warn of audit mode."""
    if inbound is not None:
        _warn(inbound.policy, metrics)
    if audit is None:
        return
    if inbound is not None:
        policy = inbound.policy
        audit.policy_taken("inbound", policy.version, len(policy.rules), policy.mode.value)
    if outbound is not None:
        audit.policy_taken("outbound", outbound.destinations.version, len(outbound.destinations.all))


def _warn(policy: Policy, metrics: Metrics) -> None:
    whole = policy.mode is Mode.AUDIT
    watched = [rule.name for rule in policy.rules if whole or rule.mode is Mode.AUDIT]
    metrics.policy_rules("audit").set(len(watched))
    metrics.policy_rules("enforce").set(len(policy.rules) - len(watched))
    if whole:
        _log.warning("policy: the inbound listener is in audit mode: nothing that the policy refuses is kept out")
    elif watched:
        names = ", ".join(map(repr, watched))
        _log.warning("policy: in audit mode, and what they refuse is not kept out: %s", names)
