"""``CheckRequest`` and ``CheckResponse`` of ``envoy.service.auth.v3``, as far as they are used here.

The numbers are those of Envoy's ``external_auth.proto``, ``attribute_context.proto`` and ``address.proto``, and of
``google/rpc/status.proto``; a test holds them to the descriptors that gRPC's authors publish.
"""

from collections.abc import Iterable
from typing import Final

from proxy.outside.question import Question, as_json, token_of
from proxy.workload_api.wire import LENGTH, VARINT, field, read_fields, varint

CHECK: Final = "/envoy.service.auth.v3.Authorization/Check"

OK: Final = 0
"""The code of ``google.rpc.Status`` that allows."""

NO_STATUS: Final = -1

_INT64: Final = 1 << 64


def check_request(question: Question) -> bytes:
    """Write the request."""
    shown = token_of(question.claims)
    context = {name: value if isinstance(value, str) else as_json(value) for name, value in shown.items()}
    context |= {"rule": question.rule, "route": question.route}
    attributes = (
        _message(1, _peer(question.peer, question.source))  # source
        + _message(2, _peer(question.local, ""))  # destination
        + _message(4, _message(2, _http_request(question)))  # request.http
        + _map(10, sorted(context.items()))  # context_extensions
    )
    return _message(1, attributes)


def status_of(response: bytes) -> int:
    """Read the status of a response; NO_STATUS where it has none, which allows nothing. Raises WireInvalid."""
    code = NO_STATUS
    for number, wire_type, value in read_fields(response):
        if number == 1 and wire_type == LENGTH and isinstance(value, bytes):
            code = max(code, OK)  # proto3 leaves out a 0, and merges what stands there twice
            for inner, inner_type, found in read_fields(value):
                if inner == 1 and inner_type == VARINT and isinstance(found, int):
                    code = found
    return code


def _http_request(question: Question) -> bytes:
    return (
        _text(2, question.method)
        + _map(3, [(name, ",".join(values)) for name, values in question.headers])
        + _text(4, question.target)
        + _text(5, question.host)
        + _text(6, "https")
        + field(9, VARINT, varint(question.size % _INT64))
        + _text(10, "HTTP/1.1")
    )


def _peer(principal: str, address: str) -> bytes:
    socket_address = _message(1, _message(1, _text(2, address))) if address else b""  # Address.socket_address
    return socket_address + _text(4, principal)


def _map(number: int, entries: Iterable[tuple[str, str]]) -> bytes:
    return b"".join(_message(number, _text(1, name) + _message(2, _bytes(value))) for name, value in entries)


def _text(number: int, value: str) -> bytes:
    return _message(number, _bytes(value)) if value else b""


def _bytes(value: str) -> bytes:
    return value.encode("utf-8", "replace")  # a lone surrogate has no place in a string of protobuf


def _message(number: int, value: bytes) -> bytes:
    return field(number, LENGTH, value)
