"""The rules of a listener, understood, and the ceiling that they set for a peer."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from proxy.identity.spiffe_id import SpiffeId
from proxy.policy.conditions import Condition
from proxy.policy.denials import Denial, Denials
from proxy.policy.limits import most_refusals, widest_bytes, widest_s
from proxy.policy.peers import patterns_of
from proxy.policy.routes import Route, RouteTable
from proxy.policy.settings import Ambiguity, LimitSettings, Mode


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """These peers may hold tokens of at most these audiences and scopes, and use these routes.

    ``denial``: or they may not do what it says; such a rule has no audiences, scopes and routes of its own.
    """

    name: str
    peers: tuple[str, ...]
    audiences: frozenset[str]
    scopes: frozenset[str]
    routes: tuple[Route, ...]
    actors: tuple[str, ...] = ()
    conditions: tuple[Condition, ...] = ()
    denial: Denial | None = None
    limits: LimitSettings = field(default_factory=LimitSettings)
    mode: Mode = Mode.ENFORCE


class Ceiling:
    """What all rules that match a peer allow together. One for each set of rules, however many connections share it.

    ``watched`` are the rules that would deny, were they enforced; ``audits``: every rule that allows is in audit mode.
    """

    __slots__ = (
        "audiences",
        "audits",
        "denials",
        "max_bytes",
        "max_s",
        "refusals",
        "routes",
        "scopes",
        "trades",
        "watched",
    )

    def __init__(self, all_rules: Sequence[Rule], allow: frozenset[Ambiguity], mode: Mode) -> None:
        rules = [rule for rule in all_rules if rule.denial is None]
        self.audits = mode is Mode.AUDIT or all(rule.mode is Mode.AUDIT for rule in rules)
        denials: list[Denial] = []
        watched: list[Denial] = []
        for rule in all_rules:
            if rule.denial is not None:
                (watched if Mode.AUDIT in {mode, rule.mode} else denials).append(rule.denial)
        self.denials = Denials(denials, allow) if denials else None
        self.watched = Denials(watched, allow) if watched else None
        self.audiences = frozenset().union(*(rule.audiences for rule in rules))
        self.scopes = frozenset().union(*(rule.scopes for rule in rules))
        self.trades = any(route.ask is not None for rule in rules for route in rule.routes)
        self.max_bytes = widest_bytes(rule.limits for rule in rules)
        self.max_s = widest_s(rule.limits for rule in rules)
        self.refusals = most_refusals(rule.limits for rule in rules)
        self.routes = RouteTable([route for rule in rules for route in rule.routes], allow)


class Policy:
    """All rules of a listener, in the order of the file. ``compile_policy`` makes one."""

    __slots__ = ("_by_pattern", "_ceilings", "_of_everybody", "allow", "mode", "rules", "version")

    def __init__(
        self, rules: Sequence[Rule], allow: frozenset[Ambiguity], version: str = "", mode: Mode = Mode.ENFORCE
    ) -> None:
        self.version = version
        self.mode = mode
        self.rules = tuple(rules)
        self.allow = allow
        self._by_pattern: dict[str, list[int]] = {}
        self._of_everybody = {number for number, rule in enumerate(self.rules) if not rule.peers}
        for number, rule in enumerate(self.rules):
            for pattern in rule.peers:
                self._by_pattern.setdefault(pattern, []).append(number)
        # A set of rules is fixed by the narrowest pattern that a peer matches, so there are at most as many
        # ceilings as patterns. Made when the first such peer comes: few of the peers of a large policy ever call us.
        self._ceilings: dict[tuple[int, ...], Ceiling] = {}

    def rules_of(self, spiffe_id: SpiffeId) -> tuple[int, ...]:
        """Return the numbers of the rules that speak of this peer, in the order of the file."""
        matching = {n for pattern in patterns_of(spiffe_id) for n in self._by_pattern.get(pattern, ())}
        return tuple(sorted(matching | self._of_everybody))

    def ceiling_of(self, spiffe_id: SpiffeId) -> Ceiling | None:
        """Return what this peer may do at most; None if no rule allows it anything."""
        key = self.rules_of(spiffe_id)
        if all(self.rules[number].denial is not None for number in key):
            return None
        ceiling = self._ceilings.get(key)
        if ceiling is None:
            ceiling = self._ceilings[key] = Ceiling([self.rules[number] for number in key], self.allow, self.mode)
        return ceiling
