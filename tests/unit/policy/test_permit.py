"""Only the policy makes a Permit."""

from dataclasses import FrozenInstanceError, replace

import pytest
from support.policy import NOW, grant, rule, token

from proxy.policy.permit import SEAL, Permit


def test_a_permit_cannot_be_made_without_the_seal() -> None:
    """By no constructor call that a room above could write by accident, nor from another Permit."""
    with pytest.raises(TypeError):
        Permit(rule="r", route="/")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="only proxy/policy"):
        Permit(seal=object(), rule="r", route="/")
    with pytest.raises(TypeError, match="only proxy/policy"):
        Permit(seal=None, rule="r", route="/")
    permit = grant(rule(routes=[("GET /a", ())])).permit(b"GET", b"/a", token(), NOW)
    with pytest.raises((TypeError, ValueError)):
        replace(permit, rule="another")  # type: ignore[call-arg]


def test_a_permit_cannot_be_changed() -> None:
    """It is one object for all requests of a route."""
    permit = Permit(seal=SEAL, rule="r", route="/a")
    with pytest.raises(FrozenInstanceError):
        permit.rule = "another"  # type: ignore[misc]
    assert (permit.rule, permit.route, permit.destination) == ("r", "/a", None)
    assert "object" not in repr(permit)
