"""Who we are, the way in, the tokens: what is required, and what is said where it is missing."""

from support.yaml_text import GOOD, told

from proxy.config.sections import FILES_EXAMPLE


def test_the_first_file_of_a_person() -> None:
    """A nearly empty file: everything that is needed, with lines to write."""
    lines = told("service: orders\n")
    assert lines == [
        "F:1: trust_domain: is missing; write trust_domain: example.org",
        f"F:1: identity: is missing; write identity: {{{FILES_EXAMPLE}}}, or set SPIFFE_ENDPOINT_SOCKET for an agent",
        "F:1: there is nothing to do: write inbound:, outbound: or both",
    ]


def test_what_is_missing_below() -> None:
    """Sections tell their own."""
    text = "service: a\ntrust_domain: example.org\nidentity: {}\ninbound: {}\noutbound: {}\ntokens: {service: {}}\npolicy: [{}]\n"
    assert [line.partition(" is missing; write ")[::2] for line in told(text)] == [
        ("F:3: identity.files:", f"{FILES_EXAMPLE}, or set SPIFFE_ENDPOINT_SOCKET"),
        ("F:4: inbound.app:", "app: http://127.0.0.1:8080"),
        (
            "F:5: outbound.destinations:",
            (
                "destinations: [{host: ledger, address: 'ledger.default.svc:15006', spiffe_id: ...}], "
                "or tcp: [{listen: 127.0.0.1:15432, host: 'db:5432', address: ..., spiffe_id: ...}]"
            ),
        ),
        ("F:6: tokens.service.url:", "url: https://tts.default.svc/token"),
        ("F:6: tokens.service.spiffe_id:", "spiffe_id: spiffe://example.org/tts"),
        ("F:6: tokens.keys:", "keys: https://tts.default.svc/jwks (or the path of a JWK Set)"),
        ("F:7: policy[0].name:", "name: edge may order"),
    ]


def test_service_names() -> None:
    """They stand in logs and metrics, so they are words, and not endless."""
    for name, good in (("a" * 253, True), ("a" * 254, False), ("a b", False), ("ü", False), ("'{}'", False)):
        assert (not told(GOOD.replace("service: orders", f"service: {name}"))) is good
