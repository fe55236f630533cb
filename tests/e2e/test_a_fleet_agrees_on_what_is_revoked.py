"""What one sidecar of a fleet is told, all of it holds to within two seconds, through Redis; and stays so without it."""

import contextlib
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import servers
from support.mesh import INBOUND, Mesh, mesh_in
from support.pki import Authority, write_svid
from support.ports import free_port
from support.sidecar import SOON_S, Sidecar, wait_until

KEY = "svidecar:revocations"
PASSWORD = "a secret of the fleet"
AGREED_S = 2.0


@pytest.fixture
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """A mesh for each test."""
    with mesh_in(tmp_path_factory.mktemp("mesh")) as made:
        made.svid("edge")
        (made.folder / "password").write_text(PASSWORD + "\n")
        yield made


class Redis:
    """A real server without persistence, which can be ended and come back, empty."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ending = contextlib.ExitStack()
        self.port = free_port()

    def start(self) -> None:
        """Begin with nothing."""
        more = ("--requirepass", PASSWORD)
        self._ending.enter_context(servers.redis(self._folder, *more, port=self.port))

    def stop(self) -> None:
        """End it, and all that it knew."""
        self._ending.close()

    def cli(self, *words: str) -> str:
        """What a person says to it."""
        command = [
            servers.program("redis-cli", "redis-tools"),
            "-p",
            str(self.port),
            "-a",
            PASSWORD,
            "--no-auth-warning",
        ]
        done = subprocess.run([*command, *words], check=True, capture_output=True, text=True, timeout=10)
        return done.stdout.strip()


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    """One that runs."""
    made = Redis(tmp_path)
    made.start()
    try:
        yield made
    finally:
        made.stop()


class Member:
    """A sidecar of the fleet."""

    def __init__(self, mesh: Mesh, redis: Redis, name: str, more: str = "") -> None:
        self.mesh = mesh
        shared = f'{{address: "127.0.0.1:{redis.port}", password_file: password}}'
        yaml = INBOUND.format(app=mesh.app().port) + f"revocation: {{redis: {shared}, max_age: 3s{more}}}\n"
        self.sidecar: Sidecar = mesh.launch(name, yaml)

    def ready(self) -> "Member":
        """Wait until it is."""
        self.sidecar.wait_until_ready()
        return self

    def reason(self, token: dict[str, str]) -> str | None:
        """Why a request with this token is refused; None where it passes."""
        wire = self.mesh.connect(self.sidecar.ports["inbound"])
        answer = wire.ask("GET", "/any/1", token)
        return None if answer.status == 200 else answer.reason

    def agrees(self, token: dict[str, str], reason: str | None) -> None:
        """It decides so within the time, and what a busy machine adds."""
        wait_until(lambda: self.reason(token) == reason, f"{reason} is decided", AGREED_S + SOON_S)

    def revoke(self, **entry: object) -> str:
        """Say so at its admin port; give the id."""
        status, body = self.sidecar.post("/revocations", entry)
        assert status == 201, body
        return str(json.loads(body)["id"])

    def lift(self, key: str) -> int:
        """Lift at its admin port; give the status."""
        return self.sidecar.post("/revocations/lift", {"id": key})[0]


def fleet(mesh: Mesh, redis: Redis, more: str = "") -> tuple[Member, Member]:
    """Two, ready."""
    one, other = Member(mesh, redis, "orders", more), Member(mesh, redis, "ledger", more)
    return one.ready(), other.ready()


def test_one_is_told_and_both_know(mesh: Mesh, redis: Redis) -> None:
    """Revoked at one, refused at the other; lifted at the other, let pass at the first; and who is not named passes."""
    one, other = fleet(mesh, redis)
    ended, lasting = mesh.bearer(txn="task-1"), mesh.bearer(txn="task-2")
    assert [member.reason(ended) for member in (one, other)] == [None, None]
    key = one.revoke(txn="task-1")
    other.agrees(ended, "token_revoked")
    assert [member.reason(lasting) for member in (one, other)] == [None, None]
    assert other.lift(key) == 200
    one.agrees(ended, None)
    other.agrees(ended, None)
    assert other.lift(key) == 404
    one.revoke(txn="task-1")
    other.agrees(ended, "token_revoked")


def test_redis_ends_and_comes_back_empty(mesh: Mesh, redis: Redis) -> None:
    """What is known stays, then nobody can say any more; what was emptied is filled again, and lifts nothing."""
    one, other = fleet(mesh, redis)
    ended, lasting = mesh.bearer(txn="task-1"), mesh.bearer(txn="task-2")
    one.revoke(txn="task-1")
    other.agrees(ended, "token_revoked")
    redis.stop()
    assert [other.reason(ended), other.reason(lasting)] == ["token_revoked", None]
    one.revoke(txn="task-3")
    wait_until(lambda: not other.sidecar.ready, "it is stale", 8)
    redis.start()
    wait_until(lambda: all(member.sidecar.ready for member in (one, other)), "both hear it again", 10)
    for member in (one, other):
        member.agrees(ended, "token_revoked")
        member.agrees(mesh.bearer(txn="task-3"), "token_revoked")
        member.agrees(lasting, None)
    redis.cli("FLUSHALL")
    wait_until(lambda: redis.cli("HLEN", KEY) == "3", "it is filled again")
    time.sleep(AGREED_S)
    assert [member.reason(ended) for member in (one, other)] == ["token_revoked", "token_revoked"]


def test_who_comes_later_knows_before_it_is_ready(mesh: Mesh, redis: Redis) -> None:
    """A sidecar that starts again without any state of its own; and one that cannot reach Redis is not ready."""
    one = Member(mesh, redis, "orders").ready()
    one.revoke(txn="task-1")
    wait_until(lambda: redis.cli("HLEN", KEY) == "2", "it is there")
    one.sidecar.stop()
    again = Member(mesh, redis, "ledger").ready()
    assert again.reason(mesh.bearer(txn="task-1")) == "token_revoked"
    redis.stop()
    late = Member(mesh, redis, "late")
    late.sidecar.wait_for_log("revocation.redis: nothing listens there")
    assert not late.sidecar.ready


def test_who_may_write_there_lifts_nothing_that_others_say(mesh: Mesh, redis: Redis) -> None:
    """Words by a stranger: a file is not lifted, garbage is told and refused, what is good beside it is taken."""
    (mesh.folder / "revoked.yaml").write_text("revoked: [{txn: task-1}]\n")
    one, other = fleet(mesh, redis, ", file: revoked.yaml")
    key = one.revoke(txn="task-1")
    wait_until(lambda: redis.cli("HLEN", KEY) == "2", "it is there")
    now = int(time.time())
    for source in ("admin", "feed", "file"):
        redis.cli("HSET", KEY, f"{source}/{key}", json.dumps({"at": now + 5, "lifted_until": now + 9000}))
    redis.cli("HSET", KEY, f"admin/{'0' * 32}", '{"at": 1, "revoked": {"txn": "task-2"}}', "version", "x")
    two = other.revoke(txn="task-3")
    one.agrees(mesh.bearer(txn="task-3"), "token_revoked")
    assert [member.reason(mesh.bearer(txn="task-1")) for member in (one, other)] == ["token_revoked"] * 2
    one.sidecar.wait_for_log("a field is refused, the others are taken: it stands under the id of another entry")
    one.agrees(mesh.bearer(txn="task-2"), None)
    redis.cli("DEL", KEY)
    time.sleep(AGREED_S)
    assert one.reason(mesh.bearer(txn="task-3")) == "token_revoked"
    assert one.lift(two) == 200
    other.agrees(mesh.bearer(txn="task-3"), None)


def test_a_wrong_password_is_told(mesh: Mesh, redis: Redis) -> None:
    """In words for a person, without the password; a file that is mended is taken."""
    (mesh.folder / "password").write_text("another one")
    member = Member(mesh, redis, "orders")
    member.sidecar.wait_for_log("revocation.redis: it refuses the user or the password; what is known stays")
    assert not member.sidecar.ready
    assert "another one" not in member.sidecar.log
    (mesh.folder / "password").write_text(PASSWORD)
    member.ready()


def test_over_tls(mesh: Mesh, tmp_path: Path) -> None:
    """A Redis that authorities of the Web have signed, for its name, is believed; one of the mesh's own CA is not."""
    web, port = Authority.make("web.example"), free_port()
    (tmp_path / "roots.pem").write_bytes(web.bundle_pem)
    with servers.home() as folder:
        folder.chmod(0o755)
        for name, ca in (("web", web), ("mesh", mesh.ca)):
            write_svid(folder / name, ca.svid("", dns=["localhost"]), ca)
            for one in (folder / name, *(folder / name).iterdir()):
                one.chmod(0o755)
        for name, is_believed in (("mesh", False), ("web", True)):
            key = ("--tls-cert-file", f"{folder}/{name}/svid.pem", "--tls-key-file", f"{folder}/{name}/svid_key.pem")
            tls = ("--port", "0", "--tls-port", str(port), "--tls-auth-clients", "no", *key)
            with servers.redis(tmp_path, *tls, port=port):
                yaml = INBOUND.format(app=mesh.app().port)
                yaml += f'revocation: {{redis: {{address: "localhost:{port}", tls: true}}}}\n'
                sidecar = mesh.run(mesh.config(f"by-{name}", yaml), SSL_CERT_FILE=str(tmp_path / "roots.pem"))
                if is_believed:
                    sidecar.wait_until_ready()
                else:
                    sidecar.wait_for_log("revocation.redis: it cannot be reached: ")
                    assert not sidecar.ready
                    sidecar.stop()
