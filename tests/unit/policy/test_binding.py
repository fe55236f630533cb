"""Facts of a request against ``tctx``: what is equal, what is missing, and that none is skipped."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import FactMismatch, FactUnauthorised, FactUnusable
from proxy.policy.binding import Terms, compile_terms, reads_as
from proxy.tokens.facts import MAX_FACTS, Facts


def terms(match: str = "/orders/{id}", **written: str) -> Terms:
    """Compile these facts."""
    errors: list[tuple[str, str]] = []
    made = compile_terms("facts", written, match, errors)
    assert made is not None
    assert not errors, errors
    return made


def facts(target: str = "/orders/7", body: bytes = b"{}", *fields: bytes) -> Facts:
    """The facts of a request with a JSON body."""
    lines = [b"Content-Type: application/json", *fields]
    return Facts(method=b"POST", target=target.encode(), lines=lines, route="/orders/{id}", body=body)


@pytest.mark.parametrize(
    ("text", "value", "verdict"),
    [
        ("3", 3, True),
        ("3", 3.0, True),
        ("3.0", 3, True),
        ("-0.50", -0.5, True),
        ("0", -0.0, True),
        ("9007199254740993", 9007199254740993, True),
        ("9007199254740993", 9007199254740992.0, False),
        ("0.1", 0.1, True),
        ("3", "3", True),
        ("3.0", "3", False),
        ("true", True, True),
        ("false", False, True),
        ("1", True, False),
        ("True", True, False),
        ("", "", True),
        *(
            (text, 3, False)
            for text in ("03", "+3", " 3", "3 ", "3.", ".3e1", "3e0", "0x3", "3_0", "\u0663", "\uff13", "", "3\n")
        ),
        ("3", [3], False),
        ("null", None, False),
        ("{}", {}, False),
    ],
)
def test_text_reads_as_a_value_in_one_spelling(text: str, value: object, verdict: bool) -> None:  # noqa: FBT001
    """A number in plain decimal, a boolean in small letters, a string code point by code point."""
    assert reads_as(text, value) is verdict


@given(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63 - 1))
def test_text_of_one_number_is_no_other(one: int, other: int) -> None:
    """However large."""
    assert reads_as(str(one), other) is (one == other)


@pytest.mark.parametrize(
    ("body", "tctx", "refusal"),
    [
        (b'{"q":1,"n":"x"}', {"quantity": 1, "note": "x"}, None),
        (b'{"q":1}', {"quantity": 1}, None),
        (b'{"q":1,"n":null}', {"quantity": 1}, None),
        (b'{"q":1}', {"quantity": 1, "note": None}, None),
        (b'{"q":1}', {"quantity": 1, "other": 2}, None),
        (b'{"q":2}', {"quantity": 1}, FactMismatch),
        (b'{"q":1,"n":"x"}', {"quantity": 1}, FactUnauthorised),
        (b'{"q":1}', {"quantity": 1, "note": "x"}, FactMismatch),
        (b'{"q":1,"n":"y"}', {"quantity": 1, "note": "x"}, FactMismatch),
        (b'{"q":1}', {}, FactUnauthorised),
        (b'{"q":1}', None, FactUnauthorised),
        (b'{"q":null}', {"quantity": None}, FactUnusable),
        (b"{}", {}, FactUnusable),
        (b'{"q":0}', {"quantity": False}, FactMismatch),
        (b'{"q":1}', {"quantity": [1]}, FactMismatch),
    ],
)
def test_required_and_optional(body: bytes, tctx: dict[str, Any] | None, refusal: type[Exception] | None) -> None:
    """Both orders: an optional fact before a required one, and behind it."""
    for written in (
        {"note": "optional body:/n", "quantity": "body:/q"},
        {"quantity": "body:/q", "note": "optional body:/n"},
    ):
        if refusal is None:
            terms(**written).check(facts(body=body), tctx)
        else:
            with pytest.raises(refusal):
                terms(**written).check(facts(body=body), tctx)


@given(
    st.lists(st.sampled_from(["same", "other", "no_claim", "no_fact", "neither"]), min_size=1, max_size=8), st.data()
)
def test_the_first_that_fails_decides_and_none_is_skipped(kinds: list[str], data: st.DataObject) -> None:
    """A request passes exactly if each fact would pass alone, whatever stands around it."""
    optional = [data.draw(st.booleans()) for _ in kinds]
    written, body, tctx = {}, {}, {}
    for number, (kind, may_miss) in enumerate(zip(kinds, optional, strict=True)):
        written[f"c{number}"] = f"{'optional ' if may_miss else ''}body:/f{number}"
        if kind in {"same", "other", "no_claim"}:
            body[f"f{number}"] = number
        if kind in {"same", "other", "no_fact"}:
            tctx[f"c{number}"] = number if kind != "other" else number + 1
    good = [kind == "same" or (kind == "neither" and may) for kind, may in zip(kinds, optional, strict=True)]
    import json

    shown = facts(body=json.dumps(body).encode())
    if all(good):
        terms(**written).check(shown, tctx)
        return
    with pytest.raises((FactUnusable, FactUnauthorised, FactMismatch)) as refused:
        terms(**written).check(shown, tctx)
    first = good.index(False)
    assert (
        f"c{first} " in str(refused.value) or f"c{first}" in str(refused.value) or f"/f{first} " in str(refused.value)
    )


def test_facts_of_every_kind() -> None:
    """Path, query, field, method and a text of the rule; a claim that lies deeper."""
    made = terms(
        **{"/order/id": "path:id", "n": "query:n", "desk": "header:x-desk", "how": "method", "act": "literal:BUY"}
    )
    shown = facts("/orders/7?n=3", b"", b"X-Desk: 9")
    tctx = {"order": {"id": 7}, "n": 3, "desk": "9", "how": "POST", "act": "BUY"}
    made.check(shown, tctx)
    assert not made.needs_body
    assert terms(q="body:/q").needs_body
    for name, value in (("n", 4), ("desk", "8"), ("how", "GET"), ("act", "SELL"), ("order", {"id": "8"})):
        with pytest.raises(FactMismatch):
            made.check(shown, tctx | {name: value})
    with pytest.raises(FactUnauthorised):
        made.check(shown, tctx | {"order": {}})


def test_no_refusal_tells_a_value() -> None:
    """Neither that of the token nor that of the request."""
    with pytest.raises(FactMismatch) as refused:
        terms(q="body:/q").check(facts(body=b'{"q":"SECRET1"}'), {"q": "SECRET2"})
    assert "SECRET" not in str(refused.value)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({"a": "body"}, "body:/POINTER"),
        ({"a": "body:quantity"}, "JSON pointer"),
        ({"/a~2": "body:/a"}, "JSON pointer"),
        ({"a": "path:other"}, "the match has no {other}"),
        ({"a": "header:authorization"}, "secret"),
        ({"a": "header:x y"}, "header:"),
        ({f"c{n}": "method" for n in range(MAX_FACTS + 1)}, "more than"),
    ],
)
def test_mistakes_are_explained(written: dict[str, str], message: str) -> None:
    """Each with its place."""
    errors: list[tuple[str, str]] = []
    compile_terms("p.facts", written, "/orders/{id}", errors)
    assert any(message in text and path.startswith("p.facts") for path, text in errors), errors


def test_the_bound_of_facts() -> None:
    """As many as may be."""
    errors: list[tuple[str, str]] = []
    assert compile_terms("p", {f"c{n}": "method" for n in range(MAX_FACTS)}, "/", errors) is not None
    assert not errors
    assert compile_terms("p", {}, "/", errors) is None
