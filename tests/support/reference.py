"""A second reading of DESIGN.md and the pages: judges a request by the YAML, slowly, with no code of the sidecar.

It goes through all rules for each request, and reads paths by taking them apart with plain Python. It knows as much as
the table of decisions needs, and refuses to judge what it does not know.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_from_bytes, unquote_to_bytes

Rule = Mapping[str, Any]

UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
METHODS_WITHOUT_ANY = {"CONNECT", "TRACE"}


@dataclass(frozen=True)
class Verdict:
    """``reason`` is empty where it is allowed; then ``rule`` is there."""

    reason: str
    rule: str = ""


class Refused(Exception):
    """With its reason."""


@dataclass(frozen=True)
class Asked:
    """One request."""

    peer: str
    method: str
    path: str
    host: str
    fields: tuple[tuple[str, str], ...]
    claims: Mapping[str, Any] | None
    age_s: float


EXPRESSIONS: Mapping[str, Callable[[Any], bool | None]] = {
    'environment.stage == "prod" && peer.path.startsWith("/jobs/") && token.tctx.cost <= 10': lambda asked: (
        False
        if not asked.peer.removeprefix("spiffe://example.org").startswith("/jobs/")
        else None
        if not _is_number(asked.claims["tctx"].get("cost"))
        else asked.claims["tctx"]["cost"] <= 10
    ),
    'request.headers["x-tenant"] == token.tctx.tenant': lambda asked: (
        None
        if len(_values(asked, "x-tenant")) != 1 or "tenant" not in asked.claims["tctx"]
        else _values(asked, "x-tenant")[0] == asked.claims["tctx"]["tenant"]
    ),
    '"x-http-method-override" in request.headers': lambda asked: (
        None if len(_values(asked, "x-http-method-override")) > 1 else bool(_values(asked, "x-http-method-override"))
    ),
}
"""What each ``when`` of the table means, written by hand; None: it cannot be told."""


def judge(policy: Mapping[str, Any], asked: Asked) -> Verdict:
    """Give the verdict that the documents demand."""
    try:
        return Verdict("", _judge(policy["policy"], asked))
    except Refused as refused:
        return Verdict(str(refused))


def _judge(rules: list[Rule], asked: Asked) -> str:
    mine = [rule for rule in rules if _speaks_of_peer(rule, asked.peer)]
    allowing = [rule for rule in mine if rule.get("effect") != "deny"]
    denying = [rule for rule in mine if rule.get("effect") == "deny"]
    bars = [rule for rule in denying if set(rule) <= {"name", "effect", "peers", "trust_domains"}]
    if not allowing or bars:
        raise Refused("peer_not_allowed")
    path, host = asked.path, asked.host
    if path.startswith("http://"):  # the authority of the target counts, not Host
        host, slash, path = path.removeprefix("http://").partition("/")
        path = slash + path
    asked = Asked(asked.peer, asked.method, path, host, asked.fields, asked.claims, asked.age_s)
    if any(character in path for character in '\\"<>^`{|}'):
        raise Refused("ambiguous_path" if asked.claims is not None else "token_missing")
    if asked.claims is None:
        raise Refused("token_missing")
    scopes = set(asked.claims["scope"].split())
    if not scopes <= {scope for rule in allowing for scope in rule.get("scopes", ())}:
        raise Refused("scope_beyond_grant")
    segments = _segments(path)
    for rule in denying:
        if _denied(rule, segments, asked):
            raise Refused("denied_by_rule")
    return _allowed(allowing, segments, asked, scopes)


# ---- who


def _speaks_of_peer(rule: Rule, peer: str) -> bool:
    patterns = [*rule.get("peers", ()), *(f"spiffe://{domain}/*" for domain in rule.get("trust_domains", ()))]
    if not patterns:
        return rule.get("effect") == "deny"
    return any(peer == pattern or (pattern[-1] == "*" and peer.startswith(pattern[:-1])) for pattern in patterns)


# ---- the path: None for the target *


def _segments(target: str) -> list[str] | None:
    if target == "*":
        return None
    path = target.partition("?")[0]
    if not path.startswith("/") or ";" in path or "//" in path or re.search(r"%(?![0-9a-fA-F]{2})", path):
        raise Refused("ambiguous_path")
    for pair in re.findall(r"%([0-9a-fA-F]{2})", path):
        octet = int(pair, 16)
        if octet in UNRESERVED or octet < 0x20 or octet == 0x7F or chr(octet) in "/\\;":
            raise Refused("ambiguous_path")
    found = []
    for segment in path[1:].split("/"):
        raw = unquote_to_bytes(segment)
        try:
            raw.decode()
        except UnicodeDecodeError:
            raise Refused("ambiguous_path") from None
        if segment in {".", ".."} or re.search(rb"%[0-9a-fA-F]{2}", raw):
            raise Refused("ambiguous_path")
        found.append(quote_from_bytes(raw, safe="!$&'()*+,=:@"))
    return found


def _carelessly(segments: list[str]) -> list[str]:
    found = []
    for segment in segments:
        text = unicodedata.normalize("NFKC", unquote_to_bytes(segment).decode()).casefold()
        found.append(unicodedata.normalize("NFKC", text).rstrip(". "))
    return [text for text in found if text]


def _template(match: str) -> tuple[str, list[str] | None]:
    method, path = match.split(" ")
    return method, None if path == "*" else path[1:].split("/")


# ---- deny


def _denied(rule: Rule, segments: list[str] | None, asked: Asked) -> bool:
    routes = [_template(route["match"]) for route in rule.get("routes", ())]
    if routes and not any(_denies(method, path, segments, asked.method) for method, path in routes):
        return False
    scopes = set(asked.claims["scope"].split()) if asked.claims else set()
    if "scopes" in rule and not scopes & set(rule["scopes"]):
        return False
    if "actors" in rule and not _acts(rule, asked):
        return False
    return all(answer is not False for answer in _conditions(rule, asked))


def _denies(method: str, path: list[str] | None, segments: list[str] | None, called: str) -> bool:
    if method != "*" and called.upper() != method and not (method == "GET" and called.upper() == "HEAD"):
        return False
    if path is None or segments is None:
        return path is segments
    wanted, given = _carelessly(path), _carelessly(segments)
    if wanted[-1:] == ["**"]:
        wanted, given = wanted[:-1], given[: len(wanted) - 1]
    return len(wanted) == len(given) and all(
        want.startswith("{") or want == have for want, have in zip(wanted, given, strict=True)
    )


# ---- allow


def _allowed(rules: list[Rule], segments: list[str] | None, asked: Asked, scopes: set[str]) -> str:
    fitting = []
    for rule in rules:
        for route in rule["routes"]:
            method, path = _template(route["match"])
            if _has_method(method, asked.method) and _fits(path, segments):
                order = [0 if part == "**" else 1 if part.startswith("{") else 2 for part in path or ()]
                fitting.append(((order, method != "*"), rule, route, path))
    if not fitting:
        raise Refused("route_not_allowed")
    best = max(specific for specific, *_ in fitting)
    reasons = []
    for specific, rule, route, path in fitting:
        if specific != best:
            continue
        reason = _lacking(rule, route, path, segments, asked, scopes)
        if not reason:
            return str(rule["name"])
        reasons.append(reason)
    told = ["condition_unmet", "fact_unusable", "fact_unauthorised", "fact_mismatch"]
    raise Refused(next((each for each in reasons if each in told), _least(reasons)))


def _least(reasons: list[str]) -> str:
    return "actor_not_allowed" if "actor_not_allowed" in reasons else "scope_missing"


def _has_method(wanted: str, called: str) -> bool:
    if wanted == "*":
        return called == called.upper() and called not in METHODS_WITHOUT_ANY
    return wanted == called


def _fits(path: list[str] | None, segments: list[str] | None) -> bool:
    if path is None or segments is None:
        return path is segments
    if path[-1] == "**":
        if len(segments) < len(path):
            return False
        path, segments = path[:-1], segments[: len(path) - 1]
    return len(path) == len(segments) and all(
        have != "" if want.startswith("{") else want == have for want, have in zip(path, segments, strict=True)
    )


def _lacking(
    rule: Rule,
    route: Mapping[str, Any],
    path: list[str] | None,
    segments: list[str] | None,
    asked: Asked,
    scopes: set[str],
) -> str:
    if not set(route.get("scopes", ())) <= scopes:
        return "scope_missing"
    if "actors" in rule and not _acts(rule, asked):
        return "actor_not_allowed"
    if not all(_conditions(rule, asked)):
        return "condition_unmet"
    for name, fact in route.get("facts", {}).items():
        if reason := _fact(name, fact, path or [], segments or [], asked):
            return reason
    return ""


def _fact(name: str, fact: str, path: list[str], segments: list[str], asked: Asked) -> str:
    authorised = (asked.claims or {})["tctx"].get(name)
    kind, _, of = fact.removeprefix("optional ").partition(":")
    if kind == "path":
        values = [unquote_to_bytes(segments[path.index(f"{{{of}}}")]).decode()]
    elif kind == "header":
        values = _values(asked, of)
    else:
        raise NotImplementedError(fact)
    if len(values) > 1 or (not values and not fact.startswith("optional ")):
        return "fact_unusable"
    if not values and authorised is None:
        return ""
    if authorised is None:
        return "fact_unauthorised"
    return "" if values and values[0] == authorised else "fact_mismatch"


# ---- conditions


def _conditions(rule: Rule, asked: Asked) -> list[bool | None]:
    claims = asked.claims or {}
    found: list[bool | None] = []
    if "subjects" in rule:
        found.append(any(_named(pattern, claims["sub"]) for pattern in rule["subjects"]))
    if "hosts" in rule:
        found.append(_host(rule["hosts"], asked.host))
    for pointer, wanted in rule.get("tctx", {}).items():
        found.append(_member(claims["tctx"], pointer, wanted if isinstance(wanted, list) else [wanted]))
    if "max_token_age" in rule:
        found.append(asked.age_s <= float(rule["max_token_age"].removesuffix("s")))
    if "when" in rule:
        found.append(EXPRESSIONS[rule["when"]](asked))
    known = {"name", "effect", "peers", "trust_domains", "scopes", "routes", "actors"}
    if unknown := set(rule) - known - {"subjects", "hosts", "tctx", "max_token_age", "when"}:
        raise NotImplementedError(unknown)
    return found


def _acts(rule: Rule, asked: Asked) -> bool:
    act = (asked.claims or {}).get("act")
    if act is None:
        return "none" in rule["actors"]
    return any(_named(pattern, act["sub"]) for pattern in rule["actors"] if pattern != "none")


def _named(pattern: str, name: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


def _host(patterns: list[str], called: str) -> bool | None:
    host, _, port = called.lower().partition(":")
    if host.endswith("."):
        return None
    for pattern in patterns:
        wanted, _, at = pattern.lower().partition(":")
        if (not at or at == port) and (host.endswith(wanted[1:]) if wanted.startswith("*.") else host == wanted):
            return True
    return False


def _member(tctx: Mapping[str, Any], pointer: str, wanted: list[Any]) -> bool | None:
    value: Any = tctx
    for step in pointer[1:].split("/") if pointer.startswith("/") else [pointer]:
        value = value.get(step) if isinstance(value, dict) else None
    if value is None:
        return None
    return any(_same(value, one) for one in wanted)


def _same(one: Any, other: Any) -> bool:
    if _is_number(one) and _is_number(other):
        return bool(one == other)
    return type(one) is type(other) and bool(one == other)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _values(asked: Asked, name: str) -> list[str]:
    return [value.strip() for have, value in asked.fields if have.lower() == name]
