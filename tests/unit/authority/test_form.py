"""The form, read strictly."""

from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.authority.form import MAX_PARAMETERS, InvalidForm, read_form


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"", {}),
        (b"a=b", {"a": "b"}),
        (b"a=b+c&d=%2B%26%3D", {"a": "b c", "d": "+&="}),
        (b"a=&b=c", {"b": "c"}),
        (b"a=urn:ietf:params", {"a": "urn:ietf:params"}),
        (b"a={%22x%22:1}", {"a": '{"x":1}'}),
        (b"a=b=c==", {"a": "b=c=="}),
        (b"%61=b", {"a": "b"}),
        (b"s=%C3%A9%E2%82%AC", {"s": "é€"}),
    ],
)
def test_good(raw: bytes, expected: dict[str, str]) -> None:
    """RFC 6749 appendix B; a parameter without a value counts as omitted (section 3.2)."""
    assert read_form(raw) == expected


@pytest.mark.parametrize(
    "raw",
    [
        *(b"a", b"a&b=c", b"=b", b"&", b"a=b&", b"&a=b", b"a=b&&c=d"),
        *(b"a=%", b"a=%2", b"a=%zz", b"a=%u0041", b"%=b", b"a=%C3", b"a=%FF", b"a=%ED%A0%80", b"a=%C0%AF"),
        *(b"a=b&a=c", b"a=b&a=b", b"a=&a=b", b"scope=x&%73cope=y", b"a b=c&a+b=d"),
        *(b"a=b c", b"a=b\nc", b"a=\x00", b"a=\xc3\xa9", b"a\r\n=b", b"a=b\r\n"),
    ],
)
def test_bad(raw: bytes) -> None:
    """Whatever two parsers read differently, and every parameter that stands twice however it is spelled."""
    with pytest.raises(InvalidForm):
        read_form(raw)


def test_parameters_n_and_n_plus_1() -> None:
    """The limit is the last that is read."""
    assert len(read_form(b"&".join(b"p%d=v" % n for n in range(MAX_PARAMETERS)))) == MAX_PARAMETERS
    with pytest.raises(InvalidForm, match="more than 32"):
        read_form(b"&".join(b"p%d=v" % n for n in range(MAX_PARAMETERS + 1)))


@given(st.dictionaries(st.text(min_size=1, max_size=9).filter(str.isprintable), st.text(min_size=1), max_size=9))
def test_what_urlencode_writes_is_read(form: dict[str, str]) -> None:
    """Every client's encoder is understood."""
    assert read_form(urlencode(form).encode()) == form


@given(st.binary(max_size=60))
def test_what_is_taken_reads_the_same_to_the_standard_library(raw: bytes) -> None:
    """Stricter, never different."""
    try:
        form = read_form(raw)
    except InvalidForm:
        return
    assert list(form.items()) == parse_qsl(raw.decode("ascii"), strict_parsing=bool(raw), errors="strict") or not all(
        value for _, value in parse_qsl(raw.decode("ascii"), keep_blank_values=True)
    )
