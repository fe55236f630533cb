"""What ``svidecar check`` says of policy and destinations."""

from support.policy import policy, rule

from proxy.policy.compile import compile_destinations
from proxy.policy.describe import describe
from proxy.policy.settings import Ambiguity, DestinationSettings, Protection
from proxy.tokens.settings import AskSettings


def test_a_policy_in_plain_words() -> None:
    """Who, with which tokens, may use what; and last that nothing else may."""
    rules = policy(
        rule("edge may order", [("GET /orders/{id}", ["r"]), ("POST /orders", ["r", "w"]), ("GET /health", [])]),
        rule("ceiling", peers=["spiffe://example.org/*", "spiffe://other.org/x"], audiences=["b", "a"]),
        allow=[Ambiguity.SEMICOLON],
    )
    assert describe(rules, compile_destinations([], "example.org")) == [
        "rule 'edge may order': peers spiffe://example.org/edge may come with tokens for example.org of at most scopes r, w",
        "  may use GET /orders/{id} with scope r",
        "  may use POST /orders with scopes r, w",
        "  may use GET /health with any such token",
        "rule 'ceiling': peers spiffe://example.org/*, spiffe://other.org/x may come with tokens for a, b without any scope",
        "  may use no route by this rule",
        "paths with semicolon pass where every reading of them is allowed",
        "every other peer, token, path and route is refused",
        "every other destination is refused",
    ]


def test_destinations_in_plain_words() -> None:
    """How each is reached, and whether the token goes there."""
    ours, other = "spiffe://example.org/ledger", "spiffe://other.org/x"
    known = compile_destinations(
        [
            DestinationSettings(host="ledger", address="l.svc:15006", spiffe_id=ours, token=AskSettings(scope=("w",))),
            DestinationSettings(host="quiet:80", address="[::1]:15006", spiffe_id=ours),
            DestinationSettings(host="foreign", address="o.example:15006", spiffe_id=other),
            DestinationSettings(host="web", address="web.example:443", protection=Protection.WEB),
            DestinationSettings(host="old", address="10.0.0.1:80", protection=Protection.PLAIN),
        ],
        "example.org",
    )
    assert describe(policy(), known) == [
        "every other peer, token, path and route is refused",
        (
            f"the app may call ledger (any port): at l.svc:15006 over mTLS, if {ours} answers, "
            "with the transaction's token; without one, a token is asked for with scope w"
        ),
        (
            f"the app may call quiet:80 (this port): at [::1]:15006 over mTLS, if {ours} answers, "
            "with the transaction's token if the app brings it"
        ),
        (
            f"the app may call foreign (any port): at o.example:15006 over mTLS, if {other} answers, "
            "never with the transaction's token"
        ),
        (
            "the app may call web (any port): at web.example:443 over TLS, if a certificate of the system's authorities "
            "names it, never with the transaction's token"
        ),
        "the app may call old (any port): at 10.0.0.1:80 without any protection, never with the transaction's token",
        "every other destination is refused",
    ]
