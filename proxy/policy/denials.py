"""Rules with ``effect: deny``: what they speak of is refused, whatever else allows it.

Such a rule speaks of a request if its peers, one of its routes and all of its conditions do; what is left out is
anything. A condition that cannot be told does not keep it silent (``policy/conditions.py``).

Its routes are looked at otherwise than those that allow. Not the most specific template decides, but any that fits;
and it fits every spelling that some app takes for the same: without regard to case, to a slash at the end (so
``/admin/**`` speaks of ``/admin`` too), to dots and blanks at the end of a segment, to Unicode's compatible forms, in
any of the readings of an allowed ambiguity. ``GET`` speaks of HEAD too, and a method of its other cases. To widen what
is refused harms nobody's security; to widen what is allowed would, so there nothing of this is done.

One thing no reading of the path can tell: what an app calls by other means (``X-HTTP-Method-Override``, ``_method`` in
a form). Nothing here believes them; ``when`` can refuse a request that has such a field.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

from proxy.errors import DeniedByRule
from proxy.policy.binding import Undecided
from proxy.policy.conditions import Condition, Question
from proxy.policy.path import PLAIN, readings
from proxy.policy.settings import Ambiguity
from proxy.policy.template import ANY_METHOD, Template, Wild

_SLASH: Final = re.compile(r"[/\\]")
"""What Unicode's compatible forms of a slash become."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Denial:
    """One rule that denies. ``templates`` empty: every request."""

    rule: str
    templates: tuple[Template, ...]
    conditions: tuple[Condition, ...]

    @property
    def bars_the_peer(self) -> bool:
        """Whether it asks for nothing but the peer, who is not even admitted then."""
        return not self.templates and not self.conditions

    def applies(self, question: Question) -> bool | None:
        """Whether it speaks of a request that one of its templates fits; None: the facts of the request are needed."""
        undecided = False
        for condition in self.conditions:
            if condition.needs_request and question.facts is None:
                undecided = True
            elif condition.holds(question) is False:
                return False
        return None if undecided else True


class Denials:
    """All rules that deny something to one peer. Made once for each set of rules."""

    __slots__ = ("_allow", "_depth", "_of_all", "_of_asterisk", "_of_tunnels", "_root", "bar")

    def __init__(self, denials: Sequence[Denial], allow: frozenset[Ambiguity]) -> None:
        self._allow = allow
        self.bar = next((denial.rule for denial in denials if denial.bars_the_peer), "")
        self._of_all = [denial for denial in denials if not denial.templates]
        self._of_asterisk: list[_Leaf] = []
        self._of_tunnels: dict[bytes, list[_Leaf]] = {}  # by host:port, which has one spelling already
        self._root = _Node()
        self._depth = 0  # what lies deeper is not told apart, as in ``routes``
        for denial in denials:
            for template in denial.templates:
                self._add(_Leaf(template.method, denial), template)

    def _add(self, leaf: "_Leaf", template: Template) -> None:
        if template.method == "CONNECT":
            self._of_tunnels.setdefault(template.path.encode(), []).append(leaf)
            return
        if template.segments is None:
            self._of_asterisk.append(leaf)
            return
        node, written = self._root, list(_written(template.segments))
        self._depth = max(self._depth, len(written))
        for segment in written:
            if segment is Wild.REST:
                node.rest.append(leaf)
                return
            node = node.child(segment)
        node.here.append(leaf)

    def of(self, method: bytes, target: bytes) -> list[Denial]:
        """Return those of which a template fits, each once, in the order of the file as far as they have routes.

        Raises:
            AmbiguousPath: the path has several readings, and not all are allowed.

        """
        called = method.decode("latin-1").upper()
        if method == b"CONNECT":
            leaves: Iterable[_Leaf] = self._of_tunnels.get(target, ())
        else:
            leaves = self._of_asterisk if target == b"*" else self._leaves(target)
        found = [leaf.denial for leaf in leaves if leaf.method in {ANY_METHOD, called} or leaf.is_head(called)]
        return list({id(denial): denial for denial in [*self._of_all, *found]}.values())

    def _leaves(self, target: bytes) -> Iterator["_Leaf"]:
        plain = PLAIN.fullmatch(target)
        read = readings(target, self._allow) if plain is None else [plain[1][1:].split(b"/")]
        for path in {tuple(folded(reading, self._depth + 1)) for reading in read}:
            yield from self._root.fit(path, 0)

    def judge(self, method: bytes, target: bytes, question: Question, *, needs_body: bool) -> None:
        """Refuse what one of them speaks of.

        Raises:
            AmbiguousPath: as ``of``.
            DeniedByRule: one of them speaks of it.
            Undecided: the facts of the request are needed; and its body, where a route that allows ``needs_body``.

        """
        undecided = False
        for denial in self.of(method, target):
            applies = denial.applies(question)
            if applies:
                raise DeniedByRule(f"the rule {denial.rule!r} denies it")
            undecided = undecided or applies is None
        if undecided:
            raise Undecided(needs_body=needs_body)

    def judge_unseen(self, method: bytes, target: bytes) -> None:
        """Refuse what is denied to every token, before one is asked for in its name. Raises as ``judge``."""
        for denial in self.of(method, target):
            if not denial.conditions:
                raise DeniedByRule(f"the rule {denial.rule!r} denies it")


@dataclass(frozen=True, slots=True)
class _Leaf:
    method: str
    denial: Denial

    def is_head(self, called: str) -> bool:
        return called == "HEAD" and self.method == "GET"


class _Node:
    """What has been read so far: ``here`` if nothing follows, ``rest`` whatever follows."""

    __slots__ = ("here", "literals", "one", "rest")

    def __init__(self) -> None:
        self.literals: dict[str, _Node] = {}
        self.one: _Node | None = None
        self.here: list[_Leaf] = []
        self.rest: list[_Leaf] = []

    def child(self, segment: str | Wild) -> "_Node":
        if isinstance(segment, str):
            return self.literals.setdefault(segment, _Node())
        self.one = self.one or _Node()
        return self.one

    def fit(self, path: tuple[str, ...], depth: int) -> Iterator[_Leaf]:
        """Yield every leaf whose template fits; bounded by the rules, as in ``routes``."""
        yield from self.rest
        if depth == len(path):
            yield from self.here
            return
        if (literal := self.literals.get(path[depth])) is not None:
            yield from literal.fit(path, depth + 1)
        if self.one is not None:
            yield from self.one.fit(path, depth + 1)


def folded(segments: Sequence[bytes], most: int) -> list[str]:
    """Return ``most`` segments of a path, or a few more, as the most careless reader has them: see the module."""
    texts: list[str] = []
    for segment in segments:
        texts += _folded(segment)
        if len(texts) >= most:
            break
    return texts


def _folded(segment: bytes) -> list[str]:
    text = unquote_to_bytes(segment).decode(errors="replace")
    if text.isascii():
        texts = [text.lower()]
    else:
        import unicodedata  # noqa: PLC0415 - a megabyte of tables that few policies and paths need

        texts = _SLASH.split(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()))
    return [clean for one in texts if (clean := one.rstrip(". "))]


def _written(segments: Sequence[bytes | Wild]) -> Iterator[str | Wild]:
    for segment in segments:
        if isinstance(segment, Wild):
            yield segment
        else:
            yield from _folded(segment)
