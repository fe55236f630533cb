"""The messages of ``SpiffeWorkloadAPI``, as both sides send them (workloadapi.proto of the SPIFFE standards).

``encode`` and ``decode`` are the whole codec. A field at its default is not written, and one that is absent is read as
its default: proto3 cannot tell the two apart, and the standard treats both as "not there" (Workload API 4.4, 4.5).
Keys and tokens are left out of ``repr``.
"""

from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, TypeVar

from proxy.workload_api.struct import read_struct, write_struct
from proxy.workload_api.wire import LENGTH, VARINT, Value, WireInvalid, read_fields
from proxy.workload_api.wire import field as wire_field

SERVICE: Final = "SpiffeWorkloadAPI"
"""The proto file has no package, so this is the whole name."""

FETCH_X509_SVID: Final = f"/{SERVICE}/FetchX509SVID"
FETCH_X509_BUNDLES: Final = f"/{SERVICE}/FetchX509Bundles"
FETCH_JWT_SVID: Final = f"/{SERVICE}/FetchJWTSVID"
FETCH_JWT_BUNDLES: Final = f"/{SERVICE}/FetchJWTBundles"
VALIDATE_JWT_SVID: Final = f"/{SERVICE}/ValidateJWTSVID"
"""The paths of the calls: all stream their answers but FetchJWTSVID and ValidateJWTSVID."""

SECURITY_HEADER: Final = ("workload.spiffe.io", "true")
"""Every call must carry it, so that nobody is made to call by a web page or a proxy (Workload Endpoint 5)."""

MAX_MESSAGE_BYTES: Final = 4 << 20
"""What gRPC takes by default. A bundle of 500 authorities is 0.5 MB."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """How a field goes to the wire, and what comes back from its values in their order."""

    write: Callable[[int, Any], Iterator[bytes]]
    read: Callable[[list[bytes]], Any]


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise WireInvalid("a text is not UTF-8") from error


def _write_one(number: int, value: bytes) -> Iterator[bytes]:
    if value:
        yield wire_field(number, LENGTH, value)


def _write_all(number: int, values: tuple[bytes, ...]) -> Iterator[bytes]:
    return (wire_field(number, LENGTH, value) for value in values)


def _map_of(encode_value: Callable[[Any], bytes], decode_value: Callable[[bytes], Any]) -> _Kind:
    """A map is a list of entries with key 1 and value 2; of a repeated key the last counts."""

    def write(number: int, value: Mapping[str, Any]) -> Iterator[bytes]:
        for key in sorted(value):
            entry = b"".join((*_write_one(1, key.encode()), *_write_one(2, encode_value(value[key]))))
            yield wire_field(number, LENGTH, entry)

    def read(values: list[bytes]) -> Mapping[str, Any]:
        found = {}
        for value in values:
            parts = {1: b"", 2: b"", **dict(_lengths(value, (1, 2)))}
            found[_text(parts[1])] = decode_value(parts[2])
        return found

    return _Kind(write, read)


_TEXT: Final = _Kind(lambda number, value: _write_one(number, value.encode()), lambda values: _text(values[-1]))
_BYTES: Final = _Kind(_write_one, lambda values: values[-1])
_TEXTS: Final = _Kind(
    lambda number, value: _write_all(number, tuple(text.encode() for text in value)),
    lambda values: tuple(_text(value) for value in values),
)
_BYTES_LIST: Final = _Kind(_write_all, tuple)
_BYTES_MAP: Final = _map_of(bytes, bytes)
_STRUCT: Final = _Kind(
    lambda number, value: _write_one(number, write_struct(value)),
    lambda values: read_struct(b"".join(values)),  # parts of one message that is written twice are merged
)


def _list_of(kind: type["Message"]) -> _Kind:
    return _Kind(
        lambda number, value: _write_all(number, tuple(encode(one) for one in value)),
        lambda values: tuple(decode(kind, value) for value in values),
    )


Fields = Mapping[int, tuple[str, _Kind]]
"""Attribute and kind by the number in the proto file."""


class Message:
    """One message, and how its fields are written."""

    __slots__ = ()

    FIELDS: ClassVar[Fields] = {}


M = TypeVar("M", bound=Message)


def encode(message: Message) -> bytes:
    """Write a message."""
    return b"".join(
        part for number, (name, kind) in message.FIELDS.items() for part in kind.write(number, getattr(message, name))
    )


def decode(kind: type[M], raw: bytes) -> M:
    """Read a message. Raises WireInvalid."""
    found: dict[int, list[bytes]] = {}
    for number, value in _lengths(raw, kind.FIELDS):
        found.setdefault(number, []).append(value)
    read = {kind.FIELDS[number][0]: kind.FIELDS[number][1].read(values) for number, values in found.items()}
    return kind(**read)


def _lengths(raw: bytes, known: Container[int]) -> Iterator[tuple[int, bytes]]:
    """Give the known fields, which are all texts, bytes or messages."""
    for number, wire_type, value in read_fields(raw):
        if number in known:
            yield number, _length(wire_type, value)


def _length(wire_type: int, value: Value) -> bytes:
    if wire_type != LENGTH or isinstance(value, int):
        raise WireInvalid("a field has another wire type than its kind" if wire_type != VARINT else "a number as text")
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class X509SVIDRequest(Message):
    """Asks for all identities of the caller. It is empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class X509SVID(Message):
    """One identity: DER, the chain leaf first, PKCS#8. All but ``hint`` are mandatory."""

    spiffe_id: str = ""
    x509_svid: bytes = b""
    x509_svid_key: bytes = field(default=b"", repr=False)
    bundle: bytes = b""
    hint: str = ""

    FIELDS: ClassVar[Fields] = {
        1: ("spiffe_id", _TEXT),
        2: ("x509_svid", _BYTES),
        3: ("x509_svid_key", _BYTES),
        4: ("bundle", _BYTES),
        5: ("hint", _TEXT),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class X509SVIDResponse(Message):
    """All identities of the caller; bundles of foreign trust domains by their SPIFFE ID."""

    svids: tuple[X509SVID, ...] = ()
    crl: tuple[bytes, ...] = ()
    federated_bundles: Mapping[str, bytes] = field(default_factory=dict)

    FIELDS: ClassVar[Fields] = {
        1: ("svids", _list_of(X509SVID)),
        2: ("crl", _BYTES_LIST),
        3: ("federated_bundles", _BYTES_MAP),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class X509BundlesRequest(Message):
    """Asks for all bundles, without an identity. It is empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class X509BundlesResponse(Message):
    """The numbers are not those of X509SVIDResponse."""

    crl: tuple[bytes, ...] = ()
    bundles: Mapping[str, bytes] = field(default_factory=dict)

    FIELDS: ClassVar[Fields] = {1: ("crl", _BYTES_LIST), 2: ("bundles", _BYTES_MAP)}


@dataclass(frozen=True, slots=True, kw_only=True)
class JWTSVIDRequest(Message):
    """Asks for a token for these audiences; without an ID for every identity of the caller."""

    audience: tuple[str, ...] = ()
    spiffe_id: str = ""

    FIELDS: ClassVar[Fields] = {1: ("audience", _TEXTS), 2: ("spiffe_id", _TEXT)}


@dataclass(frozen=True, slots=True, kw_only=True)
class JWTSVID(Message):
    """One token, as a compact JWS."""

    spiffe_id: str = ""
    svid: str = field(default="", repr=False)
    hint: str = ""

    FIELDS: ClassVar[Fields] = {1: ("spiffe_id", _TEXT), 2: ("svid", _TEXT), 3: ("hint", _TEXT)}


@dataclass(frozen=True, slots=True, kw_only=True)
class JWTSVIDResponse(Message):
    """A token for each identity."""

    svids: tuple[JWTSVID, ...] = ()

    FIELDS: ClassVar[Fields] = {1: ("svids", _list_of(JWTSVID))}


@dataclass(frozen=True, slots=True, kw_only=True)
class JWTBundlesRequest(Message):
    """Asks for all JWT bundles. It is empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JWTBundlesResponse(Message):
    """JWK Sets by the SPIFFE ID of their trust domain."""

    bundles: Mapping[str, bytes] = field(default_factory=dict)

    FIELDS: ClassVar[Fields] = {1: ("bundles", _BYTES_MAP)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidateJWTSVIDRequest(Message):
    """Asks the agent to validate a token for one audience."""

    audience: str = ""
    svid: str = field(default="", repr=False)

    FIELDS: ClassVar[Fields] = {1: ("audience", _TEXT), 2: ("svid", _TEXT)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidateJWTSVIDResponse(Message):
    """Who it is, and all claims as JSON values."""

    spiffe_id: str = ""
    claims: Mapping[str, Any] = field(default_factory=dict)

    FIELDS: ClassVar[Fields] = {1: ("spiffe_id", _TEXT), 2: ("claims", _STRUCT)}
