"""A file -> Settings."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.yaml_text import DESIGN, EXAMPLES, GOOD, only, settings, told

from proxy.config.compose import MAX_BYTES
from proxy.config.load import load, load_with_lines
from proxy.config.problem import ConfigInvalid, ConfigUnreadable


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_loads(path: Path) -> None:
    """As it is, without a variable set."""
    assert load(path, {}).service


def test_there_are_examples() -> None:
    """The ones that the README and the help name."""
    assert {path.name for path in EXAMPLES} >= {"minimal.yaml", "sidecar.yaml", "orders.yaml", "egress-only.yaml"}


def test_the_example_follows_its_variables(tmp_path: Path) -> None:
    """orders.yaml takes its folder from the environment."""
    path = next(path for path in EXAMPLES if path.name == "orders.yaml")
    files = load(path, {"SVID_DIR": str(tmp_path)}).identity.files
    assert files is not None
    assert files.svid == tmp_path / "svid.pem"


def test_the_design_says_the_source_and_the_environment_where_it_is() -> None:
    """The design's own YAML, letter by letter."""
    assert only(DESIGN).startswith("F:4: identity.workload_api.socket: is missing; write workload_api: {socket: unix:")
    api = settings(DESIGN, {"SPIFFE_ENDPOINT_SOCKET": "unix:///run/api.sock"}).identity.workload_api
    assert api is not None
    assert (api.socket, api.hint) == ("unix:///run/api.sock", "")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """It says what to do."""
    with pytest.raises(ConfigUnreadable, match="there is no such file: give the path of the YAML"):
        load(tmp_path / "no.yaml", {})


def test_a_folder(tmp_path: Path) -> None:
    """It is told apart from a missing file."""
    with pytest.raises(ConfigUnreadable, match="this is a folder: give the path of the YAML file in it"):
        load(tmp_path, {})


def test_a_path_through_a_file(tmp_path: Path) -> None:
    """Whatever else the system says."""
    (tmp_path / "a").write_text("")
    with pytest.raises(ConfigUnreadable, match="it cannot be read: Not a directory"):
        load(tmp_path / "a" / "b.yaml", {})


def test_relative_paths_begin_at_the_folder_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not at the folder in which the command was given."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "c.yaml").write_text(GOOD)
    monkeypatch.chdir(tmp_path)
    files = load(Path("etc/c.yaml"), {}).identity.files
    assert files is not None
    assert files.svid == tmp_path / "etc" / "svid.pem"


def test_a_link_begins_where_it_stands(tmp_path: Path) -> None:
    """A Kubernetes volume is links through ..data: the files beside the link are meant, not those beside its target."""
    (tmp_path / "..data").mkdir()
    (tmp_path / "..data" / "c.yaml").write_text(GOOD)
    (tmp_path / "c.yaml").symlink_to("..data/c.yaml")
    files = load(tmp_path / "c.yaml", {}).identity.files
    assert files is not None
    assert files.svid == tmp_path / "svid.pem"


def test_content_is_refused_with_its_problems(tmp_path: Path) -> None:
    """Not UTF-8, empty, too large: a problem of the content, not of the call."""
    path = tmp_path / "c.yaml"
    for raw in (b"\xff", b"", b"#" * (MAX_BYTES + 1)):
        path.write_bytes(raw)
        with pytest.raises(ConfigInvalid) as caught:
            load(path, {})
        assert not isinstance(caught.value, ConfigUnreadable)
        assert len(caught.value.problems) == 1


def test_an_endless_file_ends() -> None:
    """No more is read than the limit."""
    with pytest.raises(ConfigInvalid, match="larger than"):
        load(Path("/dev/zero"), {})


def test_windows_line_ends(tmp_path: Path) -> None:
    """As Notepad writes it, with its mark."""
    path = tmp_path / "c.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert load(path, {}).service == "orders"


def test_lines_are_known_afterwards(tmp_path: Path) -> None:
    """For warnings, which come when all is good."""
    path = tmp_path / "c.yaml"
    path.write_text(GOOD)
    assert load_with_lines(path, {}).lines["outbound.destinations[0].address"] == 13


def test_two_readings_are_equal() -> None:
    """A reload that changes nothing is seen to change nothing."""
    assert settings() == settings()


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 12), st.text(max_size=6))
def test_any_slip_is_a_problem_or_harmless(at: int, cut: int, new: str) -> None:
    """Characters lost or put in anywhere: Settings, or problems each with a line; never anything else."""
    assert all(line.isprintable() for line in told(GOOD[:at] + new + GOOD[at + cut :]))
