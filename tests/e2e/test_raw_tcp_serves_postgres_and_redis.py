"""Real psql and redis-cli, unchanged, speak through two sidecars with the real servers of Debian's packages."""

import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path as File

import pytest
from support.mesh import Mesh
from support.servers import postgres, program, redis
from support.sidecar import wait_until
from support.tcp import Path, path_to

CLIENT_S = 40


@pytest.fixture(scope="module")
def database(mesh: Mesh, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """PostgreSQL behind two sidecars."""
    program("psql", "postgresql-client")
    with postgres(tmp_path_factory.mktemp("pg")) as port:
        yield path_to(mesh, port)


@pytest.fixture(scope="module")
def cache(mesh: Mesh, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Redis behind two sidecars."""
    program("redis-cli", "redis-tools")
    with redis(tmp_path_factory.mktemp("redis")) as port:
        yield path_to(mesh, port)


def psql(path: Path, *options: str, given: str = "", word: str = "right") -> subprocess.CompletedProcess[str]:
    """Run psql as anybody would."""
    where = ["-h", "127.0.0.1", "-p", str(path.edge.ports["tcp0"]), "-U", "app", "-d", "postgres", "-X", "-A", "-t"]
    environ = {**os.environ, "PGPASSWORD": "secret" if word == "right" else word, "PGCONNECT_TIMEOUT": "20"}
    return subprocess.run(
        ["psql", *where, "-v", "ON_ERROR_STOP=1", *options],
        input=given,
        env=environ,
        capture_output=True,
        text=True,
        timeout=CLIENT_S,
        check=False,
    )


def redis_cli(path: Path, *words: str, given: str = "") -> str:
    """Run redis-cli as anybody would."""
    command = ["redis-cli", "-h", "127.0.0.1", "-p", str(path.edge.ports["tcp0"]), *words]
    ended = subprocess.run(command, input=given, capture_output=True, text=True, timeout=CLIENT_S, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_psql_asks_and_gets_its_answer(database: Path) -> None:
    """Its SSLRequest is answered by the server, its password is checked by the server, and so is its question."""
    ended = psql(database, "-c", "select 6 * 7")
    assert (ended.returncode, ended.stdout) == (0, "42\n"), ended.stderr
    wrong = psql(database, "-c", "select 1", word="wrong")
    assert wrong.returncode == 2
    assert "password authentication failed" in wrong.stderr
    assert database.db.decisions(decision="allow", rule="edge may query") >= 2


def test_psql_moves_tables(database: Path, tmp_path: File) -> None:
    """A transaction, then megabytes in and out by COPY, byte for byte."""
    made = psql(
        database,
        given="begin; create table t (n int, s text); insert into t values (1, 'a'), (2, 'ü'); commit; select s from t order by n;",
    )
    assert made.stdout.splitlines()[-2:] == ["a", "ü"]
    rows = "".join(f"{number}\t{'x' * 200}\n" for number in range(20_000))
    (tmp_path / "rows").write_text(rows)
    assert (
        psql(
            database, "-c", "create table big (n int, s text)", "-c", f"\\copy big from {tmp_path / 'rows'}"
        ).returncode
        == 0
    )
    assert psql(database, "-c", f"\\copy big to {tmp_path / 'back'}").returncode == 0
    assert (tmp_path / "back").read_text() == rows


def test_psql_cancels_by_a_second_connection(database: Path) -> None:
    """A request to cancel comes over a connection of its own, which the server closes without a word."""
    ended = psql(database, "-c", "set statement_timeout = '300ms'; select pg_sleep(30)")
    assert "canceling statement due to statement timeout" in ended.stderr


def test_a_session_ends_with_its_client(database: Path) -> None:
    """Nothing of it stays: neither with the server nor with the sidecars."""
    assert psql(database, "-c", "select 1").returncode == 0
    wait_until(lambda: not any(side.metric("svidecar_tunnels") for side in (database.edge, database.db)), "no tunnel")
    others = psql(
        database,
        "-c",
        "select count(*) from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()",
    )
    assert others.stdout == "0\n"


def test_pgbench_keeps_many_sessions(database: Path) -> None:
    """Eight clients at once, prepared statements, a few thousand transactions."""
    pgbench = program("pgbench", "postgresql")
    where = ["-h", "127.0.0.1", "-p", str(database.edge.ports["tcp0"]), "-U", "app", "postgres"]
    environ = {**os.environ, "PGPASSWORD": "secret"}
    said = ""
    for options in (["-i", "-q"], ["-c", "8", "-j", "2", "-t", "100", "-M", "prepared", "-S"]):
        ended = subprocess.run(
            [pgbench, *options, *where], env=environ, capture_output=True, text=True, timeout=CLIENT_S, check=False
        )
        assert ended.returncode == 0, ended.stderr
        said = ended.stdout
    assert "number of transactions actually processed: 800/800" in said


def test_redis_cli_asks_and_gets_its_answer(cache: Path) -> None:
    """One command, several through one connection, and its own check of latency."""
    assert redis_cli(cache, "set", "order", "7") == "OK\n"
    assert redis_cli(cache, "get", "order") == "7\n"
    assert redis_cli(cache, given="incr order\nget order\necho hello\n").split() == ["8", "8", "hello"]
    assert "PONG" in redis_cli(cache, "ping")


def test_redis_cli_pipes_megabytes(cache: Path) -> None:
    """Its mass insertion sends all before it reads an answer, and ends with an echo of its own."""
    value = "v" * 100
    given = "".join(
        f"*3\r\n$3\r\nSET\r\n${len(key)}\r\n{key}\r\n$100\r\n{value}\r\n" for key in (f"key:{n}" for n in range(20_000))
    )
    assert "errors: 0, replies: 20000" in redis_cli(cache, "--pipe", given=given)
    assert redis_cli(cache, "dbsize").strip() in {"20000", "20001"}


def test_redis_speaks_to_who_listens(cache: Path) -> None:
    """A subscriber says nothing any more, and hears what others publish."""
    command = ["redis-cli", "-h", "127.0.0.1", "-p", str(cache.edge.ports["tcp0"]), "subscribe", "news"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as subscriber:
        assert subscriber.stdout is not None
        assert [subscriber.stdout.readline() for _ in range(3)] == ["subscribe\n", "news\n", "1\n"]
        time.sleep(0.2)
        assert redis_cli(cache, "publish", "news", "hello") == "1\n"
        assert [subscriber.stdout.readline() for _ in range(3)] == ["message\n", "news\n", "hello\n"]
        subscriber.terminate()


def test_redis_benchmark_keeps_many_connections(cache: Path) -> None:
    """Fifty connections, pipelined."""
    command = [program("redis-benchmark", "redis-tools"), "-h", "127.0.0.1", "-p", str(cache.edge.ports["tcp0"])]
    options = ["-n", "5000", "-c", "50", "-P", "8", "-t", "set,get", "-q"]
    ended = subprocess.run([*command, *options], capture_output=True, text=True, timeout=CLIENT_S, check=False)
    assert ended.returncode == 0, ended.stderr
    assert len(re.findall(r"requests per second", ended.stdout)) == 2
    assert cache.edge.decisions(decision="error", direction="outbound") == 0
