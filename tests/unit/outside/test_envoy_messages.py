"""Our messages of external authorisation, read and written by protobuf itself with the published descriptors."""

import json

import pytest
from envoy.service.auth.v3 import external_auth_pb2 as auth
from google.rpc import status_pb2
from support.audit import TOKEN

from proxy.outside.envoy_messages import NO_STATUS, OK, check_request, status_of
from proxy.outside.question import Question
from proxy.workload_api.wire import WireInvalid

QUESTION = Question(
    method="POST",
    target="/orders/7?x=1",
    host="orders:8080",
    peer="spiffe://example.org/edge",
    local="spiffe://example.org/orders",
    source="10.0.0.7",
    size=-1,
    rule="edge may order",
    route="/orders/{id}",
    headers=(("x-tenant", ("a", "b")), ("x-empty", ("",))),
    claims=TOKEN,
)


def test_the_request_as_protobuf_reads_it() -> None:
    """Every attribute where Envoy has it, and no field besides."""
    read = auth.CheckRequest.FromString(check_request(QUESTION))
    attributes = read.attributes
    http = attributes.request.http
    assert attributes.source.principal == "spiffe://example.org/edge"
    assert attributes.source.address.socket_address.address == "10.0.0.7"
    assert attributes.destination.principal == "spiffe://example.org/orders"
    assert not attributes.destination.HasField("address")
    assert (http.method, http.path, http.host) == ("POST", "/orders/7?x=1", "orders:8080")
    assert (http.scheme, http.protocol, http.size) == ("https", "HTTP/1.1", -1)
    assert dict(http.headers) == {"x-tenant": "a,b", "x-empty": ""}
    context = dict(attributes.context_extensions)
    assert (context["sub"], context["txn"], context["rule"]) == (TOKEN.sub, TOKEN.txn, "edge may order")
    assert json.loads(context["scope"]) == ["orders.read", "orders.write"]
    assert json.loads(context["act"]) == ["agent-2", "agent-1"]
    assert json.loads(context["tctx"]) is None
    again = auth.CheckRequest()
    again.CopyFrom(read)
    assert len(again.SerializeToString()) == len(check_request(QUESTION)), "nothing that protobuf does not know"


def test_equal_questions_are_equal_bytes() -> None:
    """Which is what the cache goes by."""
    assert check_request(QUESTION) == check_request(QUESTION)


@pytest.mark.parametrize("code", [0, 1, 7, 16, 2**31 - 1])
def test_the_status_as_protobuf_writes_it(code: int) -> None:
    """0 allows, and protobuf leaves it out."""
    written = auth.CheckResponse(
        status=status_pb2.Status(code=code, message="x"),
        ok_response=auth.OkHttpResponse(headers_to_remove=["a"]),
    ).SerializeToString()
    assert status_of(written) == code


def test_no_status_allows_nothing() -> None:
    """An empty answer is none."""
    assert status_of(b"") == NO_STATUS
    assert status_of(b"") != OK
    assert status_of(auth.CheckResponse(ok_response=auth.OkHttpResponse()).SerializeToString()) == NO_STATUS
    assert status_of(auth.CheckResponse(status=status_pb2.Status()).SerializeToString()) == OK


@pytest.mark.parametrize("raw", [b"\x0a", b"\x0a\x05\x08", b"\xff" * 12, b"\x0a\x02\x08\x80"])
def test_broken_answers_are_none(raw: bytes) -> None:
    """Never an OK."""
    with pytest.raises(WireInvalid):
        status_of(raw)


def test_the_last_status_counts() -> None:
    """As protobuf merges: nobody may hide a refusal behind another field."""
    twice = auth.CheckResponse(status=status_pb2.Status(code=7)).SerializeToString() + b"\x0a\x00"
    assert auth.CheckResponse.FromString(twice).status.code == 7
    assert status_of(twice) == 7
