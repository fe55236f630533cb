"""The command line: verbs, where words go, exit codes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.ports import refused_port
from support.yaml_text import CONFIG, GOOD, OUTBOUND, WHO

from proxy import __version__
from proxy.cli import FAILED, OK, USAGE, main
from proxy.config.schema import json_schema

HEAVY = (
    "asyncio",
    "ssl",
    "yaml",
    "cryptography",
    "uvloop",
    "aiofastnet",
    "prometheus_client",
    "proxy.config",
    "proxy.app",
)


def _svidecar(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "proxy", *arguments], capture_output=True, text=True, check=False, timeout=30
    )


def _config(folder: Path, text: str) -> str:
    (folder / "c.yaml").write_text(text)
    return str(folder / "c.yaml")


def _usage(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert isinstance(caught.value.code, int)
    return caught.value.code


def test_python_dash_m_is_the_command() -> None:
    """``python -m proxy`` gives the exit code too."""
    found = _svidecar("version")
    assert (found.returncode, found.stdout, found.stderr) == (OK, f"svidecar {__version__}\n", "")
    assert _svidecar("check", "--config", "/nowhere.yaml").returncode == USAGE


def test_without_a_verb_it_says_what_there_is() -> None:
    """All verbs and where to begin, as an error: a script that forgot the verb must not go on."""
    found = _svidecar()
    assert (found.returncode, found.stdout) == (USAGE, "")
    assert "begin here" in found.stderr
    assert "svidecar demo" in found.stderr


def test_a_worker_loads_nothing_that_it_does_not_need() -> None:
    """Each costs every pod 0.2 to 2.6 MB: what writes metrics is ours, and names of characters are for no one."""
    needless = ("prometheus_client", "http.client", "http.server", "urllib.request", "html.entities", "difflib", "jwt")
    script = f"import sys, proxy.app, proxy.supervisor.worker; print([n for n in {needless!r} if n in sys.modules])"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30)
    assert found.stdout == "[]\n"


def test_version_loads_nothing_heavy() -> None:
    """It is asked by scripts, often; half of the start of the others is imports."""
    script = f"import sys, proxy.cli; proxy.cli.main(['version']); print([n for n in {HEAVY!r} if n in sys.modules])"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30)
    assert found.stdout.splitlines()[-1] == "[]"


def test_version_as_data(capsys: pytest.CaptureFixture[str]) -> None:
    """With what it runs on."""
    assert main(["version", "--json"]) == OK
    assert json.loads(capsys.readouterr().out).keys() == {"svidecar", "python", "openssl"}


def test_help_tells_the_verbs_and_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    """What a script needs to know."""
    assert _usage("--help") == OK
    words = capsys.readouterr().out
    for verb in ("demo", "run", "check", "config", "authority", "wait", "version"):
        assert f"\n    {verb}" in words
    for line in ("0  done", "1  refused or failed", "2  usage"):
        assert line in words


@pytest.mark.parametrize("verb", ["demo", "run", "check", "config", "authority", "wait", "version"])
def test_each_verb_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With a sentence."""
    assert _usage(verb, "--help") == OK
    assert capsys.readouterr().out.startswith(f"usage: svidecar {verb} ")


@pytest.mark.parametrize(
    "arguments",
    [
        ["rum"],
        ["run"],
        ["check"],
        ["check", "--config"],
        ["config"],
        ["version", "--bad"],
        ["authority", "--dir", "x"],
    ],
)
def test_usage_errors(arguments: list[str]) -> None:
    """Exit code 2, for whatever cannot be understood."""
    assert _usage(*arguments) == USAGE


def test_check_says_what_it_would_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Words on stdout, warnings on stderr as compilers write them, 0."""
    config = _config(tmp_path, GOOD)
    assert main(["check", "--config", config]) == OK
    out, err = capsys.readouterr()
    assert out.startswith(f"{config} is valid. A sidecar with it:\n  service orders of trust domain example.org\n")
    assert err.startswith(f"{config}:3: warning: identity.files: the identity would not load now: there is no file")


@pytest.mark.parametrize("verb", ["check", "run"])
def test_problems_are_told_a_line_each(verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On stderr, all of them, and 1; nothing on stdout, and nothing is run."""
    config = _config(tmp_path, GOOD.replace("ledger.default.svc:15006", "ledger") + "foo: 1\n")
    assert main([verb, "--config", config]) == FAILED
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split(": ")[:2] for line in err.splitlines()] == [
        [f"{config}:13", "outbound.destinations[0].address"],
        [f"{config}:14", "foo"],
    ]


@pytest.mark.parametrize("verb", ["check", "run"])
def test_a_missing_file_is_a_usage_error(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says which path was tried, from the root, and what to do."""
    monkeypatch.chdir(tmp_path)
    assert main([verb, "--config", "no.yaml"]) == USAGE
    assert capsys.readouterr().err == (
        f"{tmp_path}/no.yaml: there is no such file: give the path of the YAML, or start from an example in config/\n"
    )


def test_check_as_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same keys whether it is valid, refused, or not there; and the same exit codes."""
    results = {}
    for name, config in (
        ("good", _config(tmp_path, GOOD)),
        ("missing", "/nowhere.yaml"),
    ):
        code = main(["check", "--json", "--config", config])
        results[name] = (code, json.loads(capsys.readouterr().out))
    code = main(["check", "--json", "--config", _config(tmp_path, WHO)])
    results["bad"] = (code, json.loads(capsys.readouterr().out))
    for _, data in results.values():
        assert data.keys() == {"valid", "problems", "warnings", "summary"}
    assert {name: (code, data["valid"]) for name, (code, data) in results.items()} == {
        "good": (OK, True),
        "missing": (USAGE, False),
        "bad": (FAILED, False),
    }
    assert results["bad"][1]["problems"] == [
        {"path": "", "line": 1, "message": "there is nothing to do: write inbound:, outbound: or both"}
    ]


def test_check_takes_the_environment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one of the process."""
    config = _config(tmp_path, (WHO + OUTBOUND).replace("service: orders", "service: ${SVIDECAR_TEST_NAME}"))
    monkeypatch.delenv("SVIDECAR_TEST_NAME", raising=False)
    assert main(["check", "--config", config]) == FAILED
    assert "SVIDECAR_TEST_NAME is not set" in capsys.readouterr().err
    monkeypatch.setenv("SVIDECAR_TEST_NAME", "billing")
    assert main(["check", "--config", config]) == OK
    assert "service billing of" in capsys.readouterr().out


def test_config_schema(capsys: pytest.CaptureFixture[str]) -> None:
    """It can be saved for an editor."""
    assert main(["config", "schema"]) == OK
    assert json.loads(capsys.readouterr().out) == json_schema()


def test_an_output_that_is_full() -> None:
    """Said, and no success."""
    with Path("/dev/full").open("wb") as full:
        found = subprocess.run(
            [sys.executable, "-m", "proxy", "version"], stdout=full, stderr=subprocess.PIPE, check=False, timeout=30
        )
    assert (found.returncode, found.stderr) == (
        FAILED,
        b"svidecar: the output cannot be written: No space left on device\n",
    )


def test_a_reader_that_has_seen_enough() -> None:
    """``svidecar config schema | head -1`` ends without a traceback."""
    command = f"{sys.executable} -m proxy config schema | head -1"
    found = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True, timeout=30)
    assert (found.stdout, found.stderr) == ("{\n", "")


def test_wait_passes_its_options_on(capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody listens there: 1 at once; a timeout that is none: 2."""
    with refused_port() as port:
        url = f"http://127.0.0.1:{port}/healthz/ready"
        assert main(["wait", "--url", url, "--timeout", "0"]) == FAILED
    assert "not ready" in capsys.readouterr().err
    assert _usage("wait", "--timeout", "-1") == USAGE


@pytest.mark.parametrize("name", ["minimal.yaml", "orders.yaml", "egress-only.yaml", "sidecar.yaml"])
def test_the_examples_pass_check(name: str) -> None:
    """What the README tells a new person to type."""
    found = _svidecar("check", "--config", str(CONFIG / name))
    assert found.returncode == OK
    assert "warning: identity.files" in found.stderr
