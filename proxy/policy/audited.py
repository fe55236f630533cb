"""The Permit of a request that would be refused, were its rule enforced: made here alone, and marked for good.

Whoever counts and writes down sees ``audited``: the reason for which it would have been refused.
"""

from proxy.policy.permit import SEAL, Permit


def audited(permit: Permit | None, reason: str) -> Permit:
    """Return the Permit of what is let pass. ``permit``: what its route would have given, None where it has none.

    It uses up nothing: a transaction that a route takes once is still to be used by a request that is allowed.
    """
    if permit is None:
        return Permit(seal=SEAL, rule="", route="", audited=reason)
    return Permit(seal=SEAL, rule=permit.rule, route=permit.route, propagates=permit.propagates, audited=reason)
