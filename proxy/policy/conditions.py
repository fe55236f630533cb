"""The conditions that a rule may set beside peers, scopes and routes; each is asked only where it is written.

======================= ===============================================================================
``subjects``            on whose behalf: the ``sub`` of the token
``actors``              through whom (of a deny rule; where a rule allows, ``Route.actors`` is asked first)
``hosts``               what the request is sent to: Host, or the authority of an absolute-form target
``audiences, scopes``   of a deny rule: the token is for one of these, has one of these
``tctx``                members of the token's context, each with the value, or one of the values, that it must have
``max_token_age``       how long ago the token was issued
``when``                an expression in CEL (``policy/when.py``)
======================= ===============================================================================

An answer is True, False, or None: *cannot be told*, because what is asked for is not there, or has two readings. What
cannot be told opens nothing: a rule that allows needs True, a rule that denies is stopped by False alone.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from proxy.identity.peer import Peer
from proxy.policy.actors import Actors
from proxy.policy.names import Hosts, Subjects
from proxy.policy.settings import Literal
from proxy.tokens.claims import TxnToken
from proxy.tokens.equal import equal
from proxy.tokens.facts import Facts, value_at


class Question:
    """What a condition may look at; ``facts`` where one ``needs_request``, ``until``: the end of the connection."""

    __slots__ = ("facts", "now", "peer", "token", "until")

    def __init__(self, peer: Peer, token: TxnToken, now: float, until: float, facts: Facts | None) -> None:
        self.peer = peer
        self.token = token
        self.now = now
        self.until = until
        self.facts = facts


class Condition:
    """One condition of one rule. Equal where it was written equally."""

    __slots__ = ("asked", "name")

    needs_request = False
    needs_token = True

    def __init__(self, name: str, asked: str) -> None:
        self.name = name
        self.asked = asked

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Condition) and (self.name, self.asked) == (other.name, other.asked)

    def __hash__(self) -> int:
        return hash((self.name, self.asked))

    def holds(self, question: Question) -> bool | None:
        """Whether it holds; None: it cannot be told."""
        raise NotImplementedError  # pragma: no cover

    def found(self, question: Question) -> str:
        """Say what stands there, for a person."""
        raise NotImplementedError  # pragma: no cover


class OfSubject(Condition):
    """``subjects``."""

    __slots__ = ("_subjects",)

    def __init__(self, written: Sequence[str], subjects: Subjects) -> None:
        super().__init__("subjects", " or ".join(written))
        self._subjects = subjects

    def holds(self, question: Question) -> bool | None:
        """See ``Condition``."""
        return self._subjects.have(question.token.sub)

    def found(self, question: Question) -> str:
        """See ``Condition``."""
        return question.token.sub


class OfActor(Condition):
    """``actors`` of a rule that denies."""

    __slots__ = ("_actors",)

    def __init__(self, written: Sequence[str], actors: Actors) -> None:
        super().__init__("actors", " or ".join(written))
        self._actors = actors

    def holds(self, question: Question) -> bool | None:
        """See ``Condition``."""
        return self._actors.admit(question.token.actors)

    def found(self, question: Question) -> str:
        """See ``Condition``."""
        return question.token.actors[0] if question.token.actors else "none"


class OfHost(Condition):
    """``hosts``."""

    __slots__ = ("_hosts",)

    needs_request = True
    needs_token = False

    def __init__(self, written: Sequence[str], hosts: Hosts) -> None:
        super().__init__("hosts", " or ".join(written))
        self._hosts = hosts

    def holds(self, question: Question) -> bool | None:
        """See ``Condition``."""
        return None if question.facts is None else self._hosts.have(question.facts.authority)

    def found(self, question: Question) -> str:
        """See ``Condition``."""
        return "" if question.facts is None else question.facts.authority.decode("latin-1")


class OfAudience(Condition):
    """``audiences`` of a rule that denies."""

    __slots__ = ("_audiences",)

    def __init__(self, written: Sequence[str]) -> None:
        super().__init__("audiences", " or ".join(written))
        self._audiences = frozenset(written)

    def holds(self, question: Question) -> bool | None:
        """See ``Condition``."""
        return question.token.aud in self._audiences

    def found(self, question: Question) -> str:
        """See ``Condition``."""
        return question.token.aud


class OfScope(Condition):
    """``scopes`` of a rule that denies: the token has one of them, whatever else it has."""

    __slots__ = ("_scopes",)

    def __init__(self, written: Sequence[str]) -> None:
        super().__init__("scopes", " or ".join(written))
        self._scopes = frozenset(written)

    def holds(self, question: Question) -> bool | None:
        """See ``Condition``."""
        return not self._scopes.isdisjoint(question.token.scopes)

    def found(self, question: Question) -> str:
        """See ``Condition``."""
        return " ".join(sorted(question.token.scopes))


class OfContext(Condition):
    """One member of ``tctx``, which must be one of these values, by JSON type too (``binding.equal``).

    A member that is not there cannot be told: the token does not speak of it.
    """

    __slots__ = ("_steps", "_values")

    def __init__(self, name: str, steps: tuple[str, ...], values: tuple[Literal, ...]) -> None:
        super().__init__(f"tctx {name}", " or ".join(json.dumps(value) for value in values))
        self._steps = steps
        self._values = values

    def holds(self, question: Question) -> bool | None:
        """See ``Condition``."""
        value = value_at(question.token.tctx, self._steps)
        return None if value is None else any(equal(value, wanted) for wanted in self._values)

    def found(self, question: Question) -> str:
        """See ``Condition``."""
        return told(value_at(question.token.tctx, self._steps))


class OfAge(Condition):
    """``max_token_age``: seconds since ``iat``, at most."""

    __slots__ = ("_most_s",)

    def __init__(self, most_s: float) -> None:
        super().__init__("max_token_age", f"{most_s:g} s")
        self._most_s = most_s

    def holds(self, question: Question) -> bool | None:
        """See ``Condition``."""
        return question.now - question.token.iat <= self._most_s

    def found(self, question: Question) -> str:
        """See ``Condition``."""
        return f"{question.now - question.token.iat:g} s"


MAX_TOLD = 200
"""Characters of a value that an explanation repeats."""


def told(value: Any) -> str:
    """Write a value for a person."""
    if value is None:
        return "not there"
    text = json.dumps(dict(value) if isinstance(value, Mapping) else value)
    return text if len(text) <= MAX_TOLD else text[:MAX_TOLD] + "..."
