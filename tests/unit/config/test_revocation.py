"""Redis in the section ``revocation``: what does not fit together, and what it becomes."""

from pathlib import Path

import pytest
from support.yaml_text import GOOD, only, problems, settings

from proxy.revocation.settings import RedisSettings


def with_redis(members: str) -> str:
    """A document with this Redis."""
    return GOOD + f"revocation: {{redis: {{{members}}}}}\n"


def test_it_is_read() -> None:
    """The defaults; and everything that can be written, with a path that begins at the folder of the YAML."""
    redis = settings(with_redis("address: '127.0.0.1:6379'")).revocation.redis
    assert redis == RedisSettings(address="127.0.0.1:6379")
    given = "address: 'redis.default.svc:6380', tls: true, key: k, username: me, password_file: secret, refresh: 500ms"
    redis = settings(with_redis(given)).revocation.redis
    assert redis is not None
    assert (redis.key, redis.username, redis.tls, redis.refresh_s) == ("k", "me", True, 0.5)
    assert redis.password_file is not None
    assert Path(redis.password_file).name == "secret"
    assert settings(with_redis("address: '127.0.0.1:6379'")).revocation.is_awaited


@pytest.mark.parametrize("address", ["'127.0.0.1:6379'", "'[::1]:6379'", "'localhost:6379'", "/run/redis/redis.sock"])
def test_what_does_not_leave_this_machine_needs_no_tls(address: str) -> None:
    """Loopback and sockets."""
    assert not problems(with_redis(f"address: {address}"))


@pytest.mark.parametrize(
    ("members", "path", "said"),
    [
        ("address: 'redis:6379'", "address", "is another machine"),
        ("address: '10.0.0.1:6379', tls: false", "address", "write tls: true"),
        ("address: 'redis://127.0.0.1:6379'", "address", "is a URL"),
        ("address: 'rediss://me:secret@redis:6379'", "address", "is a URL"),
        ("address: '127.0.0.1'", "address", "has no port"),
        ("address: '127.0.0.1:0'", "address", "has port 0"),
        ("address: /run/redis.sock, tls: true", "tls", "does not leave this machine"),
        ("address: '127.0.0.1:6379', username: me", "username", "has no password"),
        ("address: '127.0.0.1:6379', share_feed: true", "share_feed", "there is none"),
        ("address: '127.0.0.1:6379', password: secret", "password", "unknown key; did you mean 'password_file'?"),
        ("key: k", "address", "is missing"),
    ],
)
def test_refused(members: str, path: str, said: str) -> None:
    """With its path, and what to write."""
    found = only(with_redis(members))
    assert f"revocation.redis.{path}: " in found
    assert said in found
