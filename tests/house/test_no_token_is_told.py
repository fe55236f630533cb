"""The check that no log line, metric or record holds a token hears what it should, and everybody is within earshot."""

import logging
import re
from pathlib import Path

from support.secrecy import leaks, listen_to, listening, overheard, records_in
from support.tokens import TokenMint

ROOT = Path(__file__).resolve().parents[2]
TOKEN = TokenMint().token().decode()

NOT_OURS = {
    "authorisers.py",
    "spire.py",
    "servers.py",
    "test_raw_tcp_serves_postgres_and_redis.py",
    "test_ext_authz_is_asked_as_envoy_asks.py",
}
"""They start a SPIRE, a PostgreSQL, a Redis, an Envoy or their clients, whose logs are their own."""


def test_a_log_line_is_heard() -> None:
    """Of every level, also where nobody writes it."""
    overheard()
    with listening():
        logging.getLogger("proxy.tokens.anything").debug("got %s", TOKEN)
        logging.getLogger("svidecar").info("token_sha256=%s", "0" * 64)
    assert list(overheard().values()) == [["proxy.tokens.anything got "]]
    assert overheard() == {}


def test_records_are_read(tmp_path: Path) -> None:
    """Access logs, also rotated ones, and audits; whatever stands before and behind the token, and cut off."""
    for name in ("orders.log", "orders.log.1", "a/audit-1", "b/records.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f'{{"token":"{TOKEN[:40]}"}}\n')
    (tmp_path / "jwks.json").write_text(TOKEN)
    listen_to("records", lambda: records_in(tmp_path))
    assert overheard() == {"records": ['{"token":"'] * 4}


def test_what_could_be_a_token() -> None:
    """Each part that is an object, also after a dot; hashes and trace ids are none."""
    header, payload, _ = TOKEN.split(".")
    assert leaks(f"a {header}\nb .{payload}\nc {'0123456789abcdef' * 4}") == ["a ", "b ."]


def test_whoever_starts_a_process_tells_where_its_words_are() -> None:
    """A file of the tests that starts one of ours in the background and does not say so would not be heard."""
    starts = {
        path.name
        for folder in ("support", "e2e", "spire")
        for path in (ROOT / "tests" / folder).glob("*.py")
        if re.search(r"\bPopen\(", text := path.read_text()) and "listen_to(" not in text
    }
    assert starts == NOT_OURS
