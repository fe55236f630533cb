"""Which source our identity comes from: what is written wins, and else the environment says."""

import pytest
from support.yaml_text import GOOD, only, settings, told

WRITTEN = "identity: {files: {svid: svid.pem, key: svid_key.pem, bundle: svid_bundle.pem}}"
SOCKET = "unix:///run/agent/api.sock"
AGENT = {"SPIFFE_ENDPOINT_SOCKET": SOCKET}


def with_identity(text: str) -> str:
    """GOOD with another section ``identity``, or none."""
    lines = GOOD.splitlines()
    kept = [line for line in lines if not line.startswith("identity:")]
    assert len(kept) == len(lines) - 1
    return "\n".join([*kept, text, ""])


def test_the_environment_alone() -> None:
    """A YAML without a word about identity takes the agent that the platform names."""
    identity = settings(with_identity(""), AGENT).identity
    assert identity.files is None
    assert identity.workload_api is not None
    assert identity.workload_api.socket == SOCKET


@pytest.mark.parametrize(
    "text",
    [
        "identity: {source: workload_api}",
        "identity: {workload_api: {hint: internal}}",
        "identity: {}",
    ],
)
def test_the_environment_fills_in_the_socket(text: str) -> None:
    """It is the fallback for an agent's address."""
    api = settings(with_identity(text), AGENT).identity.workload_api
    assert api is not None
    assert api.socket == SOCKET


def test_what_is_written_wins() -> None:
    """Over the environment, as the standard demands."""
    assert settings(GOOD, AGENT).identity.files is not None
    api = settings(with_identity("identity: {workload_api: {socket: 'tcp://127.0.0.1:8000'}}"), AGENT).identity
    assert api.workload_api is not None
    assert api.workload_api.socket == "tcp://127.0.0.1:8000"


def test_both_are_written() -> None:
    """The source must say which one; then the other is no obstacle."""
    both = "identity: {%s files: {svid: a, key: b, bundle: c}, workload_api: {socket: 'unix:///run/agent/api.sock'}}"
    assert "both files and workload_api are written, so say which one" in only(with_identity(both % ""))
    assert settings(with_identity(both % "source: files,")).identity.workload_api is None
    assert settings(with_identity(both % "source: workload_api,")).identity.files is None


@pytest.mark.parametrize(
    ("text", "environ", "why"),
    [
        ("", {}, "identity: is missing; write identity: {files:"),
        ("", {"SPIFFE_ENDPOINT_SOCKET": ""}, "identity: is missing; write identity: {files:"),
        ("identity: {}", {}, "identity.files: is missing; write files:"),
        ("identity: {source: files}", AGENT, "identity.files: is missing; write files:"),
        ("identity: {source: workload_api}", {}, "identity.workload_api.socket: is missing; write workload_api:"),
        ("identity: {workload_api: {hint: a}}", {}, "identity.workload_api.socket: is missing; write workload_api:"),
        ("identity: {workload_api: {socket: /run/a}}", {}, "'/run/a' is refused: it must begin with unix:// or tcp://"),
        ("identity: {source: vault}", AGENT, "identity.source: 'vault' is not"),
        ("", {"SPIFFE_ENDPOINT_SOCKET": "run/a"}, "identity: the endpoint in SPIFFE_ENDPOINT_SOCKET must begin with"),
    ],
)
def test_what_is_refused(text: str, environ: dict[str, str], why: str) -> None:
    """With what to write."""
    lines = told(with_identity(text), environ)
    assert len(lines) == 1, lines
    assert why in lines[0]


def test_an_agent_says_whom_we_federate_with() -> None:
    """So an ID of a foreign domain in the policy is no mistake."""
    foreign = GOOD.replace("spiffe://example.org/edge", "spiffe://other.org/edge")
    assert "is of a trust domain without a bundle" in only(foreign)
    without = "\n".join(line for line in foreign.splitlines() if not line.startswith("identity:"))
    assert not told(without, AGENT)
