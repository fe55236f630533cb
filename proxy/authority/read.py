"""The command line and ``authority.yaml`` -> AuthoritySettings, every error at once.

    listen: 127.0.0.1:8443
    svid_lifetime_s: 3600
    token_lifetime_s: 300
    workloads:
      - name: edge
        scopes: [orders.read, orders.write]
        subjects: ["user:*"]
        context: true
        issuers: [https://login.example.com]     # see ``read_issuers``

The room of the sidecar's YAML stands above this one and cannot be used here; this file is small and as strict.
"""

import ipaddress
import re
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any

import yaml

from proxy.authority.read_issuers import check_workloads, read_issuers
from proxy.authority.settings import RESERVED, AuthoritySettings, WorkloadSettings
from proxy.authority.state import BUNDLE, KEY, SVID
from proxy.identity.spiffe_id import InvalidSpiffeId, SpiffeId, parse_trust_domain

_SVID_LIFETIMES = (4, 7 * 86400)
"""Half of it must be longer than the second in which a sidecar looks for a new one; and nothing here revokes: a stolen
key serves its thief for all of it."""

_TOKEN_LIFETIMES = (1, 3600)
"""At most what our verifiers accept (``TokenSettings.max_lifetime_s``)."""

_SCOPE = re.compile(r"[!#-\[\]-~]+")
_DEFAULTS = AuthoritySettings(trust_domain="", state=Path())
_LISTEN = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+)):([0-9]{1,5})")

Errors = list[tuple[str, str]]


class SettingsInvalid(ValueError):
    """What is wrong, all of it: ``errors`` holds (where, what)."""

    def __init__(self, errors: Errors) -> None:
        super().__init__("; ".join(f"{where}: {what}" for where, what in errors))
        self.errors = errors


def read_settings(
    trust_domain: str, state: Path, *, listen: str | None = None, workloads: Sequence[str] = (), document: str = ""
) -> AuthoritySettings:
    """Put the options and the text of ``authority.yaml`` together; ``--listen`` wins over the file.

    ``workloads`` are options as written: ``NAME``, or ``NAME=SCOPE,SCOPE`` for one that may ask for tokens.

    Raises:
        SettingsInvalid: with every error.

    """
    errors: Errors = []
    checked_domain = _trust_domain(trust_domain, errors)
    fields = _document(document, errors)
    host, port = _listen(listen, fields.get("listen"), errors)
    found = [(f"--workload {raw.partition('=')[0]}", _from_option(raw)) for raw in workloads]
    found += _listed(fields.get("workloads", []), errors)
    settings = AuthoritySettings(
        trust_domain=trust_domain,
        state=state,
        host=host,
        port=port,
        workloads=_checked(checked_domain, found, errors),
        issuers=read_issuers(fields.get("issuers", []), errors),
        svid_lifetime_s=_seconds(fields, "svid_lifetime_s", _DEFAULTS.svid_lifetime_s, _SVID_LIFETIMES, errors),
        token_lifetime_s=_seconds(fields, "token_lifetime_s", _DEFAULTS.token_lifetime_s, _TOKEN_LIFETIMES, errors),
    )
    check_workloads(settings.workloads, settings.issuers, errors)
    if errors:
        raise SettingsInvalid(errors)
    return settings


class _Strict(yaml.SafeLoader):
    """YAML in which a key stands once: the last of two would win without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if len(set(map(repr, keys))) != len(keys):
            raise yaml.constructor.ConstructorError(None, None, "a key stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _document(document: str, errors: Errors) -> dict[str, Any]:
    try:
        fields = yaml.load(document, _Strict) or {}  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}" if mark is not None else "the file"
        errors.append((where, f"not YAML: {getattr(error, 'problem', None) or 'it cannot be read'}"))
        return {}
    known = {"listen", "svid_lifetime_s", "token_lifetime_s", "workloads", "issuers"}
    return _only(fields, known, "the file", errors)


def _only(value: object, known: set[str], where: str, errors: Errors) -> dict[str, Any]:
    if not isinstance(value, dict):
        errors.append((where, "must be a mapping"))
        return {}
    for key in value:
        if key not in known:
            errors.append((f"{where}: {key}", f"is not known; there are {', '.join(sorted(known))}"))
    return value


def _trust_domain(trust_domain: str, errors: Errors) -> str:
    try:
        return parse_trust_domain(trust_domain)
    except InvalidSpiffeId as error:
        errors.append(("--trust-domain", str(error)))
        return "invalid"  # so that the names are judged all the same


def _listen(option: str | None, field: object, errors: Errors) -> tuple[str, int]:
    raw, where = (field, "listen") if option is None else (option, "--listen")
    if raw is None:
        return _DEFAULTS.host, _DEFAULTS.port
    match = _LISTEN.fullmatch(raw) if isinstance(raw, str) else None
    host, port = (match[1] or match[2], int(match[3])) if match else ("", 0)
    try:
        ipaddress.ip_address(host)
    except ValueError:
        host = ""
    if not host or port > 65535:
        errors.append((where, "must be ADDRESS:PORT, as 127.0.0.1:8443 or [::1]:0 (port 0 takes a free one)"))
    return host, port


def _seconds(fields: dict[str, Any], name: str, default: int, bounds: tuple[int, int], errors: Errors) -> int:
    value = fields.get(name, default)
    if type(value) is not int or not bounds[0] <= value <= bounds[1]:
        errors.append((name, f"must be a whole number of seconds from {bounds[0]} to {bounds[1]}"))
        return default
    return value


def _from_option(raw: str) -> WorkloadSettings:
    name, _, scopes = raw.partition("=")
    return WorkloadSettings(name=name, scopes=tuple(scopes.split(",")) if scopes else ())


def _listed(value: object, errors: Errors) -> list[tuple[str, WorkloadSettings]]:
    if not isinstance(value, list):
        errors.append(("workloads", "must be a list"))
        return []
    return [(f"workloads[{at}]", _from_entry(entry, f"workloads[{at}]", errors)) for at, entry in enumerate(value)]


def _from_entry(entry: object, where: str, errors: Errors) -> WorkloadSettings:
    fields = _only(entry, {"name", "scopes", "subjects", "context", "issuers", "replaces", "svids"}, where, errors)
    flags = {name: fields.get(name, False) for name in ("context", "replaces", "svids")}
    for flag, value in flags.items():
        if not isinstance(value, bool):
            errors.append((f"{where}.{flag}", "must be true or false"))
    name = fields.get("name", "")
    if not isinstance(name, str):
        errors.append((f"{where}.name", "must be a text"))
        name = ""
    return WorkloadSettings(
        name=name,
        scopes=_texts(fields, "scopes", where, errors),
        subjects=_texts(fields, "subjects", where, errors),
        context=flags["context"] is True,
        issuers=_texts(fields, "issuers", where, errors),
        replaces=flags["replaces"] is True,
        svids=flags["svids"] is True,
    )


def _texts(fields: dict[str, Any], name: str, where: str, errors: Errors) -> tuple[str, ...]:
    value = fields.get(name, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        errors.append((f"{where}.{name}", "must be a list of texts"))
        return ()
    return tuple(value)


def _checked(
    trust_domain: str, found: Sequence[tuple[str, WorkloadSettings]], errors: Errors
) -> tuple[WorkloadSettings, ...]:
    taken = {RESERVED}
    for where, workload in found:
        for problem in _problems(trust_domain, workload):
            errors.append((where, problem))
        if workload.name in taken:
            what = "is the authority itself" if workload.name == RESERVED else "stands twice"
            errors.append((where, f"the name {workload.name} {what}"))
        taken.add(workload.name)
    return tuple(workload for _, workload in found)


def _problems(trust_domain: str, workload: WorkloadSettings) -> list[str]:
    rules: list[tuple[Callable[[], bool], str]] = [
        (
            lambda: _is_path(trust_domain, workload.name),
            "the name must be the path of a SPIFFE ID, as orders or ns/shop/orders",
        ),
        (
            lambda: {SVID, KEY, BUNDLE}.isdisjoint(workload.name.split("/")),
            f"a part of the name is {SVID}, {KEY} or {BUNDLE}, which are files in its folder",
        ),
        (lambda: all(map(_SCOPE.fullmatch, workload.scopes)), 'a scope is empty, or has a blank, " or \\ in it'),
        (lambda: len(set(workload.scopes)) == len(workload.scopes), "a scope stands twice"),
        (lambda: all(workload.subjects), "a subject is empty"),
        (lambda: not any("*" in s[:-1] for s in workload.subjects), "in a subject, * may stand at the end alone"),
    ]
    return [what for holds, what in rules if not holds()]


def _is_path(trust_domain: str, name: str) -> bool:
    try:
        SpiffeId(trust_domain=trust_domain, path=f"/{name}")
    except InvalidSpiffeId:
        return False
    return True
