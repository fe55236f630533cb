"""A file -> Settings, or every reason why not."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from proxy.config.build import build
from proxy.config.compose import MAX_BYTES, compose, decode
from proxy.config.crosscheck import crosscheck
from proxy.config.document import Scalar, walk
from proxy.config.draft import Draft
from proxy.config.environment import expand
from proxy.config.problem import Bad, ConfigInvalid, ConfigUnreadable, Place, Problem, in_order
from proxy.config.schema import SIDECAR, homes
from proxy.config.settings import SidecarSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """Good settings, and the line of each path that is written."""

    settings: SidecarSettings
    lines: Mapping[str, int]


def load(path: Path, environ: Mapping[str, str]) -> SidecarSettings:
    """Read the file. Relative paths in it begin at its folder.

    Raises:
        ConfigUnreadable: there is no such file, or it cannot be read.
        ConfigInvalid: its content is refused, for every reason in ``.problems``.

    """
    return load_with_lines(path, environ).settings


def load_text(text: str, base_dir: Path, environ: Mapping[str, str]) -> SidecarSettings:
    """The same of a text.

    Raises:
        ConfigInvalid: it is refused, for every reason in ``.problems``.

    """
    return _load(text, base_dir, environ).settings


def load_with_lines(path: Path, environ: Mapping[str, str]) -> Loaded:
    """As ``load``, for who wants to point into the file."""
    return _load(decode(_read(path)), path.absolute().parent, environ)


def _load(text: str, base_dir: Path, environ: Mapping[str, str]) -> Loaded:
    root = Place("", [], homes())
    document = expand(compose(text, root), root, environ)
    written = list(walk(document, root))
    lines = {path: line for path, line, _ in written}
    expanded = {path: node for path, _, node in written if isinstance(node, Scalar) and node.variables}
    values = SIDECAR.read(document, root)
    if not isinstance(values, Bad):
        crosscheck(Draft(values=values, lines=lines, expanded=expanded, root=root, environ=environ))
    if isinstance(values, Bad) or root.problems:
        raise ConfigInvalid(in_order(root.problems))
    return Loaded(settings=build(values, base_dir, environ), lines=lines)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        why = "there is no such file: give the path of the YAML, or start from an example in config/"
    except IsADirectoryError:
        why = "this is a folder: give the path of the YAML file in it"
    except PermissionError:
        why = "this user may not read it: change its owner or mode"
    except OSError as error:
        why = f"it cannot be read: {error.strerror}"
    raise ConfigUnreadable([Problem(path="", line=None, message=why)])
