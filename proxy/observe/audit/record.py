"""One decision, as it is handed from the loop to the writer: values that are there anyway, and no text made of them."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, Protocol

from proxy.observe.catalog import Decision, Direction


class Bearer(Protocol):
    """A verified transaction token, as the audit reads it. Never the token's own bytes."""

    @property
    def txn(self) -> str: ...  # noqa: D102 - the claims of the token
    @property
    def sub(self) -> str: ...  # noqa: D102
    @property
    def aud(self) -> str: ...  # noqa: D102
    @property
    def scopes(self) -> frozenset[str]: ...  # noqa: D102
    @property
    def req_wl(self) -> str: ...  # noqa: D102
    @property
    def iat(self) -> float: ...  # noqa: D102
    @property
    def exp(self) -> float: ...  # noqa: D102
    @property
    def actors(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def agentic(self) -> Mapping[str, Any] | None: ...  # noqa: D102
    @property
    def digest(self) -> str: ...  # noqa: D102


class AuditRecord(NamedTuple):
    """What was decided about a request or a connection. Made on the request path, so it is a tuple.

    ``would`` is the reason for which it would have been refused, were its rule enforced. ``upstream_status`` is 0
    where the upstream gave no answer, ``status`` where the caller got none.
    """

    time: float  # seconds since 1970
    kind: Literal["request", "connection"]
    direction: Direction
    decision: Decision
    reason: str
    policy: str  # its version: which rules have decided
    conn: int
    peer: str | None
    local: str | None
    rule: str | None = None
    route: str | None = None
    destination: str | None = None
    token: Bearer | None = None
    trace_id: bytes | None = None
    method: bytes | None = None
    target: bytes | None = None
    host: bytes | None = None  # whom the app wanted to call, where it may not
    status: int = 0
    upstream_status: int = 0
    duration_s: float | None = None
    own_s: float = 0.0
    request_bytes: int = 0
    response_bytes: int = 0
    would: str = ""


class PolicyNote(NamedTuple):
    """From now on these rules decide."""

    time: float
    direction: Direction
    policy: str
    rules: int
    mode: str = "enforce"
