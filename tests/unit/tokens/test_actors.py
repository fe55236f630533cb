"""actors.py: who acts for the subject, how deep, and never in a circle."""

from typing import Any

import pytest
from support.tokens import TokenMint

from proxy.errors import TokenActorLoop, TokenActorsTooDeep, TokenClaimsInvalid
from proxy.tokens.actors import MAX_ACTORS, MAX_HOPS, issuers_of_actors, read_actors, read_agentic
from proxy.tokens.claims import read_claims


def chain(*names: str) -> dict[str, Any]:
    """Return claims in which these act, the nearest first."""
    claims: dict[str, Any] = {}
    for name in reversed(names):
        claims = {"act": {"sub": name, **claims}}
    return claims


def test_the_one_who_acts_comes_first() -> None:
    """The outermost act is the present, what is inside it the past (RFC 8693 section 4.1)."""
    assert read_actors({}) == ()
    assert read_actors(chain("agent-2", "agent-1")) == ("agent-2", "agent-1")


def test_the_token_tells_them() -> None:
    """A verified token has both claims, and its sub stays the person."""
    context = {"chain_metadata": {"hop_count": 1, "txn_path": ["agent-1"]}, "unknown": 1}
    token = read_claims(TokenMint().claims(0, agentic_ctx=context, **chain("agent-2", "agent-1")), "digest")
    assert (token.actors, token.agentic, token.sub) == (("agent-2", "agent-1"), context, "d084sdrt234fsaw34tr23t")


def test_a_chain_has_an_end() -> None:
    """As many actors as the limit, and not one more."""
    names = [f"agent-{number}" for number in range(MAX_ACTORS + 1)]
    assert len(read_actors(chain(*names[1:]))) == MAX_ACTORS
    with pytest.raises(TokenActorsTooDeep):
        read_actors(chain(*names))


def test_nobody_acts_twice() -> None:
    """An actor is known by issuer and subject; the same name from another issuer is another."""
    with pytest.raises(TokenActorLoop):
        read_actors(chain("a", "b", "a"))
    other = {"act": {"sub": "a", "iss": "https://one.example", "act": {"sub": "a", "iss": "https://two.example"}}}
    assert read_actors(other) == ("a", "a")
    assert issuers_of_actors(other) == ("https://one.example", "https://two.example")
    assert issuers_of_actors(chain("a", "b")) == (None, None)
    assert issuers_of_actors({}) == ()
    other["act"]["act"]["iss"] = "https://one.example"  # type: ignore[index]
    with pytest.raises(TokenActorLoop):
        read_actors(other)


@pytest.mark.parametrize(
    "act",
    [
        None,
        "agent",
        [],
        {},
        {"sub": ""},
        {"sub": 1},
        {"sub": "a\nb"},
        {"sub": "a", "act": None},
        [{"sub": "a"}],
        {"sub": "a", "iss": 1},
        {"sub": "a", "iss": None},
        {"sub": "a", "iss": ""},
        {"sub": "a", "act": {"sub": "b", "iss": ["https://one.example"]}},
    ],
)
def test_an_actor_that_cannot_be_read(act: object) -> None:
    """It is refused: a token without its actor would be the subject's own."""
    with pytest.raises(TokenClaimsInvalid):
        read_actors({"act": act})


@pytest.mark.parametrize(
    "context",
    [
        None,
        [],
        {"chain_metadata": []},
        {"prov": []},
        {"posture": "x"},
        {"identity": "x"},
        {"identity": {"workload_id": 1}},
        {"chain_metadata": {"hop_count": -1}},
        {"chain_metadata": {"hop_count": True}},
        {"chain_metadata": {"hop_count": 1.0}},
        {"chain_metadata": {"txn_path": "a"}},
        {"chain_metadata": {"txn_path": [1]}},
    ],
)
def test_a_context_that_cannot_be_read(context: object) -> None:
    """What the draft names is held to its type."""
    with pytest.raises(TokenClaimsInvalid):
        read_agentic({"agentic_ctx": context})


def test_an_agent_is_not_in_its_own_path() -> None:
    """Neither does anybody stand there twice."""
    path = {"txn_path": ["a", "b"]}
    assert read_agentic({"agentic_ctx": {"identity": {"workload_id": "c"}, "chain_metadata": path}})
    for context in (
        {"identity": {"workload_id": "a"}, "chain_metadata": path},
        {"chain_metadata": {"txn_path": ["a", "b", "a"]}},
    ):
        with pytest.raises(TokenActorLoop):
            read_agentic({"agentic_ctx": context})


def test_hops_have_an_end() -> None:
    """As many as the limit, and not one more; told or listed."""
    path = [f"agent-{number}" for number in range(MAX_HOPS + 1)]
    assert read_agentic({"agentic_ctx": {"chain_metadata": {"hop_count": MAX_HOPS, "txn_path": path[1:]}}})
    for metadata in ({"hop_count": MAX_HOPS + 1}, {"txn_path": path}):
        with pytest.raises(TokenActorsTooDeep):
            read_agentic({"agentic_ctx": {"chain_metadata": metadata}})
