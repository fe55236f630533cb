"""What a route demands beyond scopes: facts of the request that equal those of its token.

The token says in ``tctx`` what was authorised: this quantity, of this stock. A route with ``facts`` holds the request
against it, so that whoever holds the token can do that, and nothing like it. The law:

1. Every fact is looked at, in the order of the file. None can end the others early; the first that fails decides.
2. A fact that must be there has to be in the request and in ``tctx``, and to be equal. An optional one may be missing
   in both; in one of them alone it is a difference. ``null`` is as good as missing, on both sides.
3. Equal means of one JSON type and equal by RFC 6902 section 4.6: numbers by value (3 is 3.0, exactly, however large),
   strings by code point, objects without order, arrays with. ``true`` is not 1, and "3" is not 3.
4. A fact that has no type (everything but the body is text) equals a number or a boolean too, in its plain spelling:
   ``3``, ``3.0`` and ``-0.5``, never ``03``, ``+3``, ``3e0`` or `` 3``, which readers read differently.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from proxy.errors import FactMismatch, FactUnauthorised, FactUnusable
from proxy.tokens.equal import equal
from proxy.tokens.facts import MAX_FACTS, POINTER, Fact, Facts, InvalidFact, parse_fact, steps_of, value_at
from proxy.tokens.numeral import same_number

_PLAIN_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")

Errors = list[tuple[str, str]]


class Undecided(Exception):
    """No refusal: a route with terms was found, and the facts of the request have to be shown to the Grant."""

    def __init__(self, *, needs_body: bool) -> None:
        super().__init__()
        self.needs_body = needs_body


@dataclass(frozen=True, slots=True)
class Bound:
    """One member of ``tctx``, by the steps that lead to it, and the fact that has to equal it."""

    name: str
    steps: tuple[str, ...]
    fact: Fact


class Terms:
    """The terms of one route: see the module. Equal where they were written equally."""

    __slots__ = ("_bound", "_written", "needs_body")

    def __init__(self, written: Mapping[str, str], bound: Sequence[Bound]) -> None:
        self._written = tuple(written.items())
        self._bound = tuple(bound)
        self.needs_body = any(each.fact.of_body for each in bound)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Terms) and self._written == other._written

    def __hash__(self) -> int:
        return hash(self._written)

    def check(self, facts: Facts, tctx: Mapping[str, Any] | None) -> None:
        """Hold a request against what its token says.

        Raises:
            FactUnusable: the request does not tell a fact, or tells it in two ways.
            FactUnauthorised: the token does not speak of it.
            FactMismatch: it is another than the authorised one.

        """
        for each in self._bound:
            _check(each, facts, tctx)

    def told(self, facts: Facts | None, tctx: Mapping[str, Any] | None) -> Iterator["Told"]:
        """Tell of every fact, for a person; without ``facts`` only what is asked."""
        for each in self._bound:
            asked = f"{each.fact.name} equals tctx {each.name}"
            if facts is None:
                yield Told(each.name, asked, "no token was shown", None)
                continue
            try:
                _check(each, facts, tctx)
            except (FactUnusable, FactUnauthorised, FactMismatch) as error:
                yield Told(each.name, asked, error.detail, False)
            else:
                yield Told(each.name, asked, json.dumps(value_at(tctx, each.steps)), True)


class Told(NamedTuple):
    """What is to be said of one fact."""

    name: str
    asked: str
    found: str
    holds: bool | None


def _check(each: Bound, facts: Facts, tctx: Mapping[str, Any] | None) -> None:
    authorised, is_typed = value_at(tctx, each.steps), each.fact.of_body
    found = each.fact.of(facts)
    if found is None and authorised is None:
        return  # an optional one: Fact.of has refused every other
    if authorised is None:
        raise FactUnauthorised(f"tctx does not say what {each.name} may be")
    if found is None or not (equal(found, authorised) if is_typed else reads_as(found, authorised)):
        raise FactMismatch(f"{each.name} is not what was authorised: {each.fact.name} differs from tctx")


def reads_as(text: str, value: Any) -> bool:
    """Whether ``text``, which has no type, is this JSON value to every reader."""
    if isinstance(value, str):
        return text == value
    if isinstance(value, bool):
        return text == ("true" if value else "false")
    if isinstance(value, int | float) and _PLAIN_NUMBER.fullmatch(text):
        return same_number(text, repr(value))
    return False


def compile_terms(path: str, written: Mapping[str, str], match: str, errors: Errors) -> Terms | None:
    """Understand the ``facts`` of a route; note in ``errors`` what is wrong, with its place below ``path``."""
    if not written:
        return None
    if len(written) > MAX_FACTS:
        errors.append((path, f"more than {MAX_FACTS} facts"))
    variables = {text for text in match.split("/") if text.startswith("{")}
    bound = []
    for name, raw in written.items():
        try:
            fact = parse_fact(raw, routed=True)
            bound.append(Bound(name, member_steps(name), fact))
        except InvalidFact as error:
            errors.append((f"{path}.{name}", str(error)))
            continue
        kind, _, variable = fact.name.partition(":")
        if kind == "path" and f"{{{variable}}}" not in variables:
            errors.append((f"{path}.{name}", f"the match has no {{{variable}}}"))
    return Terms(written, bound)


def member_steps(name: str) -> tuple[str, ...]:
    """Read the name of a member of ``tctx``, or a pointer to one that lies deeper."""
    if not name.startswith("/"):
        return (name,)
    if not POINTER.fullmatch(name):
        raise InvalidFact("write the name of a member of tctx, or a JSON pointer to one, as /order/quantity")
    return steps_of(name)
