"""What is made of several measurements of one kind."""

from dataclasses import replace

from loadtest.streams import Stream, joined

FIRST = Stream(
    kind="download",
    bytes=1_000_000,
    expected_bytes=1_000_000,
    seconds=1.0,
    cpu_s={"egress": 0.001, "ingress": 0.002},
    rest_mb={"egress": 40.0, "ingress": 50.0},
    peak_mb={"egress": 44.0, "ingress": 51.0},
)
SECOND = Stream(
    kind="download",
    bytes=999_999,
    expected_bytes=1_000_000,
    seconds=1.0,
    cpu_s={"egress": 0.003, "ingress": 0.002},
    rest_mb={"egress": 40.0, "ingress": 50.0},
    peak_mb={"egress": 42.0, "ingress": 58.0},
)


def test_joined_streams_are_sums_and_the_higher_peak() -> None:
    """The first of its kind stays as it is."""
    both = joined(joined(None, FIRST), SECOND)
    assert both.bytes == 1_999_999
    assert both.cpu_s == {"egress": 0.004, "ingress": 0.004}
    assert both.above_rest_mb == {"egress": 4.0, "ingress": 8.0}


def test_one_byte_too_few_spoils_them() -> None:
    """Counted at the far end."""
    assert not FIRST.bad
    assert joined(FIRST, SECOND).bad == "download: 1999999 of 2000000 bytes"


def test_what_broke_is_told_beside_the_bytes() -> None:
    """Without it nobody can say afterwards whether a proxy, the app or the harness lost them."""
    lost = replace(SECOND, failures=("Refused after 0.010 s: 502 Bad Gateway: b'reset'",))
    assert (
        joined(FIRST, lost).bad
        == "download: 1999999 of 2000000 bytes; Refused after 0.010 s: 502 Bad Gateway: b'reset'"
    )
