"""``when``: what an expression may ask, what is refused before it is used, and what it cannot be told."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from support.policy import NOW, UNTIL, grant, peer, rule, token

from proxy.errors import ConditionUnmet, DeniedByRule
from proxy.policy.binding import Undecided
from proxy.policy.compile import PolicyErrors
from proxy.policy.conditions import Question
from proxy.policy.settings import Effect, RouteSettings, RuleSettings
from proxy.policy.when import MAX_EXPRESSION, NAMES, InvalidWhen, When, environment_of, fields_of, parse_when
from proxy.tokens.facts import SECRET_FIELDS, Facts

ENVIRONMENT = {"stage": "prod"}
LIBRARY = environment_of(ENVIRONMENT)
LINES = [
    b"X-Tenant: a",
    b"Accept: x",
    b"accept: y",
    b"X_User: eve",
    b"X.Dot: 1",
    b"Authorization: Bearer s",
    b"X-Bin: \xff",
]


def understood(expression: str) -> When:
    """The condition."""
    return parse_when(expression, LIBRARY, ENVIRONMENT)


def answer(expression: str, target: bytes = b"/orders/7?q=1", authority: bytes = b"orders:80") -> bool | None:
    """What it says of one request."""
    facts = Facts(method=b"GET", target=target, lines=LINES, source="10.0.0.1", authority=authority)
    one = replace(token("a", "b"), tctx={"amount": 50, "deep": {"list": [1, 2]}, "text": "x"}, actors=("agent",))
    return understood(expression).holds(Question(peer(), one, NOW, UNTIL, facts))


TRUE = [
    'peer.spiffe_id == "spiffe://example.org/edge" && peer.trust_domain == "example.org" && peer.path == "/edge"',
    'peer.certificate_sha256.startsWith("abab")',
    'token.sub == "alice" && token.txn == "t-1" && token.aud == "example.org" && token.iss == ""',
    '"a" in token.scopes && size(token.scopes) == 2 && token.actors == ["agent"]',
    "token.tctx.amount <= 100 && token.tctx.deep.list.exists(x, x == 2)",
    "token.iat < token.exp && time.now - token.iat >= duration('500s') && !has(token.rctx.ip)",
    "size(token.agentic_ctx) == 0 && connection.until > time.now",
    'request.method == "GET" && request.path == "/orders/7" && request.host == "orders" && request.port == 80',
    'request.path.matches("^/orders/[0-9]+$")',
    'request.headers["x-tenant"] == "a" && "x-tenant" in request.headers && !("x-nope" in request.headers)',
    'connection.source == "10.0.0.1"',
    'time.now.getFullYear() == 1970 && time.now.getHours("Europe/Paris") == 1',
    'environment.stage == "prod"',
    'token.sub == "alice" || 1 / 0 == 1',
]


@pytest.mark.parametrize("expression", TRUE)
def test_every_name_may_be_asked(expression: str) -> None:
    """Values of the peer, the token, the request, the connection, the time and the environment."""
    assert answer(expression) is True
    assert answer(f"!({expression})") is False


def test_every_name_is_tried_above() -> None:
    """None is declared and never used."""
    assert {name for name in NAMES if not any(name in expression for expression in TRUE)} == {"token.req_wl"}
    assert answer("token.req_wl == peer.spiffe_id") is True


UNTOLD = [
    "token.tctx.nope == 1",
    'token.tctx.text > 3 || token.tctx.text == "y"',
    "1 / (size(token.scopes) - 2) == 1",
    'request.headers["accept"] == "x"',
    'request.headers["x-user"] == "eve"',
    '"x-user" in request.headers',
    "has(request.headers.accept)",
    'request.headers["x-bin"] == ""',
    '"x-dot" in request.headers',
    'request.headers.exists(name, name == "x-tenant")',
    'request . headers ["x-tenant"] == "a"',
    'request.headers[r"x-tenant"] == "a"',
    'request.headers["x\\x2dtenant"] == "a"',
    'request.headers[token.tctx.text] == "a"',
    "token.tctx.deep",
]


@pytest.mark.parametrize("expression", UNTOLD)
def test_what_cannot_be_told(expression: str) -> None:
    """An error, a field with two readings, or any field where the expression does not name it plainly."""
    assert answer(expression) is None


@pytest.mark.parametrize("target", [b"/orders/a%40b", b"/orders/%37", b"/a/../b", b"/a;b", b"//a"])
def test_a_path_with_two_readings_cannot_be_told(target: bytes) -> None:
    """Also where an ambiguity is allowed by its name: a rule sees one text, and the app could see another."""
    assert answer('request.path != "/admin"', target) is None


@pytest.mark.parametrize("authority", [b"", b"orders.", b"a b"])
def test_a_host_with_no_reading_cannot_be_told(authority: bytes) -> None:
    """As for ``hosts``."""
    assert answer('request.host != "debug"', authority=authority) is None


def test_secrets_are_no_fields() -> None:
    """Nor are those that stand there twice."""
    facts = Facts(method=b"GET", target=b"/", lines=LINES + [name.encode() + b": s" for name in SECRET_FIELDS])
    assert fields_of(facts) == {"x-tenant": "a"}


REFUSED = {
    'token.sub.matches("[")': "no pattern",
    "token.sub.matches(r'(a')": "no pattern",
    "token.sub.matches(token.txn)": "write a pattern out",
    'token.sub.matches("a" + token.txn)': "write a pattern out",
    'matches(token.sub, "a")': "write a pattern out",
    'token.sub.matches("a").matches("b")': "no matching overload",
    "token.nope == 1": "undeclared",
    "nobody == 1": "undeclared",
    "environment.region == 'eu'": "undeclared",
    "token.sub == 1": "no matching overload",
    "token.sub": "no condition",
    "size(token.scopes)": "no condition",
    "1 +": "Syntax error",
    "open('/etc/passwd')": "undeclared",
    'request.headers["cookie"] == "a"': "secret",
    '"authorization" in request.headers': "secret",
    '"transfer-encoding" in request.headers': "no condition sees it",
    "has(request.headers.host)": "no condition sees it",
    'request.headers["X-Tenant"] == "a"': "lower case",
    "request.headers.x_tenant == 'a'": "without _",
    "(" * 200 + "true" + ")" * 200: "recursion",
    "true" + " " * (MAX_EXPRESSION - 3): "longer than",
}


@pytest.mark.parametrize("expression", REFUSED)
def test_what_is_refused_before_it_is_used(expression: str) -> None:
    """Names, types and forms are errors of the configuration, with their place in the expression."""
    with pytest.raises(InvalidWhen, match=REFUSED[expression]):
        understood(expression)
    assert understood("true" + " " * (MAX_EXPRESSION - 4))


def test_the_work_is_bounded() -> None:
    """An expression that would go on for long cannot be told; patterns that explode elsewhere take no time."""
    many = tuple(f"s{n}" for n in range(300))
    one = replace(token(*many), sub="a" * 4000 + "!")
    question = Question(peer(), one, NOW, UNTIL, None)
    every = "token.scopes.all(a, token.scopes.all(b, a != b || a == b))"
    assert understood(every).holds(question) is None
    assert understood('token.sub.matches("^(a+)+$")').holds(question) is False


def test_dates_beyond_the_calendar() -> None:
    """A connection without an end ends in the year 9999."""
    question = Question(peer(), token(), NOW, float("inf"), None)
    assert understood("connection.until > timestamp('9999-12-31T00:00:00Z')").holds(question)
    assert datetime.fromtimestamp(NOW, UTC).isoformat() in understood("time.now > token.iat").found(question)


OPEN = rule("open", [("GET /a", [])])
FACTS = Facts(method=b"GET", target=b"/a", lines=[], authority=b"orders")


def test_an_error_opens_nothing() -> None:
    """A rule that allows does not, and one that denies does."""
    with pytest.raises(ConditionUnmet):
        grant(replace(OPEN, when="token.tctx.nope == 1")).permit(b"GET", b"/a", token(), NOW)
    denying = RuleSettings(name="deny", effect=Effect.DENY, when="token.tctx.nope == 1")
    with pytest.raises(DeniedByRule):
        grant(OPEN, denying).permit(b"GET", b"/a", token(), NOW)
    with pytest.raises(DeniedByRule):
        grant(OPEN, replace(denying, when='request.headers["x-a"] == "1"')).permit(b"GET", b"/a", token(), NOW, FACTS)


def test_the_request_is_asked_for_only_where_it_is_needed() -> None:
    """An expression over token, peer and time is answered at once."""
    assert grant(replace(OPEN, when='token.sub == "alice"')).permit(b"GET", b"/a", token(), NOW)
    with pytest.raises(Undecided):
        grant(replace(OPEN, when='request.host == "orders"')).permit(b"GET", b"/a", token(), NOW)


def test_a_deny_that_needs_the_request_does_not_lose_the_body() -> None:
    """A route with facts of the body asks for the body even where a rule that denies asks first."""
    route = RouteSettings(match="GET /a", facts={"q": "body:/q"})
    denying = RuleSettings(name="deny", effect=Effect.DENY, hosts=("debug",))
    one = grant(RuleSettings(name="r", peers=OPEN.peers, routes=(route,)), denying)
    with pytest.raises(Undecided) as undecided:
        one.permit(b"GET", b"/a", token(), NOW)
    assert undecided.value.needs_body


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra: who writes ``when`` is told what to install."""
    monkeypatch.setitem(sys.modules, "cel_expr_python", None)
    with pytest.raises(
        PolicyErrors, match=re.escape("policy[0].when: needs the library for CEL: pip install 'svidecar[when]'")
    ):
        grant(replace(OPEN, when="true"))
    assert grant(OPEN)


def test_a_policy_without_when_does_not_load_it() -> None:
    """10 MB that most sidecars never need."""
    code = (
        "import sys; from support.policy import grant, rule; import proxy.app; "
        "grant(rule('r', [('GET /', [])])); assert 'cel_expr_python' not in sys.modules"
    )
    path = os.pathsep.join(sys.path)
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30, env={**os.environ, "PYTHONPATH": path})
