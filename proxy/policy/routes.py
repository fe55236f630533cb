"""The routes of a Grant as a table that answers which of them decides a request, in time that no rule count changes.

The law:

1. A route matches a request if its method and its template do.
2. Of all routes that match, the most specific template decides. Templates are compared segment by segment, from the
   left: a literal before ``{name}`` before ``/**``. On the same template a named method stands before ``*``.
3. Rules are alternatives. Where several have that same template and method, the request is permitted if the scopes
   of one of them are satisfied; they are asked in the order of the file, and a refusal names the first.
4. A less specific route is never asked: it cannot rescue what a more specific one refuses.

The table never changes once it is made, so nothing that a caller sends can make it grow: paths without wildcards
are one dictionary look-up, others descend a tree, one step a segment. Where a literal and a wildcard both lead on,
the tree is followed into both; the work is bounded by the rules that an operator wrote, never by the request.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from proxy.errors import AmbiguousPath
from proxy.policy.actors import Actors
from proxy.policy.demands import Demands
from proxy.policy.path import PLAIN, is_simple, readings
from proxy.policy.permit import Permit
from proxy.policy.settings import Ambiguity
from proxy.policy.template import ANY_METHOD, CAPITAL_METHOD, NEVER_BY_ANY, Template, Wild
from proxy.tokens.ask import Ask

Alternatives = tuple["Route", ...]
"""Routes of one template and method, in the order of the file: one of them has to be satisfied. Never empty."""

Found = tuple[Alternatives, ...]
"""The alternatives of each reading of a path: every one has to be satisfied. Empty: no route."""

_NOTHING: Final[Found] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A template, what it needs, and the Permit that it gives."""

    template: Template
    scopes: frozenset[str]
    permit: Permit
    actors: Actors | None = None
    ask: Ask | None = None
    demands: Demands | None = None
    audits: bool = False


class RouteTable:
    """The routes of one set of rules."""

    __slots__ = ("_allow", "_by_method", "_others")

    def __init__(self, routes: Sequence[Route], allow: frozenset[Ambiguity]) -> None:
        by_any = _by_template(routes, ANY_METHOD)
        methods = {route.template.method for route in routes} - {ANY_METHOD}
        self._allow = allow
        self._others = _Paths(by_any)
        self._by_method = dict.fromkeys(NEVER_BY_ANY, _Paths({}))
        for method in methods:
            named, inherited = _by_template(routes, method), {} if method.encode() in NEVER_BY_ANY else by_any
            self._by_method[method.encode()] = _Paths(inherited | named)
        if (tunnels := self._by_method[b"CONNECT"]).exact:  # their target is host:port: no path, and whole or nothing
            tunnels.exact = {path[1:]: found for path, found in tunnels.exact.items()}
            tunnels.root = _Node()

    def find(self, method: bytes, target: bytes) -> Found:
        """Return what has to be satisfied. ``target``: in origin-form (RFC 9112 3.2.1), ``*``; host:port for CONNECT.

        Raises:
            AmbiguousPath: the path has several readings, and not all are allowed.

        """
        paths = self._by_method.get(method) or self._unnamed(method)
        found = paths.exact.get(target)
        if found is not None:
            return found
        if is_simple(target):
            return _descend(paths.root, target[1:].split(b"/", paths.depth), 0)
        plain = PLAIN.fullmatch(target)
        if plain is None:
            no_path = target == b"*" or method == b"CONNECT"
            return _NOTHING if no_path else self._find_in_all_readings(paths, target)
        path = plain[1]
        return paths.exact.get(path) or _descend(paths.root, path[1:].split(b"/", paths.depth), 0)

    def _unnamed(self, method: bytes) -> "_Paths":
        return self._others if CAPITAL_METHOD.fullmatch(method) else _NO_PATHS

    def _find_in_all_readings(self, paths: "_Paths", target: bytes) -> Found:
        by_reading = [_descend(paths.root, segments, 0) for segments in readings(target, self._allow)]
        if any(by_reading) and not all(by_reading):
            raise AmbiguousPath("the path has several readings, and not every one has a route")
        return tuple(alternatives for found in by_reading for alternatives in found)


class _Paths:
    """The routes that one method may take."""

    __slots__ = ("depth", "exact", "root")

    def __init__(self, by_template: "_ByTemplate") -> None:
        self.exact: dict[bytes, Found] = {}
        self.root = _Node()
        self.depth = max((len(segments) for segments in by_template if segments), default=0)
        """What lies deeper is not told apart: of a long path so many segments are split off, and no more."""
        for segments, alternatives in by_template.items():
            self._add(segments, (alternatives,))

    def _add(self, segments: tuple[bytes | Wild, ...] | None, found: Found) -> None:
        if segments is None:
            self.exact[b"*"] = found
            return
        literals = [segment for segment in segments if isinstance(segment, bytes)]
        if len(literals) == len(segments):
            self.exact[b"/" + b"/".join(literals)] = found
        node = self.root
        for segment in segments:
            if segment is Wild.REST:
                node.rest = found
                return
            node = node.child(segment)
        node.here = found


class _Node:
    """What has been read so far: ``here`` if nothing follows, ``rest`` if anything does."""

    __slots__ = ("here", "literals", "one", "rest")

    def __init__(self) -> None:
        self.literals: dict[bytes, _Node] = {}
        self.one: _Node | None = None
        self.here = _NOTHING
        self.rest = _NOTHING

    def child(self, segment: bytes | Wild) -> "_Node":
        if isinstance(segment, bytes):
            return self.literals.setdefault(segment, _Node())
        self.one = self.one or _Node()
        return self.one


_NO_PATHS: Final = _Paths({})
_ByTemplate = dict[tuple[bytes | Wild, ...] | None, Alternatives]


def _descend(node: _Node, segments: list[bytes], depth: int) -> Found:
    if depth == len(segments):
        return node.here
    segment = segments[depth]
    literal = node.literals.get(segment)
    if literal is not None and (found := _descend(literal, segments, depth + 1)):
        return found
    if node.one is not None and segment and (found := _descend(node.one, segments, depth + 1)):
        return found
    return node.rest


def _by_template(routes: Sequence[Route], method: str) -> _ByTemplate:
    grouped: dict[tuple[bytes | Wild, ...] | None, list[Route]] = {}
    for route in routes:
        if route.template.method == method:
            grouped.setdefault(route.template.segments, []).append(route)
    return {segments: _needed(alternatives) for segments, alternatives in grouped.items()}


def _needed(alternatives: list[Route]) -> Alternatives:
    """Drop each that asks for all that one before it asks for: whoever satisfies it has satisfied that one."""
    kept: list[Route] = []
    for route in alternatives:
        if not any(route_covers(before, route) for before in kept):
            kept.append(route)
    return tuple(kept)


def route_covers(before: Route, route: Route) -> bool:
    """Whether whoever satisfies ``route`` has satisfied ``before`` too."""
    return (
        before.scopes <= route.scopes
        and before.audits <= route.audits
        and before.actors in {None, route.actors}
        and (before.demands is None or before.demands.within(route.demands))
        and before.ask == route.ask
    )
