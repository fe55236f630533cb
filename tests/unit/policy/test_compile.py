"""What is refused before it can decide anything: every error at once, each with its place and the way out."""

from typing import Any

import pytest
from support.policy import AUDIENCE, EDGE, rule

from proxy.identity.spiffe_id import SpiffeId
from proxy.policy.compile import MAX_NAME, PolicyErrors, compile_destinations, compile_policy
from proxy.policy.permit import Destination
from proxy.policy.settings import (
    DestinationSettings,
    PolicySettings,
    Propagation,
    Protection,
    RouteSettings,
    RuleSettings,
)
from proxy.tokens.settings import AskSettings

LEDGER = "spiffe://example.org/ledger"


def errors_of(*rules: RuleSettings) -> list[tuple[str, str]]:
    """Return what is wrong with these rules."""
    try:
        compile_policy(PolicySettings(rules=rules), AUDIENCE)
    except PolicyErrors as caught:
        return caught.errors
    return []


def errors_of_destinations(*destinations: DestinationSettings) -> list[tuple[str, str]]:
    """Return what is wrong with these destinations."""
    try:
        compile_destinations(destinations, "example.org")
    except PolicyErrors as caught:
        return caught.errors
    return []


RULES = [
    (rule(peers=[]), "policy[0].peers", "at least one"),
    (rule(peers=[EDGE, "spiffe://td/a*"]), "policy[0].peers[1]", "spiffe://td/path/*"),
    (rule(peers=[EDGE, "spiffe://td"]), "policy[0].peers[1]", "not a workload"),
    (rule(peers=[EDGE, EDGE]), "policy[0].peers[1]", "the same as policy[0].peers[0]"),
    (rule(""), "policy[0].name", "1 to 64"),
    (rule(" a"), "policy[0].name", "blank"),
    (rule("a\nb"), "policy[0].name", "printable"),
    (rule("a\x00"), "policy[0].name", "printable"),
    (rule("a\u2028b"), "policy[0].name", "printable"),
    (rule(scopes=["a b"]), "policy[0].scopes[0]", "RFC 6749"),
    (rule(scopes=["a", ""]), "policy[0].scopes[1]", "RFC 6749"),
    (rule(scopes=['a"']), "policy[0].scopes[0]", "RFC 6749"),
    (rule(scopes=["a\\"]), "policy[0].scopes[0]", "RFC 6749"),
    (rule(scopes=["é"]), "policy[0].scopes[0]", "RFC 6749"),
    (rule(scopes=["a\n"]), "policy[0].scopes[0]", "RFC 6749"),
    (rule(audiences=[""]), "policy[0].audiences[0]", "trust domain"),
    (rule(audiences=["a", "b c"]), "policy[0].audiences[1]", "trust domain"),
    (rule(routes=[("GET /a", []), ("GET a", [])]), "policy[0].routes[1].match", "begins with /"),
    (rule(routes=[("GET /a", ["x y"])]), "policy[0].routes[0].scopes[0]", "RFC 6749"),
    (rule(routes=[("GET /a", ["b"])], scopes=["a"]), "policy[0].routes[0].scopes", "'b' is not in the scopes"),
    (rule(routes=[("GET /a", []), ("GET /a", [])]), "policy[0].routes[1].match", "policy[0].routes[0]"),
    (rule(routes=[("GET /{a}", ["s"]), ("GET /{b}", ["s"])]), "policy[0].routes[1].match", "keep one"),
    (rule(routes=[("GET /a", ["s"]), ("GET /a", ["s", "t"])]), "policy[0].routes[1].match", "keep one"),
    (rule(routes=[("GET /a", ["s", "t"]), ("GET /a", ["s"])]), "policy[0].routes[1].match", "keep one"),
    (rule(routes=[("OPTIONS *", []), ("OPTIONS *", [])]), "policy[0].routes[1].match", "keep one"),
    (rule(routes=[("GET /%c3%a9", []), ("GET /%C3%A9", [])]), "policy[0].routes[1].match", "keep one"),
]


@pytest.mark.parametrize(("settings", "path", "message"), RULES)
def test_a_rule_that_cannot_be_meant_is_refused(settings: RuleSettings, path: str, message: str) -> None:
    """With its place in the YAML, and what would be right."""
    found = dict(errors_of(settings))
    assert path in found
    assert message in found[path]


def test_all_errors_are_told_at_once() -> None:
    """A person mends a file once, not once for each error; the text has one line for each."""
    bad = RuleSettings(
        name="", peers=(), scopes=("a b",), routes=(RouteSettings(match="x"), RouteSettings(match="GET"))
    )
    found = errors_of(bad, rule("ok"), bad)
    assert [path for path, _ in found] == [
        "policy[0].name",
        "policy[2].name",
        "policy[2].name",
        *[
            f"policy[{n}].{place}"
            for n in (0, 2)
            for place in ("peers", "scopes[0]", "routes[0].match", "routes[1].match")
        ],
    ]
    with pytest.raises(PolicyErrors) as caught:
        compile_policy(PolicySettings(rules=(bad,)), AUDIENCE)
    assert str(caught.value).splitlines()[0].startswith("policy[0].name: write 1 to 64")


def test_two_rules_may_not_have_one_name() -> None:
    """Both are named."""
    ((path, message),) = errors_of(rule("a"), rule("b"), rule("a"))
    assert path == "policy[2].name"
    assert "policy[0]" in message


def test_the_longest_name() -> None:
    """MAX_NAME characters, one more is refused."""
    assert errors_of(rule("n" * MAX_NAME)) == []
    assert [path for path, _ in errors_of(rule("n" * (MAX_NAME + 1)))] == ["policy[0].name"]


def test_alternatives_within_a_rule_are_allowed() -> None:
    """The same template twice, where neither scope list holds the other: either scope will do."""
    assert errors_of(rule(routes=[("GET /a", ["s"]), ("GET /a", ["t"])])) == []
    assert errors_of(rule(routes=[("GET /a", ["s"]), ("* /a", ["s"])])) == []


def test_an_empty_policy_allows_nothing_and_is_no_error() -> None:
    """Default deny is a policy."""
    assert errors_of() == []
    assert errors_of(rule("a rule for scopes alone", scopes=["s"])) == []


def mtls(host: str = "ledger", **changes: object) -> DestinationSettings:
    """Return a destination in the mesh, changed."""
    values: dict[str, object] = {"host": host, "address": "ledger.svc:15006", "spiffe_id": LEDGER} | changes
    return DestinationSettings(**values)  # type: ignore[arg-type]


def test_a_destination_of_our_trust_domain() -> None:
    """All that the flow needs, worked out once."""
    (known,) = compile_destinations([mtls("Ledger:80", token=AskSettings(scope=("ledger.write",)))], "example.org").all
    assert known == Destination(
        name="ledger:80",
        host="ledger",
        port=80,
        address_host="ledger.svc",
        address_port=15006,
        protection=Protection.MTLS,
        spiffe_id=SpiffeId.parse(LEDGER),
        in_domain=True,
        ask=known.ask,
    )
    assert known.ask is not None
    assert (known.ask.scopes, known.ask.is_plain) == (("ledger.write",), True)


@pytest.mark.parametrize(
    ("settings", "in_domain"),
    [
        (mtls(), True),
        (mtls(spiffe_id="spiffe://other.org/ledger"), False),
        (mtls(spiffe_id="spiffe://example.org.evil.example/ledger"), False),
        (mtls(spiffe_id="spiffe://sub.example.org/ledger"), False),
        (mtls(spiffe_id=None, protection=Protection.WEB), False),
        (mtls(spiffe_id=None, protection=Protection.PLAIN), False),
    ],
)
def test_the_token_may_only_go_to_a_workload_of_ours(settings: DestinationSettings, *, in_domain: bool) -> None:
    """Exactly our trust domain, and only over mTLS: no likeness of names will do."""
    (known,) = compile_destinations([settings], "example.org").all
    assert known.in_domain is in_domain
    assert known.ask is None


DESTINATIONS = [
    (mtls("ledger."), "host", "no dot at its end"),
    (mtls("user@ledger"), "host", "no user"),
    (mtls("*.svc"), "host", "host:port"),
    (mtls("café"), "host", "ASCII"),
    (mtls(""), "host", "host:port"),
    (mtls(address="ledger.svc"), "address", "write the port too"),
    (mtls(address="ledger.svc:0"), "address", "host:port"),
    (mtls(address="http://ledger.svc:80"), "address", "host:port"),
    (mtls(address=""), "address", "host:port"),
    (mtls(spiffe_id=None), "spiffe_id", "name the workload"),
    (mtls(spiffe_id="ledger"), "spiffe_id", "spiffe://"),
    (mtls(spiffe_id="spiffe://example.org"), "spiffe_id", "one workload"),
    (mtls(spiffe_id="spiffe://example.org/*"), "spiffe_id", "one workload"),
    (mtls(protection=Protection.WEB), "spiffe_id", "leave it out"),
    (mtls(protection=Protection.PLAIN), "spiffe_id", "leave it out"),
    (mtls(spiffe_id=None, protection=Protection.WEB, token=AskSettings(scope=("a",))), "token.scope", "never leaves"),
    (mtls(spiffe_id=None, protection=Protection.PLAIN, token=AskSettings(scope=("a",))), "token.scope", "never leaves"),
    (mtls(spiffe_id="spiffe://other.org/x", token=AskSettings(scope=("a",))), "token.scope", "never leaves"),
    (mtls(token=AskSettings(scope=())), "token.scope", "at least one"),
    (mtls(token=AskSettings(scope=("a b",))), "token.scope[0]", "RFC 6749"),
]


@pytest.mark.parametrize(("settings", "place", "message"), DESTINATIONS)
def test_a_destination_that_cannot_be_meant_is_refused(
    settings: DestinationSettings,
    place: str,
    message: str,
) -> None:
    """With its place in the YAML, and what would be right."""
    found = dict(errors_of_destinations(mtls("good"), settings))
    assert list(found) == [f"outbound.destinations[1].{place}"]
    assert message in found[f"outbound.destinations[1].{place}"]


@pytest.mark.parametrize(
    ("first", "second"),
    [("ledger", "ledger"), ("ledger", "LEDGER"), ("ledger:80", "Ledger:80"), ("[::1]", "[0:0::1]")],
)
def test_two_destinations_may_not_have_one_host(first: str, second: str) -> None:
    """However it is spelled; both are named."""
    ((path, message),) = errors_of_destinations(mtls(first), mtls("other"), mtls(second))
    assert path == "outbound.destinations[2].host"
    assert "outbound.destinations[0]" in message


def test_a_host_with_and_without_a_port_are_two_destinations() -> None:
    """The one with the port stands before the other."""
    assert errors_of_destinations(mtls("ledger"), mtls("ledger:80"), mtls("ledger:8080")) == []


def test_all_errors_of_destinations_are_told_at_once() -> None:
    """One line for each."""
    bad = mtls("bad.", address="nowhere", spiffe_id=None, token=AskSettings(scope=()))
    assert [path.rpartition("].")[2] for path, _ in errors_of_destinations(bad)] == [
        "host",
        "address",
        "spiffe_id",
        "token.scope",
        "token.scope",
    ]


@pytest.mark.parametrize(
    ("changes", "path", "message"),
    [
        ({"spiffe_id": "spiffe://other.org/x", "propagate": Propagation.TRACEPARENT}, "propagate", "never leaves"),
        ({"spiffe_id": "spiffe://other.org/x", "narrow": ("a",)}, "narrow", "never leaves"),
        ({"protection": Protection.PLAIN, "spiffe_id": None, "narrow": ("a",)}, "narrow", "never leaves"),
        ({"narrow": ("a b",)}, "narrow[0]", "RFC 6749"),
        ({"narrow": ("a",), "token": AskSettings(scope=("a", "b"))}, "narrow", "token.scope asks for b"),
    ],
)
def test_what_of_a_transaction_may_go_there(changes: dict[str, Any], path: str, message: str) -> None:
    """Only to workloads of ours; and what is asked for has to fit through."""
    given = {"host": "x", "address": "x:1", "spiffe_id": "spiffe://example.org/x"} | changes
    with pytest.raises(PolicyErrors) as refused:
        compile_destinations([DestinationSettings(**given)], "example.org")
    assert any(f"[0].{path}" in where and message in what for where, what in refused.value.errors)


def test_facts_of_a_route_that_cannot_be_meant() -> None:
    """Told with their place, beside every other mistake."""
    route = RouteSettings(match="GET /x/{id}", facts={"a": "path:other", "b": "nonsense"})
    with pytest.raises(PolicyErrors) as refused:
        compile_policy(PolicySettings(rules=(RuleSettings(name="r", peers=("spiffe://td/x",), routes=(route,)),)), "td")
    assert {where for where, _ in refused.value.errors} == {
        "policy[0].routes[0].facts.a",
        "policy[0].routes[0].facts.b",
    }
