"""W3C Trace Context, level 1: a ``traceparent`` passes through unchanged, and is made where none can be used.

We make no spans, so we never change one that is valid (section 2.4: a proxy that does not take part passes it on).
A trace id that we make is also how an outbound request finds its inbound one, so it comes from the system's randomness.
"""

import re
from collections.abc import Callable, Sequence
from typing import Final

_TRACEPARENT: Final = re.compile(
    rb"(?!ff)(?P<version>[0-9a-f]{2})"  # version ff is forbidden
    rb"-(?!0{32})([0-9a-f]{32})"  # trace-id: not all zero
    rb"-(?!0{16})[0-9a-f]{16}"  # parent-id: not all zero
    rb"-[0-9a-f]{2}"  # flags
    rb"(?P<more>-[\x21-\x7e]*)?"  # only in versions of the future
)
"""Section 3.2.2. Upper case is not allowed."""

NOT_SAMPLED: Final = b"00"
"""Trace flags (section 3.2.2.5)."""

_DIGITS_AND_DASHES: Final = bytes(octet if octet in b"0123456789abcdef-" else 0x2D for octet in range(0x100))
_ZERO_TRACE: Final = b"0" * 32
_ZERO_PARENT: Final = b"0" * 16

_POOL_BYTES: Final = 4096
_ID_BYTES: Final = 24
"""16 for the trace id and 8 for the parent id: one call to the system makes 170 of them."""


def parse(value: bytes) -> bytes | None:
    """Give the trace id of a ``traceparent``, 32 lower-case hexadecimal digits; None if the value breaks a rule.

    A version of the future is read as far as version 00 goes (section 3.2.4, versioning of traceparent).
    """
    trace_id = value[3:35]
    if (  # what nearly every tracer sends, judged without the pattern
        len(value) == 55
        and value.startswith(b"00-")
        and value.translate(_DIGITS_AND_DASHES) == value
        and value.count(b"-") == 3
        and value[35:36] == value[52:53] == b"-"
    ):
        return trace_id if trace_id != _ZERO_TRACE and value[36:52] != _ZERO_PARENT else None
    match = _TRACEPARENT.fullmatch(value)
    if match is None or (match["more"] is not None and match["version"] == b"00"):
        return None
    return match[2]


class TraceIds:
    """Makes new trace contexts. ``entropy`` is ``os.urandom`` or its like; make one of these after a fork, not before.

    They are marked as not sampled, which is the truth: we record nothing. A tracer in the app that follows its parent
    will then not record either.
    """

    __slots__ = ("_entropy", "_hex", "_next")

    def __init__(self, entropy: Callable[[int], bytes]) -> None:
        self._entropy = entropy
        self._hex = b""
        self._next = 0

    def trace_of(self, values: Sequence[bytes] | None) -> tuple[bytes, bytes, bool]:
        """Give the ``traceparent`` to forward, its trace id, and whether it was made here.

        ``values`` are those of the request's ``traceparent`` fields: exactly one valid value goes on as it is. If one
        was made, any ``tracestate`` must be dropped, for it belonged to another trace (section 3.3.1.2).
        """
        if values and len(values) == 1:
            trace_id = parse(values[0])
            if trace_id is not None:
                return values[0], trace_id, False
        return self._make()

    def _make(self) -> tuple[bytes, bytes, bool]:
        start = self._next
        if start + 2 * _ID_BYTES > len(self._hex):
            self._hex = self._entropy(_POOL_BYTES).hex().encode()
            start = 0
        self._next = start + 2 * _ID_BYTES
        trace_id = self._hex[start : start + 32]
        parent_id = self._hex[start + 32 : start + 48]
        if trace_id == _ZERO_TRACE:  # never seen, and not allowed
            trace_id = trace_id[:-1] + b"1"
        if parent_id == _ZERO_PARENT:
            parent_id = parent_id[:-1] + b"1"
        return b"00-" + trace_id + b"-" + parent_id + b"-" + NOT_SAMPLED, trace_id, True
