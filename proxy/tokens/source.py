"""Where the JWK Set is: a URL or a file, behind one small face."""

import os
import stat
from pathlib import Path
from typing import Final, Protocol

from proxy.errors import ConfigInvalid, KeysUnavailable
from proxy.identity.spiffe_id import InvalidSpiffeId, SpiffeId
from proxy.tokens.fetch import Fetch
from proxy.tokens.keys import MAX_SET_BYTES
from proxy.tokens.settings import TokenSettings

FETCH_TIMEOUT_S: Final = 5.0
"""As for the token service: a few kilobytes inside the mesh."""

FILE_POLL_S: Final = 1.0
"""How often the file is looked at; a look opens it and reads nothing."""

RETRY_FIRST_S: Final = 1.0
RETRY_LAST_S: Final = 30.0
"""A failed fetch is tried again after one second, then two, four: soon enough for a start, and no storm."""


class Source(Protocol):
    """A place from which a JWK Set is read, again and again."""

    @property
    def where(self) -> str:
        """The URL or path, for a person."""
        ...

    def pause_s(self, failures: int, jitter: float) -> float:
        """How long to wait before the next read; ``failures`` in a row came before, ``jitter`` is 0 to 1."""
        ...

    async def read(self) -> bytes | None:
        """Return the JWK Set, or None if it is the one that was returned last. Raises ProxyError."""
        ...


def source_of(settings: TokenSettings, fetch: Fetch) -> Source:
    """Return the source that ``tokens.keys`` names. Raises ConfigInvalid."""
    scheme, separator, _ = settings.keys.partition("://")
    if not separator or scheme.lower() not in {"http", "https"}:
        return FileSource(Path(settings.keys))
    expect = None
    if settings.keys_spiffe_id is not None:
        if scheme.lower() != "https":
            raise ConfigInvalid("tokens.keys_spiffe_id names a workload, so tokens.keys must be an https URL")
        try:
            expect = SpiffeId.parse(settings.keys_spiffe_id)
        except InvalidSpiffeId as error:
            raise ConfigInvalid(f"tokens.keys_spiffe_id: {error}") from error
    return UrlSource(settings.keys, expect, fetch, settings.refresh_s)


class UrlSource:
    """A JWK Set behind a URL."""

    __slots__ = ("_expect", "_fetch", "_refresh_s", "_url")

    def __init__(self, url: str, expect: SpiffeId | None, fetch: Fetch, refresh_s: float) -> None:
        self._url = url
        self._expect = expect
        self._fetch = fetch
        self._refresh_s = refresh_s

    @property
    def where(self) -> str:
        """The URL."""
        return self._url

    def pause_s(self, failures: int, jitter: float) -> float:
        """Spread, so that a fleet that started together, or lost its server together, does not come together."""
        if failures:
            doubled = RETRY_FIRST_S * 2.0 ** min(failures - 1, 10)
            return min(doubled, RETRY_LAST_S, self._refresh_s) * (0.5 + 0.5 * jitter)
        return self._refresh_s * (0.9 + 0.2 * jitter)

    async def read(self) -> bytes:
        """Fetch it."""
        answer = await self._fetch(
            "GET",
            self._url,
            fields={"accept": "application/jwk-set+json, application/json"},
            timeout_s=FETCH_TIMEOUT_S,
            expect=self._expect,
        )
        if answer.status != 200:
            raise KeysUnavailable(f"{self._url} answered with status {answer.status}, not 200")
        return answer.body


class FileSource:
    """A JWK Set in a file, which may be a symlink that is swapped."""

    __slots__ = ("_path", "_seen")

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, ...] | None = None

    @property
    def where(self) -> str:
        """The path."""
        return str(self._path)

    def pause_s(self, failures: int, jitter: float) -> float:
        """The same always: nobody is asked but the kernel."""
        del failures, jitter
        return FILE_POLL_S

    async def read(self) -> bytes | None:
        """Read it, if it is another one than last time."""
        try:
            return self._read_changed()
        except OSError as error:
            self._seen = None
            raise KeysUnavailable(f"the file {self._path} cannot be read: {error.strerror}") from error

    def _read_changed(self) -> bytes | None:
        # O_NONBLOCK: a named pipe in its place must not stop the loop.
        descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise KeysUnavailable(f"{self._path} is not a regular file")
            seen = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
            if seen == self._seen:
                return None
            content = file.read(MAX_SET_BYTES + 1)
        self._seen = seen
        return content
