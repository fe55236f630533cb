"""Our codec beside protobuf's own: the messages that the ``spiffe`` package compiled from the standard's proto file."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from spiffe._proto import workload_pb2 as judge

from proxy.workload_api import messages as ours
from proxy.workload_api.wire import LENGTH, WireInvalid, field

text = st.text(max_size=20)
raw = st.binary(max_size=300)  # beyond one byte of length
svid = st.fixed_dictionaries({"spiffe_id": text, "x509_svid": raw, "x509_svid_key": raw, "bundle": raw, "hint": text})
token = st.fixed_dictionaries({"spiffe_id": text, "svid": text, "hint": text})
bundles = st.dictionaries(text, raw, max_size=4)
json_value = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)


def both_ways(kind: type[ours.Message], judged: type[Any], mine: dict[str, Any], theirs: dict[str, Any]) -> None:
    """What we write they read, what they write we read."""
    message, expected = kind(**mine), judged(**theirs)
    assert judged.FromString(ours.encode(message)) == expected
    assert ours.decode(kind, expected.SerializeToString()) == message


@given(st.lists(svid, max_size=3), st.lists(raw, max_size=3), bundles)
def test_x509_svids_agree_with_protobuf(
    svids: list[dict[str, Any]], crl: list[bytes], federated: dict[str, bytes]
) -> None:
    """Nested messages, repeated bytes and a map of bytes."""
    both_ways(
        ours.X509SVIDResponse,
        judge.X509SVIDResponse,
        {
            "svids": tuple(ours.X509SVID(**one) for one in svids),
            "crl": tuple(crl),
            "federated_bundles": federated,
        },
        {"svids": [judge.X509SVID(**one) for one in svids], "crl": crl, "federated_bundles": federated},
    )


@given(st.lists(raw, max_size=3), bundles)
def test_bundles_agree_with_protobuf(crl: list[bytes], found: dict[str, bytes]) -> None:
    """Both kinds; their field numbers differ from those of the SVIDs."""
    both_ways(
        ours.X509BundlesResponse,
        judge.X509BundlesResponse,
        {"crl": tuple(crl), "bundles": found},
        {"crl": crl, "bundles": found},
    )
    both_ways(ours.JWTBundlesResponse, judge.JWTBundlesResponse, {"bundles": found}, {"bundles": found})


@given(st.lists(text, max_size=3), text, st.lists(token, max_size=3))
def test_jwt_svids_agree_with_protobuf(audience: list[str], spiffe_id: str, tokens: list[dict[str, str]]) -> None:
    """The request and the answer."""
    both_ways(
        ours.JWTSVIDRequest,
        judge.JWTSVIDRequest,
        {"audience": tuple(audience), "spiffe_id": spiffe_id},
        {"audience": audience, "spiffe_id": spiffe_id},
    )
    both_ways(
        ours.JWTSVIDResponse,
        judge.JWTSVIDResponse,
        {"svids": tuple(ours.JWTSVID(**one) for one in tokens)},
        {"svids": [judge.JWTSVID(**one) for one in tokens]},
    )


@given(text, text, st.dictionaries(text, json_value, max_size=4))
def test_validation_agrees_with_protobuf(audience: str, who: str, claims: dict[str, Any]) -> None:
    """Claims are a Struct: every kind of JSON value, and all numbers as doubles."""
    both_ways(
        ours.ValidateJWTSVIDRequest,
        judge.ValidateJWTSVIDRequest,
        {"audience": audience, "svid": who},
        {"audience": audience, "svid": who},
    )
    message = ours.ValidateJWTSVIDResponse(spiffe_id=who, claims=claims)
    read = judge.ValidateJWTSVIDResponse.FromString(ours.encode(message))
    expected = judge.ValidateJWTSVIDResponse(spiffe_id=who)
    expected.claims.update(claims)
    assert read.spiffe_id == who
    assert read.claims == expected.claims
    assert ours.decode(ours.ValidateJWTSVIDResponse, expected.SerializeToString()) == message


@example(b"\xc5\x80\x80\x80\x10\x00\x00\x00\x00")
@example(b"\x85\x80\x80\x80\x80\x00\x00\x00\x00\x00")
@given(st.binary(max_size=200))
def test_garbage_is_read_or_refused_and_never_read_where_protobuf_refuses(garbage: bytes) -> None:
    """Whatever we read, protobuf reads too, and in the same way."""
    try:
        found = ours.decode(ours.X509SVIDResponse, garbage)
    except WireInvalid:
        return
    theirs = judge.X509SVIDResponse.FromString(garbage)
    assert [one.spiffe_id for one in theirs.svids] == [one.spiffe_id for one in found.svids]
    assert list(theirs.crl) == list(found.crl)
    assert dict(theirs.federated_bundles) == found.federated_bundles


def test_the_calls_are_those_of_the_standard() -> None:
    """The service has no package; its methods are the ones of the compiled proto file."""
    service = judge.DESCRIPTOR.services_by_name[ours.SERVICE]
    paths = {f"/{service.full_name}/{method.name}" for method in service.methods if "WIT" not in method.name}
    assert paths == {
        ours.FETCH_X509_SVID,
        ours.FETCH_X509_BUNDLES,
        ours.FETCH_JWT_SVID,
        ours.FETCH_JWT_BUNDLES,
        ours.VALIDATE_JWT_SVID,
    }


def test_an_unknown_field_is_passed_over() -> None:
    """The API may grow."""
    grown = ours.encode(ours.X509SVID(spiffe_id="spiffe://a.org/b")) + field(99, LENGTH, b"new") + b"\x98\x06\x01"
    assert ours.decode(ours.X509SVID, grown).spiffe_id == "spiffe://a.org/b"


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (b"\x0a\x05abc", "a field is cut off"),
        (b"\x0a", "a number is cut off"),
        (b"\x0a" + b"\xff" * 10, "longer than 64 bits"),
        (b"\x0a" + b"\x80" * 9 + b"\x02", "longer than 64 bits"),
        (b"\x02\x00", "the number 0"),
        (b"\x0b\x0c", "does not have"),
        (b"\x08\x01", "a number as text"),
        (b"\x09" + b"\0" * 8, "another wire type"),
        (b"\x0a\x02\xff\xfe", "not UTF-8"),
    ],
)
def test_a_broken_message_is_refused(broken: bytes, why: str) -> None:
    """Half an identity is none."""
    with pytest.raises(WireInvalid, match=why):
        ours.decode(ours.X509SVID, broken)


def test_a_secret_is_not_in_a_repr() -> None:
    """Messages end up in tracebacks."""
    message = ours.X509SVIDResponse(svids=(ours.X509SVID(spiffe_id="spiffe://a.org/b", x509_svid_key=b"SECRET"),))
    assert "SECRET" not in repr(message)
    assert "SECRET" not in repr(ours.JWTSVIDResponse(svids=(ours.JWTSVID(svid="SECRET"),)))
    assert "SECRET" not in repr(ours.ValidateJWTSVIDRequest(svid="SECRET"))
