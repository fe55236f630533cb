"""Every case of gunicorn through our decoder; the folder is the verdict.

A case either gets the verdict of its folder, or stands in one of the tables below, under its reason. The tables are
exact: a case that stands there and does not differ fails. Its valid folder shows what gunicorn accepts when told to be
compatible, so it holds leniencies that we refuse on purpose.
"""

from dataclasses import replace
from pathlib import Path

import pytest
from support.gunicorn import Case, read
from support.http1 import LIMITS, Reading, byte_by_byte, read_requests

from proxy.http1.message import RequestHead

pytestmark = pytest.mark.shared

VALID, INVALID = 63, 74
SAME = 104

STRICTER_BY_LAW = {
    "Host is a host with an optional port (RFC 9112 section 3.2)": {"valid/002", "valid/003"},
    "a target has no fragment, no userinfo, and is ASCII (RFC 9112 section 3.2, RFC 3986)": {
        *("valid/005", "valid/009", "valid/027", "valid/rfc9112_target_absolute_userinfo_01"),
    },
    "chunked is the only transfer coding (specs 6.2)": {
        *("valid/025", "valid/025_line", "valid/029", "valid/030"),
        *("valid/rfc9112_smuggle_gzip_chunked_01", "valid/rfc9112_smuggle_te_identity_chunked_01"),
    },
    "no blank before the colon (RFC 9112 section 5.1)": {"valid/028"},
    "no field that reads as one of framing once _ is - (specs 6.2)": {"valid/040", "valid/040_compat"},
    "no folded lines (specs 6.1)": {"valid/compat_obs_fold", "valid/compat_obs_fold_huge"},
}
"""gunicorn accepts, we refuse."""

NOT_SPOKEN = {
    "the PROXY protocol is no part of HTTP": {"valid/pp_01", "valid/pp_02", "valid/pp_04", "valid/pp_05"},
    "CONNECT": {"valid/rfc9112_target_authority_connect_01", "valid/rfc9112_target_authority_ipv6_01"},
}
"""gunicorn accepts, we refuse: what is not spoken here."""

NOT_WHOLE = {
    "8599 of the 17914 bytes of the body are in the case": {"valid/099"},
}
"""Both accept; we wait for the rest."""

ONE_MESSAGE = {
    "the first request closes, to gunicorn as well": {"valid/019", "valid/021"},
    "a proxy keeps no connection of HTTP/1.0, even if asked (RFC 9112 section 9.3)": {"valid/022"},
    "the second request line is the body of the first request": {"valid/020"},
}
"""Two request lines, of which one is read."""

ACCEPTED_BY_LAW = {
    "a method is any token; policy knows which are allowed (RFC 9110 section 9.1)": {"invalid/003c"},
    "its limit for the request line is 4094 bytes": {"invalid/006"},
    "its limit for one field is 8190 bytes, or less; ours is for the whole head": {
        *("invalid/007", "invalid/008", "invalid/010", "invalid/017", "invalid/limit_header_default_01"),
    },
    "its limit is 100 fields": {"invalid/009"},
    "fields that speak of the scheme say different things: we act on none of them": {"invalid/019"},
}
"""gunicorn refuses, we do not."""


def names(*tables: dict[str, set[str]]) -> set[str]:
    """Give every name in some tables."""
    return {name for table in tables for group in table.values() for name in group}


def verdict(case: Case) -> Reading:
    """Read a case to the end of its stream."""
    return read_requests([case.with_hosts()], eof=True)


@pytest.fixture(scope="module")
def cases(shared_testdata: Path) -> list[Case]:
    """All of them."""
    return read(shared_testdata / "gunicorn")


def test_each_case_gets_the_verdict_of_its_folder_or_stands_in_a_table(cases: list[Case]) -> None:
    """Valid means that every message is read to its end, invalid that one is refused; the tables are exact."""
    assert [sum(case.valid for case in cases), sum(not case.valid for case in cases)] == [VALID, INVALID]
    differing = set()
    for case in cases:
        reading = verdict(case)
        assert reading.messages or reading.error is not None, case.name
        if reading.whole is not case.valid:
            differing.add(case.name)
    assert differing == names(STRICTER_BY_LAW, NOT_SPOKEN, NOT_WHOLE, ACCEPTED_BY_LAW)
    assert len(cases) - len(differing) == SAME


def test_an_accepted_case_is_read_as_it_was_written(cases: list[Case]) -> None:
    """Method and target are those of the request line, and no request in it is lost."""
    one_message = set()
    for case in cases:
        reading = verdict(case)
        if case.valid and reading.whole:
            head = reading.messages[0].head
            assert isinstance(head, RequestHead)
            method, target, _ = case.wire.lstrip(b"\r\n").split(b"\r\n")[0].split(b" ")
            assert head.method == method
            assert target in (
                head.target,
                b"http://" + head.authority + head.target,
                b"https://" + head.authority + head.target,
            )
            requests = case.wire.count(b" HTTP/1.1\r\n") + case.wire.count(b" HTTP/1.0\r\n")
            if len(reading.messages) != requests:
                assert len(reading.messages) == 1
                one_message.add(case.name)
    assert one_message == names(ONE_MESSAGE)


def test_its_limits_refuse_what_ours_let_pass(cases: list[Case]) -> None:
    """With the limits of gunicorn in place of ours, its cases are refused."""
    limits = {"invalid/006": replace(LIMITS, target_bytes=4094), "invalid/009": replace(LIMITS, fields=100)}
    for case in cases:
        if case.name in limits:
            reading = read_requests([case.with_hosts()], limits[case.name])
            assert reading.reason in ("target_too_long", "too_many_fields")


def test_cut_into_bytes_the_cases_are_read_the_same(cases: list[Case]) -> None:
    """One byte at a time: the same messages, the same refusal."""
    for case in cases:
        wire = case.with_hosts()
        assert read_requests(byte_by_byte(wire)).facts == read_requests([wire]).facts, case.name
