"""source.py: a URL or a file."""

import os
from pathlib import Path

import pytest
from support.fetch import Web, json_answer
from support.tokens import TokenMint

from proxy.errors import ConfigInvalid, KeysInvalid, KeysUnavailable, UpstreamDown
from proxy.identity.spiffe_id import SpiffeId
from proxy.tokens.fetch import Answer
from proxy.tokens.keys import MAX_SET_BYTES, KeySet
from proxy.tokens.settings import TokenSettings
from proxy.tokens.source import (
    FILE_POLL_S,
    RETRY_FIRST_S,
    RETRY_LAST_S,
    FileSource,
    Source,
    UrlSource,
    source_of,
)

JWKS = TokenMint().jwks()


def of(keys: str, keys_spiffe_id: str | None = None, web: Web | None = None) -> Source:
    """Make the source of these settings."""
    settings = TokenSettings(audience="example.org", keys=keys, keys_spiffe_id=keys_spiffe_id)
    return source_of(settings, web or Web(json_answer(JWKS)))


@pytest.mark.parametrize("keys", ["https://tts/jwks", "http://127.0.0.1:1/jwks", "HTTPS://tts/jwks"])
def test_url(keys: str) -> None:
    """An http or https URL is fetched."""
    assert isinstance(of(keys), UrlSource)


@pytest.mark.parametrize("keys", ["/etc/jwks.json", "jwks.json", "http", "https:/x", "file:///etc/jwks.json"])
def test_path(keys: str) -> None:
    """All else is a path."""
    assert isinstance(of(keys), FileSource)


@pytest.mark.parametrize(
    ("keys", "spiffe_id"),
    [("http://tts/jwks", "spiffe://example.org/tts"), ("https://tts/jwks", "tts"), ("https://tts/jwks", "")],
)
def test_settings_refused(keys: str, spiffe_id: str) -> None:
    """A workload that is named is always verified: not over http, and not under a name that is none."""
    with pytest.raises(ConfigInvalid, match="keys_spiffe_id"):
        of(keys, spiffe_id)


async def test_fetch() -> None:
    """A GET for a JWK Set, to the workload that is named, under a deadline."""
    web = Web(json_answer(JWKS))
    assert await of("https://tts/jwks", "spiffe://example.org/tts", web).read() == JWKS
    assert await of("https://tts/jwks", None, web).read() == JWKS
    named, unnamed = web.sent
    assert (named.method, named.url, named.body) == ("GET", "https://tts/jwks", b"")
    assert named.fields == {"accept": "application/jwk-set+json, application/json"}
    assert 0 < named.timeout_s <= 5
    assert named.expect == SpiffeId.parse("spiffe://example.org/tts")
    assert unnamed.expect is None


@pytest.mark.parametrize("status", [204, 301, 304, 401, 404, 500, 503])
async def test_status(status: int) -> None:
    """Only 200 brings keys."""
    with pytest.raises(KeysUnavailable, match=str(status)):
        await of("https://tts/jwks", web=Web(Answer(status, {}, JWKS))).read()


async def test_fetch_fails() -> None:
    """The reason of the failure is the reason of it all."""
    with pytest.raises(UpstreamDown):
        await of("https://tts/jwks", web=Web(UpstreamDown("x"))).read()


def test_pauses_of_a_url() -> None:
    """About ``refresh_s``; after failures one second, two, four, up to thirty; all of it spread."""
    source = of("https://tts/jwks")
    assert [source.pause_s(0, jitter) for jitter in (0.0, 0.5, 1.0)] == pytest.approx([270.0, 300.0, 330.0])
    assert [source.pause_s(failures, 1.0) for failures in range(1, 8)] == [1, 2, 4, 8, 16, 30, 30]
    assert source.pause_s(10**9, 1.0) == RETRY_LAST_S
    assert source.pause_s(1, 0.0) == RETRY_FIRST_S / 2


async def test_file(tmp_path: Path) -> None:
    """It is read once, and again when it is another one."""
    path = tmp_path / "jwks.json"
    source = of(str(path))
    path.write_bytes(JWKS)
    assert await source.read() == JWKS
    assert await source.read() is None
    path.write_bytes(JWKS + b" ")
    assert await source.read() == JWKS + b" "
    assert await source.read() is None
    assert source.pause_s(3, 0.7) == FILE_POLL_S


async def test_file_same_size_and_name(tmp_path: Path) -> None:
    """A rename over it is seen though name, size and time are the same."""
    path, other = tmp_path / "jwks.json", tmp_path / "new"
    path.write_bytes(b"1")
    source = of(str(path))
    assert await source.read() == b"1"
    other.write_bytes(b"2")
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    other.rename(path)
    assert await source.read() == b"2"


async def test_symlink_swap(tmp_path: Path) -> None:
    """The way in which Kubernetes publishes a ConfigMap: the link moves, the files stay."""
    for name in ("1", "2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "jwks.json").write_text(name)
    data = tmp_path / "..data"
    data.symlink_to("1")
    source = of(str(data / "jwks.json"))
    assert await source.read() == b"1"
    (tmp_path / "..new").symlink_to("2")
    (tmp_path / "..new").rename(data)
    assert await source.read() == b"2"


async def test_file_that_comes_and_goes(tmp_path: Path) -> None:
    """A missing file is KeysUnavailable; when the same one is back it is read again."""
    path = tmp_path / "jwks.json"
    source = of(str(path))
    with pytest.raises(KeysUnavailable, match="No such file"):
        await source.read()
    path.write_bytes(JWKS)
    assert await source.read() == JWKS
    path.rename(tmp_path / "away")
    with pytest.raises(KeysUnavailable):
        await source.read()
    (tmp_path / "away").rename(path)
    assert await source.read() == JWKS


async def test_what_is_no_file(tmp_path: Path) -> None:
    """A folder and a named pipe are refused, and nobody waits for the pipe's other end."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(KeysUnavailable):
            await of(str(path)).read()


async def test_file_n_and_n_plus_1(tmp_path: Path) -> None:
    """Of a file no more is read than is needed to refuse it."""
    path = tmp_path / "jwks.json"
    path.write_bytes(JWKS.ljust(MAX_SET_BYTES))
    assert KeySet.parse(await of(str(path)).read() or b"")
    path.write_bytes(JWKS.ljust(MAX_SET_BYTES * 2))
    content = await of(str(path)).read()
    assert content is not None
    assert len(content) == MAX_SET_BYTES + 1
    with pytest.raises(KeysInvalid, match="larger"):
        KeySet.parse(content)
