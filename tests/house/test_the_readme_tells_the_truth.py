"""README.md and its pages are held to the code: their tables are those that it would write, what they name is there.

Where a table differs, the failing test shows the line to put in.
"""

import argparse
import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.yaml_text import problems

from proxy.admin.health import Gate
from proxy.cli.options import parser
from proxy.config.schema import SIDECAR
from proxy.config.shape import Key, ListOf, Record, Section, default_of
from proxy.config.value import Value
from proxy.demo.cases import CASES
from proxy.errors import REASONS
from proxy.flow.rescue import CONNECTION_ONLY, RESCUES
from proxy.observe.table import TABLE
from proxy.supervisor.reload import LIVE

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("config", "proxy", "tests", "loadtest")
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text()
    for path in (ROOT / "README.md", *(page for folder in FOLDERS for page in sorted((ROOT / folder).rglob("*.md"))))
}
"""Every page, under its path."""


def chapter(page: str, title: str) -> str:
    """Give the text under a heading of a page, up to the next one of the same level."""
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGES[page], re.MULTILINE | re.DOTALL)
    assert found is not None, f"{page} has no chapter {title}"
    return found[1]


def rows(text: str) -> list[str]:
    """Give the rows of the tables whose first cell is code."""
    return [line for line in text.splitlines() if line.startswith("| `")]


def blocks(language: str) -> list[str]:
    """Give the code blocks of one language on all pages."""
    return [
        block
        for text in PAGES.values()
        for block in re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    ]


# ---- configuration


def keys(kind: Any, above: str = "") -> Iterator[tuple[str, Key]]:
    """Give every key of the YAML with its path; ``[]`` stands for each item of a list."""
    if isinstance(kind, ListOf):
        yield from keys(kind.item, f"{above}[]")
    elif isinstance(kind, Section | Record):
        for key in kind.keys:
            path = f"{above}.{key.name}" if above else key.name
            yield path, key
            yield from keys(key.kind, path)


def words(kind: Any) -> list[str]:
    """Give the words that a key may hold, where they are fixed."""
    kind = kind.item if isinstance(kind, ListOf) else kind
    found = (
        [str(word) for word in kind.json.get("enum", ()) if isinstance(word, str)] if isinstance(kind, Value) else []
    )
    return found if len(found) > 1 else []


def default(key: Key) -> str:
    """Write the default, and the bounds or the words where there are some."""
    kind = key.kind
    value = default_of(*key.into) if key.into and isinstance(kind, Value) else None
    if key.required:
        told = "required"
    elif key.fallback:
        told = f"`{key.fallback}`" if isinstance(kind, Value) and " " not in key.fallback else key.fallback
    else:
        told = f"`{kind.written(value)}`" if value is not None and isinstance(kind, Value) else ""
    if isinstance(kind, Value) and kind.bounds is not None:
        low, high = (kind.written(bound) for bound in kind.bounds)
        told += f" ({low} to {high})"
    if words(kind):
        told += f" ({', '.join(words(kind))})"
    return told


def test_every_key_of_the_yaml() -> None:
    """Path, default, bounds and meaning of each, in the order of the schema; and no key that is not there."""
    expected = [f"| `{path}` | {default(key)} | {key.about} |" for path, key in keys(SIDECAR)]
    assert len(expected) > 60
    assert rows(chapter("config/README.md", "Every key")) == expected


def test_the_example_is_a_configuration() -> None:
    """The YAML blocks of a sidecar load, and the one that claims to be a file is that file."""
    assert f"```yaml\n{(ROOT / 'config/orders.yaml').read_text()}```\n" in chapter("README.md", "In a pod")
    examples = [block for block in blocks("yaml") if "trust_domain:" in block]
    assert examples
    for example in examples:
        assert not problems(example, {"SVID_DIR": "/run/spiffe"})


def test_what_a_reload_takes() -> None:
    """The keys that change without a restart."""
    assert {"policy", "destinations", "tcp"} == LIVE
    told = " ".join(chapter("config/README.md", "Reload").split())
    assert "`policy`, `allow_ambiguous`, `outbound.destinations` (and `environment`) are taken" in told
    assert "Ports of `outbound.tcp` come and go, and lead elsewhere" in told


# ---- reasons, metrics, verbs


def meaning(error: type[Exception]) -> str:
    """Give the docstring of a reason on one line, without what it says to those who have the specs."""
    return re.sub(r" \(specs [^)]*\)", "", " ".join((error.__doc__ or "").split()))


def test_every_reason() -> None:
    """Each with its status, or with the end of the connection, and its meaning; and no reason that is not there."""
    table = {row.split(" | ")[0].strip("| `"): row for row in rows(PAGES["proxy/errors/README.md"])}
    assert list(table) == list(REASONS)
    for reason, error in REASONS.items():
        status = "-" if reason in CONNECTION_ONLY else str(RESCUES[reason].status)
        beginning = f"| `{reason}` | {status} | {meaning(error)} | "
        assert table[reason].startswith(beginning), f"write: {beginning}..."
        assert len(table[reason]) > len(beginning) + len("? |"), f"{reason}: what is to be done?"


def test_every_metric() -> None:
    """Name, kind, labels and help of each; and no metric that is not there."""
    expected = [
        f"| `{metric.name}` | {metric.kind} | "
        f"{', '.join([*metric.labels, *(name for name, _ in metric.constants)])} | {metric.help} |"
        for metric in TABLE
    ]
    assert rows(chapter("proxy/observe/README.md", "Metrics")) == expected


def verbs(of: argparse.ArgumentParser, above: str = "svidecar") -> Iterator[str]:
    """Give every verb of the command line."""
    for action in of._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                found = list(verbs(below, f"{above} {name}"))
                yield from found or [f"{above} {name}"]


def test_every_verb() -> None:
    """Each stands in the chapter of the command line, in the order of ``--help``."""
    expected = list(verbs(parser()))
    assert "svidecar config schema" in expected
    assert [
        " ".join(row.split("`")[1].split()[: len(verb.split())])
        for row, verb in zip(rows(chapter("README.md", "Verbs")), expected, strict=True)
    ] == expected


@pytest.mark.parametrize("port", ["15000", "15001", "15006", "15020", "15021"])
def test_every_port(port: str) -> None:
    """Each stands in the table of ports."""
    assert f"| {port} |" in chapter("README.md", "In a pod")


def test_every_part_that_is_not_ours() -> None:
    """What is installed with us stands in the table of parts, and nothing else."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    installed = {
        re.split(r"[^\w-]", each)[0] for each in (*project["dependencies"], *project["optional-dependencies"]["when"])
    }
    told = re.findall(r"^\| (?!part |---)([\w-]+) \|", chapter("README.md", "Parts"), re.MULTILINE)
    assert sorted(told) == sorted(installed)


# ---- what is named is there


def test_files_that_are_named() -> None:
    """A path of this project on a page is one."""
    text = "".join(PAGES.values())
    named = set(re.findall(r"(?<![/.\w-])(?:proxy|tests|config|loadtest)/[A-Za-z0-9_./-]*[A-Za-z0-9_]", text))
    assert any(name.startswith("tests/e2e/") for name in named)
    assert sorted(name for name in named if not (ROOT / name).exists()) == []


def anchors(text: str) -> set[str]:
    """Give what a link may name after ``#``: the headings, in lower case, with hyphens for blanks and without signs."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page: str) -> list[tuple[str, str]]:
    """Give the links of a page to others and to itself: the path from the root, and the anchor."""
    found = re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)", PAGES[page])
    folder = (ROOT / page).parent
    return [
        ((folder / path).resolve().relative_to(ROOT).as_posix() if path else page, anchor) for path, anchor in found
    ]


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    """To a file of this project, and where it names a heading, to one that is there."""
    broken = [
        f"{path}#{anchor}"
        for path, anchor in links(page)
        if not (ROOT / path).is_file() or (anchor and anchor not in anchors(PAGES[path]))
    ]
    assert broken == []


def test_every_page_is_found_from_the_first() -> None:
    """The list in README.md has each of them; results of measurements are found from loadtest."""
    listed = {path for path, _ in re.findall(r"\]\(([^)#]+)(#[^)]*)?\)", chapter("README.md", "Further pages"))}
    assert listed == {page for page in PAGES if page.endswith("/README.md")}


def claim(path: Path) -> str:
    """Give the first line of a file's docstring, as the page says it: without where it stands in specs and laws."""
    docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
    plain = re.sub(r" \((?:laws?|specs) [^)]*\)", "", docstring.splitlines()[0])
    return plain.replace("``", "`")


def test_every_claim_has_its_test_and_every_test_its_claim() -> None:
    """The end-to-end files are the claims: each stands in their page, in its own words."""
    files = sorted((ROOT / "tests/e2e").glob("test_*.py"))
    assert len(files) > 10
    assert rows(PAGES["tests/e2e/README.md"]) == [f"| `tests/e2e/{path.name}` | {claim(path)} |" for path in files]


def test_nothing_is_promised_by_verbs_that_are_not_there() -> None:
    """A command line in a block of the shell uses a verb that exists."""
    known = {verb.split()[1] for verb in verbs(parser())}
    used = {word for block in blocks("sh") for word in re.findall(r"\bsvidecar ([a-z]+)", block)}
    assert used
    assert used <= known


def test_gates_of_readiness() -> None:
    """Each gate that a probe may name stands in README."""
    for gate in Gate:
        assert f"`{gate}`" in chapter("README.md", "In a pod"), gate


def test_the_number_of_cases_of_the_demo() -> None:
    """What README shows is the demo as it is."""
    printed = chapter("README.md", "What the demo shows")
    assert f"All {len(CASES)} cases ended as they should." in printed
    for case in CASES:
        assert f"  {case.name} " in printed, case.name


# ---- the table of outside cases


def cases() -> Iterator[tuple[str, list[int]]]:
    """Give each row: its folders, and its numbers: cases, as published, otherwise, not applicable."""
    for line in PAGES["tests/README.md"].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if len(cells) == 7 and cells[2].isdigit():
            yield cells[0], [int(cell) for cell in cells[2:6]]


def test_the_outside_cases_add_up() -> None:
    """No case is lost between the columns."""
    found = list(cases())
    assert len(found) > 20
    assert [row for row in found if row[1][0] != sum(row[1][1:])] == []


@pytest.mark.shared
def test_every_outside_folder_has_a_row(shared_testdata: Path) -> None:
    """And no row is about a folder that is not there."""
    told = {folder for folders, _ in cases() for folder in re.findall(r"`([^`]+)`", folders)}
    assert told == {path.name for path in shared_testdata.iterdir() if path.is_dir()}
