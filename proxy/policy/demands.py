"""What a route demands beyond scopes and actors: the conditions of its rule, and the terms of its own.

They stand together, so that a route without them costs one comparison. Conditions are asked first: they are cheap, and
of the rule; terms may need the body of the request.
"""

from proxy.errors import ConditionUnmet, FactMismatch, FactUnauthorised, FactUnusable, ProxyError
from proxy.policy.binding import Terms
from proxy.policy.conditions import Condition, Question


class Demands:
    """See the module. Equal where they were written equally."""

    __slots__ = ("conditions", "needs_body", "needs_request", "rule", "template", "terms")

    def __init__(self, rule: str, template: str, conditions: tuple[Condition, ...], terms: Terms | None) -> None:
        self.rule = rule
        self.template = template
        self.conditions = conditions
        self.terms = terms
        self.needs_body = terms is not None and terms.needs_body
        self.needs_request = terms is not None or any(condition.needs_request for condition in conditions)

    def within(self, other: "Demands | None") -> bool:
        """Whether whoever meets ``other`` has met these."""
        if other is None:
            return not self.conditions and self.terms is None
        return set(self.conditions) <= set(other.conditions) and self.terms in {None, other.terms}

    def unmet(self, question: Question) -> Condition | None:
        """Return the first condition that does not hold; those that need facts are passed over without them."""
        for condition in self.conditions:
            if (question.facts is not None or not condition.needs_request) and not condition.holds(question):
                return condition
        return None

    def refusal(self, question: Question) -> ProxyError | None:
        """Return why it is refused, if it is; ``question`` has the facts if one is needed."""
        unmet = self.unmet(question)
        if unmet is not None:
            return ConditionUnmet(f"the rule {self.rule!r} sets a condition that does not hold: {unmet.name}")
        if self.terms is None or question.facts is None:
            return None
        question.facts.route = self.template
        try:
            self.terms.check(question.facts, question.token.tctx)
        except (FactUnusable, FactUnauthorised, FactMismatch) as error:
            return error
        return None


def demands_of(rule: str, template: str, conditions: tuple[Condition, ...], terms: Terms | None) -> Demands | None:
    """Return what a route demands; None where it is nothing."""
    return Demands(rule, template, conditions, terms) if conditions or terms is not None else None
