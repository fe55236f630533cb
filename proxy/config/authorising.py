"""``authoriser:`` in the YAML: its keys, what they become, and what ``check`` says of them."""

from collections.abc import Iterator, Mapping
from typing import Any

from proxy.config.address import is_loopback, parse_url
from proxy.config.draft import Draft
from proxy.config.number import MINUTE, count, duration, write_duration
from proxy.config.shape import Key, ListOf, Record, Section
from proxy.config.value import Unfit, Value, choice, text
from proxy.config.word import endpoint, spiffe_id
from proxy.outside.settings import ExtAuthzSettings, Fail, OpaSettings, OutsideSettings
from proxy.workload_api.endpoint import parse_endpoint

_EXAMPLE = "http://127.0.0.1:8181/v1/data/mesh/allow"

_NEVER_SHOWN = frozenset({"txn-token", "authorization", "proxy-authorization", "cookie"})
"""Who has one of them can use it: an authoriser is told what they say, and never has them."""


def _data_url() -> Value[str]:
    def parse(raw: str) -> str:
        parse_url(raw)
        if "/v1/data/" not in raw:
            raise Unfit(f"is not the URL of a document of OPA: {_EXAMPLE}")
        return raw

    return Value(
        expected="the URL of a document of OPA", example="http://127.0.0.1:8181/v1/data/mesh/allow", parse=parse
    )


def _shown_field() -> Value[str]:
    name = text("the name of a field", "x-tenant", r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", longest=64)

    def parse(raw: str) -> str:
        lower = name.parse(raw).lower()
        if lower in _NEVER_SHOWN:
            raise Unfit("is never shown to anybody: the authoriser gets the claims of the token")
        return lower

    return Value(expected=name.expected, example=name.example, parse=parse, json=name.json)


AUTHORISER = Section(
    (
        Key(
            "opa",
            Record(
                OpaSettings,
                (
                    Key(
                        "url",
                        _data_url(),
                        "The document that decides; http on loopback, or https.",
                        required=f"url: {_EXAMPLE}",
                    ),
                    Key(
                        "spiffe_id",
                        spiffe_id(),
                        "Who must answer there, over mTLS.",
                        into=(OpaSettings, "spiffe_id"),
                        fallback="with https, who has a certificate of the Web PKI",
                    ),
                ),
            ),
            "Open Policy Agent, by its REST API.",
            into=(OutsideSettings, "opa"),
            fallback="not asked",
        ),
        Key(
            "ext_authz",
            Record(
                ExtAuthzSettings,
                (
                    Key(
                        "address",
                        endpoint(),
                        "unix:///path, or tcp://IP:port; without TLS.",
                        required="address: unix:///run/authz.sock",
                    ),
                ),
            ),
            "A server of Envoy's external authorisation, gRPC, v3.",
            into=(OutsideSettings, "ext_authz"),
            fallback="not asked",
        ),
        Key("timeout", duration(0.01, MINUTE), "For one answer.", into=(OutsideSettings, "timeout_s")),
        Key(
            "fail",
            choice(of=tuple(Fail)),
            "What becomes of a request about which no answer comes: it is refused, or it passes.",
            into=(OutsideSettings, "fail"),
        ),
        Key(
            "cache",
            duration(0, MINUTE),
            "How long an answer holds for equal questions; 0: each is asked.",
            into=(OutsideSettings, "cache_s"),
        ),
        Key("cache_entries", count(1, 1_000_000), "Answers that are held.", into=(OutsideSettings, "cache_entries")),
        Key(
            "headers",
            ListOf(item=_shown_field(), example="[x-tenant]"),
            "Fields of the request that are shown.",
            into=(OutsideSettings, "headers"),
            fallback="none",
        ),
        Key(
            "max_asking",
            count(1, 100_000),
            "Questions at once; one more gets no answer.",
            into=(OutsideSettings, "max_asking"),
        ),
    )
)


def authoriser_settings(values: Mapping[str, Any]) -> OutsideSettings:
    """Make the settings."""
    return OutsideSettings(**AUTHORISER.gather(dict(values), OutsideSettings))


def check_authoriser(draft: Draft) -> None:
    """Note what does not fit together."""
    if not draft.is_written("authoriser"):
        return
    asked = [name for name in ("opa", "ext_authz") if draft.is_written(f"authoriser.{name}")]
    if len(asked) != 1:
        draft.refuse("authoriser", "write opa: or ext_authz:, one of the two")
    if not draft.is_written("inbound"):
        draft.refuse("authoriser", "is asked about what comes in, and there is no inbound:")
    opa = draft.get("authoriser.opa")
    if opa is not None and opa.url.startswith("http://"):
        if opa.spiffe_id is not None:
            draft.refuse("authoriser.opa.spiffe_id", "cannot be proved over plain http: use https")
        if not is_loopback(parse_url(opa.url).address.host):
            draft.refuse("authoriser.opa.url", "is plain http, and not on loopback: whoever is in between decides")


def describe_authoriser(settings: OutsideSettings) -> Iterator[str]:
    """Say who is asked."""
    if settings.opa is not None:
        who = f", if {settings.opa.spiffe_id} answers" if settings.opa.spiffe_id else ""
        where = f"OPA at {settings.opa.url}{who}"
    elif settings.ext_authz is not None:
        where = f"the external authoriser at {settings.ext_authz.address}"
    else:
        return
    held = f"; an answer holds for {write_duration(settings.cache_s)}" if settings.cache_s else ""
    otherwise = "is refused" if settings.fail is Fail.CLOSED else "passes UNASKED"
    within = write_duration(settings.timeout_s)
    yield f"then {where} has to agree within {within}{held}; without an answer it {otherwise}"


def advise_authoriser(settings: OutsideSettings) -> Iterator[tuple[str, str]]:
    """Warn of what is surprising."""
    if settings.fail is Fail.OPEN:
        yield (
            "authoriser.fail",
            "is open: who keeps the authoriser from answering gets all that the policy allows",
        )
    if settings.ext_authz is not None:
        found = parse_endpoint(settings.ext_authz.address)
        if not found.path and not is_loopback(found.host):
            yield "authoriser.ext_authz.address", "is neither a socket nor on loopback: whoever is in between decides"
