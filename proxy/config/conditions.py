"""The conditions of a rule: what is asked beside peers, scopes and routes, where it is written."""

import re
from dataclasses import dataclass

from proxy.config.document import Broken, Items, Node, Scalar
from proxy.config.number import DAY, duration
from proxy.config.problem import Bad, Place
from proxy.config.shape import Key, ListOf, TableOf
from proxy.config.value import JsonSchema, Unfit, Value, choice, is_null, shown, text, yaml_type
from proxy.config.word import trust_domain
from proxy.policy.settings import Effect, Literal, Mode, RuleSettings
from proxy.policy.when import MAX_EXPRESSION

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,14})(\.[0-9]{1,15})?")
"""As JSON writes it, and as every reader has the same of it."""

_ELSEWHERE = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+\.?[0-9]*)(?:[eE][-+]?[0-9]+)?|0o[0-7]+")
"""A text to YAML 1.1, and a number to YAML 1.2."""

_SINGLE: JsonSchema = {"anyOf": [{"type": "string"}, {"type": "number"}, {"enum": [False, True]}]}


@dataclass(frozen=True, slots=True)
class Literals:
    """A value of JSON as YAML writes it (``BUY``, ``3``, ``true``, ``"3"``), or a list: one of these."""

    def read(self, node: Node, place: Place) -> "Literal | tuple[Literal, ...] | Bad":
        """The value, of its JSON type."""
        if not isinstance(node, Items):
            return self._one(node, place)
        values = tuple(self._one(one, place.item(index)) for index, one in enumerate(node.nodes))
        if not values:
            return place.refuse(node.line, "write at least one value, for example [BUY, SELL]")
        good = tuple(value for value in values if not isinstance(value, Bad))
        return good if len(good) == len(values) else Bad.BAD

    def schema(self) -> JsonSchema:
        """One value, or an array of them."""
        return {"anyOf": [_SINGLE, {"type": "array", "items": _SINGLE, "minItems": 1}]}

    def _one(self, node: Node, place: Place) -> "Literal | Bad":
        if isinstance(node, Broken):
            return Bad.BAD
        if not isinstance(node, Scalar) or is_null(node):
            return place.refuse(node.line, "expected a text, a number, true or false, for example BUY")
        kind = yaml_type(node)
        if kind == "str" and not (node.plain and not node.variables and _ELSEWHERE.fullmatch(node.text)):
            return node.text
        if kind == "bool" and node.text in {"true", "false"}:
            return node.text == "true"
        if kind in {"int", "float"} and (found := _NUMBER.fullmatch(node.text)):
            return float(node.text) if found[1] else int(node.text)
        return place.refuse(node.line, f"{shown(node)} can be read in two ways: write 3, 0.5, true, or it in quotes")


def _expression(raw: str) -> str:
    """Lines are for who reads it: to CEL they are blanks."""
    one = " ".join(raw.split("\n")).strip()
    if not one:
        raise Unfit
    return text("an expression in CEL", "", longest=MAX_EXPRESSION).parse(one)


EFFECT = Key(
    "effect",
    choice(of=tuple(Effect)),
    "allow, or deny: what such a rule speaks of is refused, whatever allows it.",
    into=(RuleSettings, "effect"),
)

MODE = Key(
    "mode",
    choice(of=tuple(Mode)),
    "audit: what this rule refuses is told and counted, and let pass.",
    into=(RuleSettings, "mode"),
)

TRUST_DOMAINS = Key(
    "trust_domains",
    ListOf(item=trust_domain(), example="[example.org]", at_least=1),
    "Who, too: every workload of these.",
    into=(RuleSettings, "trust_domains"),
    fallback="none",
)

CONDITIONS = (
    Key(
        "subjects",
        ListOf(item=text("a subject, or a beginning and *", "users/*"), example="[users/*]", at_least=1),
        "On whose behalf: the sub of the token, or the beginning of subjects and *.",
        into=(RuleSettings, "subjects"),
        fallback="whoever",
    ),
    Key(
        "hosts",
        ListOf(item=text("a host, with a port or without", "orders", longest=300), example="[orders]", at_least=1),
        "What the request is sent to: a host, host:port, or *.example.org.",
        into=(RuleSettings, "hosts"),
        fallback="whatever",
    ),
    Key(
        "tctx",
        TableOf(
            key=text("the name of a member, or a JSON pointer", "action", longest=256),
            item=Literals(),
            example="{action: [BUY, SELL]}",
        ),
        "Members of the token's tctx, and the value, or one of the values, that each must have.",
        into=(RuleSettings, "tctx"),
        fallback="not looked at",
    ),
    Key(
        "max_token_age",
        duration(1, DAY),
        "How long ago the token may have been issued.",
        into=(RuleSettings, "max_token_age_s"),
        fallback="until it ends",
    ),
    Key(
        "when",
        Value(expected="an expression in CEL", example="token.tctx.amount <= 100", parse=_expression),
        "An expression in CEL over peer, token, request, connection, time and environment.",
        into=(RuleSettings, "when"),
        fallback="always",
    ),
)

ENVIRONMENT = Key(
    "environment",
    TableOf(
        key=text("a name", "stage", r"[a-z][a-z0-9_]*", longest=64),
        item=text("a text", "prod"),
        example="{stage: prod}",
    ),
    "What when may ask of where this sidecar is, as environment.NAME.",
    fallback="empty",
)
