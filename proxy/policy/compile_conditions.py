"""The conditions of a rule, understood: settings -> ``Condition``s, and what a rule that denies is made of.

Every error is told at once, each with its place in the YAML and with what would be right there.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from proxy.policy.actors import Actors
from proxy.policy.binding import Errors, member_steps
from proxy.policy.conditions import (
    Condition,
    OfActor,
    OfAge,
    OfAudience,
    OfContext,
    OfHost,
    OfScope,
    OfSubject,
)
from proxy.policy.denials import Denial
from proxy.policy.names import InvalidName, parse_hosts, parse_subjects
from proxy.policy.settings import RouteSettings, RuleSettings
from proxy.policy.template import InvalidTemplate, Template
from proxy.policy.when import InvalidWhen, environment_of, parse_when
from proxy.tokens.facts import InvalidFact

T = TypeVar("T")

_NOT_HERE = "a rule that denies speaks of a match alone: leave this out"


class Library:
    """CEL, imported once a rule uses it, for all rules of a policy."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._opened: Any = None

    def when(self, written: str) -> Condition:
        """Understand one expression. Raises InvalidWhen."""
        self._opened = self._opened or environment_of(self._environment)
        return parse_when(written, self._opened, self._environment)


def compile_conditions(path: str, rule: RuleSettings, library: Library, errors: Errors) -> tuple[Condition, ...]:
    """Return the conditions that every kind of rule may have; note in ``errors`` what is wrong below ``path``."""
    return tuple(_shared(path, rule, library, errors))


def _shared(path: str, rule: RuleSettings, library: Library, errors: Errors) -> Iterator[Condition]:
    if rule.subjects and (subjects := _read(f"{path}.subjects", parse_subjects, rule.subjects, errors)):
        yield OfSubject(rule.subjects, subjects)
    if rule.hosts and (hosts := _read(f"{path}.hosts", parse_hosts, rule.hosts, errors)):
        yield OfHost(rule.hosts, hosts)
    for name, value in rule.tctx.items():
        if (steps := _read(f"{path}.tctx.{name}", member_steps, name, errors)) is not None:
            yield OfContext(name, steps, value if isinstance(value, tuple) else (value,))
    if rule.max_token_age_s is not None:
        yield OfAge(rule.max_token_age_s)
    if rule.when and (when := _read(f"{path}.when", library.when, rule.when, errors)):
        yield when


def compile_denial(path: str, rule: RuleSettings, actors: Actors | None, library: Library, errors: Errors) -> Denial:
    """Return what a rule with ``effect: deny`` refuses; note in ``errors`` what is wrong below ``path``."""
    if rule.max_token_age_s is not None:
        message = "a rule that denies cannot ask for young tokens: write when: time.now - token.iat > duration('60s')"
        errors.append((f"{path}.max_token_age", message))
    conditions: list[Condition] = []
    if actors is not None:
        conditions.append(OfActor(rule.actors, actors))
    if rule.audiences:
        conditions.append(OfAudience(rule.audiences))
    if rule.scopes:
        conditions.append(OfScope(rule.scopes))
    templates = [_template(f"{path}.routes[{n}]", route, errors) for n, route in enumerate(rule.routes)]
    return Denial(
        rule=rule.name,
        templates=tuple(template for template in templates if template is not None),
        conditions=(*conditions, *compile_conditions(path, rule, library, errors)),
    )


def _template(path: str, route: RouteSettings, errors: Errors) -> Template | None:
    for name, is_written in (
        ("scopes", route.scopes),
        ("exchange", route.exchange),
        ("facts", route.facts),
        ("once", route.once),
        ("propagate", not route.propagate),
    ):
        if is_written:
            errors.append((f"{path}.{name}", _NOT_HERE))
    try:
        return Template.parse(route.match)
    except InvalidTemplate as error:
        errors.append((f"{path}.match", str(error)))
        return None


def _read(path: str, parse: Callable[[Any], T], written: Any, errors: Errors) -> T | None:
    try:
        return parse(written)
    except (InvalidName, InvalidFact, InvalidWhen) as error:
        errors.append((path, str(error)))
        return None
