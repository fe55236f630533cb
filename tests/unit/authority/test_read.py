"""The options and the YAML of an authority."""

from pathlib import Path

import pytest

from proxy.authority.read import SettingsInvalid, read_settings
from proxy.authority.settings import AuthoritySettings, WorkloadSettings

STATE = Path("state")

WHOLE = """
listen: 0.0.0.0:9443
svid_lifetime_s: 600
token_lifetime_s: 60
workloads:
  - name: edge
    scopes: [orders.read, orders.write]
    subjects: ["user:*", spiffe://example.org/batch]
    context: true
  - name: ns/shop/orders
"""


def read(document: str = "", **options: object) -> AuthoritySettings:
    """Read it for example.org."""
    return read_settings("example.org", STATE, document=document, **options)  # type: ignore[arg-type]


def errors(document: str = "", trust_domain: str = "example.org", **options: object) -> list[str]:
    """Every error, as it is told."""
    with pytest.raises(SettingsInvalid) as caught:
        read_settings(trust_domain, STATE, document=document, **options)  # type: ignore[arg-type]
    return [f"{where}: {what}" for where, what in caught.value.errors]


def test_options_alone() -> None:
    """The two that are required, and the defaults."""
    assert read() == AuthoritySettings(trust_domain="example.org", state=STATE, host="127.0.0.1", port=8443)


def test_the_whole_file() -> None:
    """Every key."""
    assert read(WHOLE) == AuthoritySettings(
        trust_domain="example.org",
        state=STATE,
        host="0.0.0.0",
        port=9443,
        svid_lifetime_s=600,
        token_lifetime_s=60,
        workloads=(
            WorkloadSettings(
                name="edge",
                scopes=("orders.read", "orders.write"),
                subjects=("user:*", "spiffe://example.org/batch"),
                context=True,
            ),
            WorkloadSettings(name="ns/shop/orders"),
        ),
    )


def test_the_example_is_valid() -> None:
    """What a reader copies works."""
    example = Path(__file__).resolve().parents[3] / "config" / "authority" / "authority.yaml"
    assert [workload.name for workload in read(example.read_text()).workloads] == ["edge", "orders", "ledger"]


def test_options_and_file_together() -> None:
    """--listen wins; workloads add up."""
    settings = read(WHOLE, listen="[::1]:0", workloads=["ledger", "web=a,b.c"])
    assert (settings.host, settings.port) == ("::1", 0)
    assert settings.workloads[:2] == (
        WorkloadSettings(name="ledger"),
        WorkloadSettings(name="web", scopes=("a", "b.c")),
    )
    assert len(settings.workloads) == 4


@pytest.mark.parametrize("document", ["", "# nothing\n", "{}", "workloads: []"])
def test_an_empty_file(document: str) -> None:
    """Is a file with the defaults."""
    assert read(document).workloads == ()


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("listen: [", "line 1: not YAML"),
        ("a: b\na: c", "line 1: not YAML: a key stands twice"),
        ("- a", "the file: must be a mapping"),
        ("text", "the file: must be a mapping"),
        ("workload: []", "the file: workload: is not known"),
        ("? [a]\n: b", "not YAML"),
        ("7: b", "the file: 7: is not known"),
        ("!!python/object/apply:os.system [true]", "not YAML"),
        ("listen: 8443", "listen: must be ADDRESS:PORT"),
        ("listen: localhost:8443", "listen: must be ADDRESS:PORT"),
        ("listen: 127.0.0.1", "listen: must be ADDRESS:PORT"),
        ("listen: 127.0.0.1:65536", "listen: must be ADDRESS:PORT"),
        ("listen: 999.0.0.1:1", "listen: must be ADDRESS:PORT"),
        ("listen: ::1:8443", "listen: must be ADDRESS:PORT"),
        ("svid_lifetime_s: 3", "svid_lifetime_s: must be a whole number of seconds from 4 to 604800"),
        ("svid_lifetime_s: 604801", "svid_lifetime_s: must be"),
        ("svid_lifetime_s: '60'", "svid_lifetime_s: must be"),
        ("svid_lifetime_s: true", "svid_lifetime_s: must be"),
        ("svid_lifetime_s: 60.0", "svid_lifetime_s: must be"),
        ("token_lifetime_s: 0", "token_lifetime_s: must be a whole number of seconds from 1 to 3600"),
        ("token_lifetime_s: 3601", "token_lifetime_s: must be"),
        ("workloads: edge", "workloads: must be a list"),
        ("workloads: [edge]", "workloads[0]: must be a mapping"),
        ("workloads: [{}]", "workloads[0]: the name must be the path of a SPIFFE ID"),
        ("workloads: [{name: 7}]", "workloads[0].name: must be a text"),
        (
            "workloads: [{name: a, scope: [b]}]",
            "workloads[0]: scope: is not known; there are context, federates_with, issuers, name, replaces, scopes, selectors, subjects, svids",
        ),
        ("workloads: [{name: a, scopes: b}]", "workloads[0].scopes: must be a list of texts"),
        ("workloads: [{name: a, scopes: [1]}]", "workloads[0].scopes: must be a list of texts"),
        ("workloads: [{name: a, scopes: ['b c']}]", "a scope is empty, or has a blank"),
        ("workloads: [{name: a, scopes: [b, b]}]", "a scope stands twice"),
        ("workloads: [{name: a, subjects: ['']}]", "a subject is empty"),
        ("workloads: [{name: a, subjects: ['*x']}]", "* may stand at the end alone"),
        ("workloads: [{name: a, context: 1}]", "workloads[0].context: must be true or false"),
        ("workloads: [{name: a}, {name: a}]", "workloads[1]: the name a stands twice"),
        ("workloads: [{name: tts}]", "workloads[0]: the name tts is the authority itself"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(document: str, message: str) -> None:
    """And what would be right."""
    assert any(message in error for error in errors(document)), errors(document)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/a",
        "a/",
        "a//b",
        "..",
        "a/../b",
        ".",
        "a b",
        "a%2fb",
        "é",
        "a\n",
        "svid.pem",
        "a/svid_key.pem",
        "a:b",
        "a*",
    ],
)
def test_a_name_is_a_path_inside_the_state(name: str) -> None:
    """No name leaves its folder, or hides in another's files."""
    assert errors(workloads=[name])


@pytest.mark.parametrize("trust_domain", ["", "Example.org", "example.org/x", "spiffe://example.org", "a b"])
def test_the_trust_domain(trust_domain: str) -> None:
    """The bare name; and a bad one does not blame the workloads."""
    (error,) = errors(trust_domain=trust_domain, workloads=["edge"])
    assert error.startswith("--trust-domain: ")


def test_every_error_at_once() -> None:
    """Nobody mends one to be told the next."""
    found = errors("listen: x\nsvid_lifetime_s: 0\nfoo: 1\nworkloads: [{name: a b}]", workloads=["c=d,", "e=f g"])
    assert len(found) == 6


FEDERATION = "federation: [{trust_domain: other.org, url: 'https://o/'}]\n"
SELECTED = "workloads: [{name: a, selectors: ['unix:uid:1'], federates_with: [other.org]}]"


def test_whose_bundles_a_workload_gets() -> None:
    """All, some or none; only of a federated domain, and only where there is a Workload API to get them by."""
    for written, expected in (("[other.org]", frozenset({"other.org"})), ("[]", frozenset())):
        document = FEDERATION + SELECTED.replace("[other.org]", written)
        assert read_settings("example.org", Path("state"), document=document).workloads[0].federates_with == expected
    without = SELECTED.replace(", federates_with: [other.org]", "")
    assert read_settings("example.org", Path("state"), document=without).workloads[0].federates_with is None
    assert errors(SELECTED) == ["workload a: federates_with names a trust domain that is not in federation"]
    (error,) = errors(FEDERATION + SELECTED.replace("selectors: ['unix:uid:1'], ", ""))
    assert error == "workload a: federates_with is for workloads with selectors; remove it"
    assert errors(FEDERATION + SELECTED.replace("[other.org]", "other.org"))


ISSUER = "{issuer: https://i, keys: jwks.json, audience: a, types: [access_token], prefix: 'user:'"


def test_issuers() -> None:
    """Each with its rules; a workload names those whose tokens it may bring."""
    document = f"issuers: [{ISSUER}, scopes: {{orders: [a, b]}}}}]\nworkloads: [{{name: a, issuers: ['https://i']}}]"
    settings = read_settings("example.org", Path("state"), document=document)
    (issuer,) = settings.issuers
    assert (issuer.keys, issuer.rules.prefix) == ("jwks.json", "user:")
    assert issuer.rules.scopes["orders"] == {"a", "b"}
    assert settings.workloads[0].issuers == ("https://i",)


@pytest.mark.parametrize(
    "document",
    [
        "issuers: {}",
        "issuers: [x]",
        f"issuers: [{ISSUER}, more: 1}}]",
        f"issuers: [{ISSUER}}}, {ISSUER}}}]",
        f"issuers: [{ISSUER}}}, {ISSUER.replace('https://i,', 'https://j,')}}}]",  # the same prefix
        f"issuers: [{ISSUER}}}, {ISSUER.replace('https://i,', 'https://j,').replace('user:', 'user:x')}}}]",
        f"issuers: [{ISSUER.replace('jwks.json', 'http://i/jwks')}}}]",
        f"issuers: [{ISSUER.replace('access_token', 'refresh_token')}}}]",
        f"issuers: [{ISSUER.replace('access_token', 'txn_token')}}}]",
        f"issuers: [{ISSUER.replace('[access_token]', '[]')}}}]",
        f"issuers: [{ISSUER.replace(chr(39) + 'user:' + chr(39), chr(39) * 2)}}}]",
        f"issuers: [{ISSUER}, plain_typ: 1}}]",
        f"issuers: [{ISSUER}, always: orders}}]",
        f"issuers: [{ISSUER}, scopes: {{orders: orders}}}}]",
        "workloads: [{name: a, issuers: ['https://i']}]",
        "workloads: [{name: a, replaces: 1}]",
    ],
)
def test_issuers_that_are_refused(document: str) -> None:
    """Default deny begins with what is written."""
    with pytest.raises(SettingsInvalid):
        read_settings("example.org", Path("state"), document=document)
