"""The limits of one message head and of chunked framing. Each has a test at n and n+1 (law 8)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bytes and counts."""

    head_bytes: int = 65536  # tokens make heads large; peers broke at 16 KiB (peers.md section 3, row 5)
    fields: int = 200  # twice the default of the servers that apps run on
    target_bytes: int = 8192  # RFC 9112 section 3: at least 8000 octets
    chunk_line_bytes: int = 256  # a size, and extensions that nobody uses (specs 6.3)
    trailer_bytes: int = 8192
    interim_responses: int = 16  # 1xx before the final response; more is a loop
