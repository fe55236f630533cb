"""A list of entries as bytes, JSON or YAML -> entries, or every reason why not. Never a part of it.

JSON is for programs: it is read at once. YAML is for people; a reader that knows the lines of it is given from outside.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from proxy.errors import RevocationsInvalid
from proxy.policy.revocation import Entry
from proxy.policy.revocation_text import InvalidEntry, read_entry
from proxy.tokens.encoding import read_json_object

MAX_BYTES: Final = 8 * 1024 * 1024
"""Ten thousand entries with their notes are 2 MB."""

MAX_TOLD: Final = 10
"""Problems in one line of log."""

Members = tuple[int | None, Mapping[str, object]]
"""One entry as it is written, with its line."""

ReadYaml = Callable[[bytes], Sequence[Members]]
"""Raises RevocationsInvalid, which tells the lines."""


Memory = dict[tuple[tuple[str, object], ...], Entry]
"""The entries of a list by what is written there, so that the next list need not be read where it says the same."""


def read_listing(
    raw: bytes, now: float, read_yaml: ReadYaml | None = None, memory: Memory | None = None
) -> tuple[Entry, ...]:
    """Read ``{revoked: [...]}``; ``memory`` is that of the list before, and afterwards of this one.

    Raises RevocationsInvalid, which tells of each entry that is wrong.
    """
    if len(raw) > MAX_BYTES:
        raise RevocationsInvalid(f"is larger than {MAX_BYTES} bytes")
    is_json = read_yaml is None or raw.lstrip()[:1] == b"{"
    members = _of_json(raw) if is_json or read_yaml is None else read_yaml(raw)
    known: Memory = {} if memory is None else memory
    entries: list[Entry] = []
    wrong: list[str] = []
    read: Memory = {}
    for index, (line, one) in enumerate(members):
        try:
            written = tuple(one.items()) if all(type(value) is str for value in one.values()) else ()
            entry = known.get(written) or read_entry(one, now)
            entries.append(entry)
            if written:
                read[written] = entry
        except InvalidEntry as error:
            wrong.append(f"{f'line {line}: ' if line is not None else ''}revoked[{index}] {error}")
    if wrong:
        more = f"; and {len(wrong) - MAX_TOLD} more" if len(wrong) > MAX_TOLD else ""
        raise RevocationsInvalid("; ".join(wrong[:MAX_TOLD]) + more)
    if memory is not None:
        memory.clear()
        memory.update(read)
    return tuple(entries)


def _of_json(raw: bytes) -> list[Members]:
    try:
        whole = read_json_object(raw)
    except json.JSONDecodeError as error:
        raise RevocationsInvalid(f"line {error.lineno}: is not JSON: {error.msg}") from None
    except ValueError as error:
        raise RevocationsInvalid(f"is not JSON, or can be read in two ways: {error}") from None
    found: Any = whole.get("revoked")
    if set(whole) != {"revoked"} or type(found) is not list or not all(type(one) is dict for one in found):
        raise RevocationsInvalid('is not {"revoked": [...]} with an object for each entry')
    return [(None, one) for one in found]
