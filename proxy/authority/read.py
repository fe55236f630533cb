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
      - name: orders
        selectors: [unix:uid:1000, unix:path:/usr/bin/orders]  # from the Workload API, and not as files

and what ``read_doors`` has.

The room of the sidecar's YAML stands above this one and cannot be used here; this file is small and as strict.
"""

import re
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any

import yaml

from proxy.authority import shape
from proxy.authority.read_doors import (
    check_federates_with,
    read_bundle_endpoint,
    read_entry_selectors,
    read_federation,
    read_socket,
)
from proxy.authority.read_issuers import check_workloads, read_issuers
from proxy.authority.settings import RESERVED, AuthoritySettings, WorkloadSettings
from proxy.authority.shape import Errors, only, seconds, texts
from proxy.authority.state import BUNDLE, KEY, SVID
from proxy.identity.spiffe_id import InvalidSpiffeId, SpiffeId, parse_trust_domain

_SVID_LIFETIMES = (4, 7 * 86400)
"""Half of it must be longer than the second in which a sidecar looks for a new one; and nothing here revokes: a stolen
key serves its thief for all of it."""

_TOKEN_LIFETIMES = (1, 3600)
"""At most what our verifiers accept (``TokenSettings.max_lifetime_s``)."""

_JWT_SVID_LIFETIMES = (1, 3600)
"""At most as long as their keys stay published after their end (``keys.KEEP_S``)."""

_REFRESH_HINTS = (1, 300)
"""A new key must be published three hints before it signs (specs 2.6); it is 900 s before (``keys.AHEAD_S``)."""

_KEYS = {
    *("listen", "svid_lifetime_s", "token_lifetime_s", "workloads"),
    *("socket", "refresh_hint_s", "jwt_svid_lifetime_s", "bundle_endpoint", "federation", "issuers"),
}

_OF_A_WORKLOAD = {
    *("name", "scopes", "subjects", "context", "issuers", "replaces", "svids", "selectors", "federates_with"),
}

_SCOPE = re.compile(r"[!#-\[\]-~]+")
_DEFAULTS = AuthoritySettings(trust_domain="", state=Path())


class SettingsInvalid(ValueError):
    """What is wrong, all of it: ``errors`` holds (where, what)."""

    def __init__(self, errors: Errors) -> None:
        super().__init__("; ".join(f"{where}: {what}" for where, what in errors))
        self.errors = errors


def read_settings(
    trust_domain: str,
    state: Path,
    *,
    listen: str | None = None,
    socket: Path | None = None,
    workloads: Sequence[str] = (),
    document: str = "",
) -> AuthoritySettings:
    """Put the options and the text of ``authority.yaml`` together; ``--listen`` wins over the file.

    ``workloads`` are options as written: ``NAME``, or ``NAME=SCOPE,SCOPE`` for one that may ask for tokens.

    Raises:
        SettingsInvalid: with every error.

    """
    errors: Errors = []
    fields = _document(document, errors)
    raw, where = (fields.get("listen"), "listen") if listen is None else (listen, "--listen")
    host, port = shape.listen(raw, where, (_DEFAULTS.host, _DEFAULTS.port), errors)
    settings = AuthoritySettings(
        trust_domain=trust_domain,
        state=state,
        host=host,
        port=port,
        workloads=_workloads(trust_domain, workloads, fields, errors),
        issuers=read_issuers(fields.get("issuers", []), errors),
        socket=read_socket(socket, fields, errors),
        bundle_endpoint=read_bundle_endpoint(fields, errors),
        federation=read_federation(trust_domain, fields, errors),
        refresh_hint_s=seconds(fields, "refresh_hint_s", _DEFAULTS.refresh_hint_s, _REFRESH_HINTS, errors),
        jwt_svid_lifetime_s=_jwt_svid_lifetime(fields, errors),
        svid_lifetime_s=seconds(fields, "svid_lifetime_s", _DEFAULTS.svid_lifetime_s, _SVID_LIFETIMES, errors),
        token_lifetime_s=seconds(fields, "token_lifetime_s", _DEFAULTS.token_lifetime_s, _TOKEN_LIFETIMES, errors),
    )
    _check_workloads(settings, errors)
    if errors:
        raise SettingsInvalid(errors)
    return settings


def _check_workloads(settings: AuthoritySettings, errors: Errors) -> None:
    check_workloads(settings.workloads, settings.issuers, errors)
    check_federates_with(settings.workloads, settings.federation, errors)


def _jwt_svid_lifetime(fields: dict[str, Any], errors: Errors) -> int:
    return seconds(fields, "jwt_svid_lifetime_s", _DEFAULTS.jwt_svid_lifetime_s, _JWT_SVID_LIFETIMES, errors)


def _workloads(
    trust_domain: str, options: Sequence[str], fields: dict[str, Any], errors: Errors
) -> tuple[WorkloadSettings, ...]:
    checked_domain = _trust_domain(trust_domain, errors)
    found = [(f"--workload {raw.partition('=')[0]}", _from_option(raw)) for raw in options]
    found += _listed(fields.get("workloads", []), errors)
    return _checked(checked_domain, found, errors)


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
    return only(fields, _KEYS, "the file", errors)


def _trust_domain(trust_domain: str, errors: Errors) -> str:
    try:
        return parse_trust_domain(trust_domain)
    except InvalidSpiffeId as error:
        errors.append(("--trust-domain", str(error)))
        return "invalid"  # so that the names are judged all the same


def _from_option(raw: str) -> WorkloadSettings:
    name, _, scopes = raw.partition("=")
    return WorkloadSettings(name=name, scopes=tuple(scopes.split(",")) if scopes else ())


def _listed(value: object, errors: Errors) -> list[tuple[str, WorkloadSettings]]:
    if not isinstance(value, list):
        errors.append(("workloads", "must be a list"))
        return []
    return [(f"workloads[{at}]", _from_entry(entry, f"workloads[{at}]", errors)) for at, entry in enumerate(value)]


def _from_entry(entry: object, where: str, errors: Errors) -> WorkloadSettings:
    fields = only(entry, _OF_A_WORKLOAD, where, errors)
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
        scopes=texts(fields, "scopes", where, errors),
        subjects=texts(fields, "subjects", where, errors),
        context=flags["context"] is True,
        issuers=texts(fields, "issuers", where, errors),
        replaces=flags["replaces"] is True,
        svids=flags["svids"] is True,
        selectors=read_entry_selectors(fields, where, errors),
        federates_with=frozenset(texts(fields, "federates_with", where, errors))
        if "federates_with" in fields
        else None,
    )


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
