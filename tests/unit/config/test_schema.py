"""One description of every key: the reader and the JSON Schema are made of it, and no setting is without a key."""

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.json_schema import is_valid
from support.yaml_text import DESIGN, EXAMPLES, GOOD, problems
from support.yaml_text import settings as read

from proxy.admin.settings import AdminSettings
from proxy.config.schema import SIDECAR, homes, json_schema
from proxy.config.shape import Key, ListOf, Record, Section, TableOf
from proxy.config.value import Value

SCHEMA = json_schema()


def _keys(kind: Any = SIDECAR, path: str = "") -> Iterator[tuple[str, Key]]:
    if isinstance(kind, ListOf | TableOf):
        yield from _keys(kind.item, path)
    elif isinstance(kind, Section | Record):
        for key in kind.keys:
            yield f"{path}{key.name}", key
            yield from _keys(key.kind, f"{path}{key.name}.")


KEYS = dict(_keys())
BOUNDED = {path: key.kind for path, key in KEYS.items() if isinstance(key.kind, Value) and key.kind.bounds}


def _as_json(text: str) -> Any:
    return yaml.safe_load(text)


def test_it_is_json() -> None:
    """Printed and read back, it is the same."""
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_are_valid(path: Path) -> None:
    """An editor with the schema is content with each example."""
    assert is_valid(SCHEMA, _as_json(path.read_text()))


def test_the_design_is_valid() -> None:
    """With the source that it names, and with files."""
    assert is_valid(SCHEMA, _as_json(DESIGN))
    files = "files: {svid: a, key: b, bundle: c}"
    assert is_valid(SCHEMA, _as_json(DESIGN.replace("source: workload_api", files)))


def test_every_key_is_described() -> None:
    """A sentence for each."""
    for path, key in KEYS.items():
        assert key.about.endswith("."), path
        assert key.schema()["description"].startswith(key.about)


def test_every_optional_key_tells_its_default() -> None:
    """As a value of the schema where it is one, else in words; a section's keys tell their own."""
    for path, key in KEYS.items():
        if not key.required and not isinstance(key.kind, Section) and not path.endswith("spiffe_id"):
            assert "default" in key.schema() or key.fallback, path


def test_defaults_of_the_schema_are_read_as_such() -> None:
    """What the schema shows as a default can be written, and means the same as leaving it out."""
    for path, key in KEYS.items():
        described = key.schema()
        if "default" in described:
            assert is_valid(described, described["default"], SCHEMA), path


@pytest.mark.parametrize("path", sorted(BOUNDED))
def test_bounds_of_each_limit(path: str) -> None:
    """Law 8: at n it is read, at n + 1 it is refused, at both ends; and the schema says the same of plain numbers."""
    kind = BOUNDED[path]
    assert kind.bounds is not None
    low, high = kind.bounds
    step = 1 if isinstance(low, int) else 0.001
    *sections, name = path.split(".")

    def found(number: float) -> set[str]:
        return {problem.path.replace("[0]", "") for problem in problems(_with(sections, name, number))}

    document = _as_json(_with(sections, name, low))
    assert path not in found(low)
    assert path not in found(high)
    assert is_valid(SCHEMA, document)
    assert path in found(high + step)
    assert not is_valid(SCHEMA, _as_json(_with(sections, name, high + step)))
    if low > 0:
        assert path in found(low - step)
        assert not is_valid(SCHEMA, _as_json(_with(sections, name, low - step)))


def _with(sections: list[str], name: str, number: float) -> str:
    """A document with this number at this path."""
    document = _as_json(GOOD)
    document["audit"] = {"file": "audit.log"}
    document["tokens"]["service"] = {"url": "https://tts/", "spiffe_id": "spiffe://example.org/tts"}
    feed = {"issuer": "https://idp", "audience": "mesh", "keys": "jwks.json"}
    redis = {"address": "127.0.0.1:6379"}
    document["revocation"] = {"state": "revoked.journal", "feed": feed, "redis": redis}
    here = document
    for section in sections:
        here = here.setdefault(section, {})
        here = here[0] if isinstance(here, list) else here
    here[name] = number
    return str(yaml.safe_dump(document))


def test_every_setting_has_a_key() -> None:
    """What a room lets be set, a person can set."""
    reached = {key.into for key in KEYS.values() if key.into} | {
        # These are put together from several keys; test_build has each of them.
        (AdminSettings, field.name)
        for field in fields(AdminSettings)
    }
    found = read(GOOD + "tls: {}\n")
    tunable: list[Any] = [found, found.tls, found.tokens, found.identity.files, found.access_log, found.admin]
    assert found.inbound is not None
    tunable += [
        found.inbound.pool,
        found.inbound.listener,
        found.inbound.listener.limits,
        found.inbound.listener.timeouts,
    ]
    for settings_of_room in tunable:
        for field in fields(settings_of_room):
            value = getattr(settings_of_room, field.name)
            if is_dataclass(value) or field.name in _MADE_OF_MORE:
                continue
            assert (type(settings_of_room), field.name) in reached, (type(settings_of_room).__name__, field.name)


_MADE_OF_MORE = {
    "service",
    "policy",
    "destinations",
    "inbound",
    "outbound",
    "sharing",
    "tcp",
    "protocol",
    "host",
    "port",
    "svid",
    "key",
    "bundle",
    "federated",
    "crl",
    "federated_crls",
    "federation",
}


def test_homes_know_where_a_key_belongs() -> None:
    """For one whose indentation is wrong."""
    where = homes()
    assert where["policy"] == "at the top level"
    assert where["app"] == "under inbound"
    assert (
        where["listen"]
        == "under inbound or under outbound or under tcp or under metrics or under health or under admin"
    )


def _mutations() -> st.SearchStrategy[Callable[[Any], None]]:
    """Changes of one place of a document: take a key out, add one, put something else in."""
    values = st.sampled_from(
        [None, 0, -1, 1.3, True, "", "x", "off", "1s", "a b", [], ["x"], {}, {"x": 1}, "0.0.0.0:1"]
    )

    def change(path: list[int], kind: str, value: Any) -> Callable[[Any], None]:
        def apply(document: Any) -> None:
            here, above, name = document, None, None
            for number in path:
                names: list[Any] = (
                    list(here) if isinstance(here, dict) else list(range(len(here))) if isinstance(here, list) else []
                )
                if not names:
                    break
                above, name = here, names[number % len(names)]
                here = here[name]
            if above is None:
                return
            if kind == "remove":
                del above[name]
            elif kind == "add" and isinstance(here, dict):
                here["unknown"] = value
            else:
                above[name] = value

        return apply

    kinds = st.sampled_from(["remove", "add", "replace"])
    return st.builds(change, st.lists(st.integers(0, 30), min_size=1, max_size=6), kinds, values)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=60)
@given(mutation=_mutations())
def test_the_reader_takes_nothing_that_the_schema_refuses(path: Path, mutation: Callable[[Any], None]) -> None:
    """However a document is changed: what the reader takes is valid by the schema, key by key and type by type."""
    document = copy.deepcopy(_as_json(path.read_text()))
    mutation(document)
    if not problems(yaml.safe_dump(document)):
        assert is_valid(SCHEMA, document), document


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=60)
@given(mutation=_mutations())
def test_the_reader_tells_all_keys_that_the_schema_refuses(path: Path, mutation: Callable[[Any], None]) -> None:
    """The other way: an unknown or missing key is a problem for both."""
    document = copy.deepcopy(_as_json(path.read_text()))
    mutation(document)
    if not is_valid(SCHEMA, document):
        assert problems(yaml.safe_dump(document)), document
