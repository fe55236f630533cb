"""Opens a file of an audit to be read, also one that was compressed by gzip."""

import gzip
from pathlib import Path
from typing import IO, Final

_GZIP: Final = b"\x1f\x8b"


def open_log(path: Path) -> IO[bytes]:
    """Open it. Raises OSError."""
    with path.open("rb") as file:
        is_packed = file.read(2) == _GZIP
    return gzip.open(path) if is_packed else path.open("rb")  # type: ignore[return-value]  # it reads lines, too
