"""The access log."""

import asyncio
import json
import logging
import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.sidecar import SOON_S

from proxy.errors import ConfigInvalid
from proxy.observe.access_log import BATCH, CLOSE_S, FLUSH_S, MAX_QUEUED, MAX_VALUE, AccessLog, AccessRecord, line
from proxy.observe.cells import Counter
from proxy.observe.settings import AccessLogSettings
from proxy.observe.sink import PIPE_BUF

DIGEST = "0123456789abcdef" * 4
FULL = AccessRecord(
    time=1_700_000_000.123456,
    kind="request",
    direction="inbound",
    decision="allow",
    rule="edge may order",
    peer="spiffe://example.org/edge",
    local="spiffe://example.org/orders",
    txn="97053963-771d-49cc-a4e3-20aad399c312",
    token_sha256=DIGEST,
    trace_id=b"0af7651916cd43dd8448eb211c80319c",
    method=b"GET",
    route="/orders/{id}",
    destination="ledger",
    status=200,
    duration_s=0.0123456789,
    overhead_s=33e-6,
    request_bytes=0,
    response_bytes=130,
)
BARE = AccessRecord(1.0, "connection", "inbound", "deny", "peer_not_allowed")


def read(record: AccessRecord) -> dict[str, Any]:
    """What a reader of the line sees."""
    found: dict[str, Any] = json.loads(line(record, "orders"))
    return found


def opened(path: Path | str, dropped: Counter | None = None) -> AccessLog:
    """A log on the running loop."""
    settings = AccessLogSettings(path=str(path))
    return AccessLog(settings, "orders", asyncio.get_running_loop(), dropped or Counter())


async def written(path: Path, count: int) -> list[str]:
    """The lines of a file, once there are so many."""
    until = time.perf_counter() + 10
    while len(rows := path.read_text().splitlines()) < count and time.perf_counter() < until:
        await asyncio.sleep(FLUSH_S)
    return rows


def test_a_whole_line() -> None:
    """Every field, with its name: readers of logs hold these."""
    assert read(FULL) == {
        "time": "2023-11-14T22:13:20.123Z",
        "kind": "request",
        "direction": "inbound",
        "decision": "allow",
        "reason": "",
        "rule": "edge may order",
        "peer": "spiffe://example.org/edge",
        "local": "spiffe://example.org/orders",
        "txn": "97053963-771d-49cc-a4e3-20aad399c312",
        "token_sha256": "0123456789abcdef",
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "method": "GET",
        "route": "/orders/{id}",
        "destination": "ledger",
        "status": 200,
        "duration_s": 0.012346,
        "overhead_s": 3.3e-05,
        "request_bytes": 0,
        "response_bytes": 130,
        "service": "orders",
    }


def test_what_is_not_known_is_left_out() -> None:
    """A refused connection has no method, no token and no route."""
    assert read(BARE) == {
        "time": "1970-01-01T00:00:01.000Z",
        "kind": "connection",
        "direction": "inbound",
        "decision": "deny",
        "reason": "peer_not_allowed",
        "service": "orders",
    }


def test_who_acts_for_whom_through_whom() -> None:
    """Agents by their names, whom they act for by the first digits of a hash."""
    found = read(FULL._replace(actor="agent-2", through=("agent-1", "x" * 3000), subject_sha256="ab" * 32))
    assert (found["actor"], found["subject_sha256"]) == ("agent-2", "ab" * 8)
    assert found["through"] == ["agent-1", "x" * 2048]


def test_an_exchange_without_an_answer_has_no_status() -> None:
    """As in the metrics, 0 says that none was sent."""
    assert "status" not in read(FULL._replace(status=0))


def test_no_field_can_hold_a_token_a_path_or_a_subject() -> None:
    """The record has no place for them; a new field must be thought about here."""
    assert set(AccessRecord._fields) == {
        *("time", "kind", "direction", "decision", "reason", "rule", "peer", "local", "txn", "token_sha256"),
        *("actor", "through", "subject_sha256"),
        *("trace_id", "method", "route", "destination", "status", "duration_s", "overhead_s"),
        *("request_bytes", "response_bytes"),
    }


def test_only_the_beginning_of_the_digest_is_logged() -> None:
    """16 digits find a token again; the whole digest would confirm a guess."""
    assert DIGEST[:16] in line(FULL, "s").decode()
    assert DIGEST[:17] not in line(FULL, "s").decode()


def test_a_method_that_is_not_known_is_not_repeated() -> None:
    """A method may be any token of RFC 9110: a caller could write a secret, or a lie, into our log with it."""
    assert read(FULL._replace(method=b"eyJhbGciOi.J9.x"))["method"] == "_OTHER"


NASTY = '"}\n{"time":"2020","decision":"allow"}\r\n\x1b[2J\x00\x7f\x85\u2028\u2029\ud800\\é漢'


@pytest.mark.parametrize("name", ["rule", "peer", "local", "txn", "token_sha256", "route", "destination", "reason"])
def test_no_value_can_forge_a_line(name: str) -> None:
    """Line feeds, quotes, terminal sequences and half a surrogate pair come out as escapes, and read back."""
    values: dict[str, Any] = {name: NASTY}
    raw = line(FULL._replace(**values), "orders")
    assert raw.count(b"\n") == 1
    assert raw.endswith(b"}\n")
    assert all(0x20 <= byte < 0x7F for byte in raw[:-1])
    assert json.loads(raw)[name] == (NASTY if name != "token_sha256" else NASTY[:16])
    assert json.loads(raw)["decision"] == "allow"
    assert json.loads(raw)["time"].startswith("2023")


@given(st.text(max_size=50), st.binary(max_size=20))
def test_any_value_makes_one_line(text: str, data: bytes) -> None:
    """Whatever the configuration or a token says."""
    raw = line(FULL._replace(txn=text, rule=text, trace_id=data, method=data), text)
    assert raw.count(b"\n") == 1
    assert json.loads(raw)["txn"] == text


@pytest.mark.parametrize(("size", "shown"), [(MAX_VALUE, MAX_VALUE), (MAX_VALUE + 1, MAX_VALUE)])
def test_limit_of_a_value(size: int, shown: int) -> None:
    """A transaction id may be as long as its token: it does not fill the disk."""
    assert len(read(FULL._replace(txn="x" * size))["txn"]) == shown


async def test_lines_are_written_a_moment_later(tmp_path: Path) -> None:
    """Nothing is written while the request is served; then all of it, in order."""
    log = opened(tmp_path / "log")
    for status in range(200, 203):
        log.write(FULL._replace(status=status))
    assert (tmp_path / "log").read_bytes() == b""
    rows = await written(tmp_path / "log", 3)
    assert [json.loads(row)["status"] for row in rows] == [200, 201, 202]
    log.close()


async def test_many_lines_are_made_in_turns(tmp_path: Path) -> None:
    """The loop is given back after each batch, and all lines are there in the end."""
    log = opened(tmp_path / "log")
    for i in range(10 * BATCH):
        log.write(FULL._replace(request_bytes=i))
    log._flush()
    assert len((tmp_path / "log").read_text().splitlines()) == BATCH
    rows = await written(tmp_path / "log", 10 * BATCH)
    assert [json.loads(row)["request_bytes"] for row in rows] == [*range(10 * BATCH)]
    log.close()


async def test_off_writes_nothing() -> None:
    """Not enabled: no record need be made, and one that is made goes nowhere."""
    dropped = Counter()
    log = opened("off", dropped)
    assert not log.enabled
    log.write(FULL)
    log.reopen()
    log.close()
    assert dropped.value == 0
    assert not Path("off").exists()


async def test_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    """``stdout`` is the descriptor, and stays open."""
    log = opened("stdout")
    assert log.enabled
    log.write(BARE)
    log.close()
    assert json.loads(capfd.readouterr().out)["reason"] == "peer_not_allowed"


async def test_close_writes_what_waits(tmp_path: Path) -> None:
    """All of it, and only once; what comes after is dropped without an error."""
    log = opened(tmp_path / "log")
    for _ in range(MAX_QUEUED):
        log.write(BARE)
    log.close()
    log.close()
    log.write(BARE)
    log.reopen()
    await asyncio.sleep(FLUSH_S * 2)
    assert len((tmp_path / "log").read_text().splitlines()) == MAX_QUEUED


async def test_limit_of_the_queue(tmp_path: Path) -> None:
    """MAX_QUEUED wait; one more is counted as dropped."""
    dropped = Counter()
    log = opened(tmp_path / "log", dropped)
    for _ in range(MAX_QUEUED):
        log.write(BARE)
    assert dropped.value == 0
    log.write(BARE)
    assert dropped.value == 1
    log.close()
    assert len((tmp_path / "log").read_text().splitlines()) == MAX_QUEUED


async def test_slow_reader_costs_lines_and_no_time(tmp_path: Path) -> None:
    """The pipe is full: the loop is not held, what does not fit is counted, and whole lines go on when it is read."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    dropped = Counter()
    log = opened(fifo, dropped)
    sent = 3 * MAX_QUEUED
    began = time.perf_counter()
    for i in range(sent):
        log.write(FULL)
        if i % 512 == 0:
            await asyncio.sleep(0)
    await asyncio.sleep(FLUSH_S * 2)
    assert time.perf_counter() - began < 2 + SOON_S
    assert dropped.value > 0
    raw, until = b"", time.perf_counter() + 20
    while raw.count(b"\n") + dropped.value < sent and time.perf_counter() < until:
        await asyncio.sleep(0.002)
        try:
            raw += os.read(reader, 1 << 20)
        except BlockingIOError:
            continue
    assert raw.count(b"\n") + dropped.value == sent
    assert {json.loads(row)["service"] for row in raw.splitlines()} == {"orders"}
    log.close()
    os.close(reader)


async def test_close_does_not_wait_for_ever(tmp_path: Path) -> None:
    """A reader that stands still at the end: CLOSE_S, and the rest is counted."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    dropped = Counter()
    log = opened(fifo, dropped)
    for _ in range(1000):
        log.write(FULL)
    began = time.perf_counter()
    log.close()
    assert CLOSE_S <= time.perf_counter() - began < CLOSE_S + SOON_S
    assert os.read(reader, 1 << 20).count(b"\n") + dropped.value == 1000
    os.close(reader)


async def test_reader_that_is_gone_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Every line is counted, one warning is logged, nothing is raised."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    dropped = Counter()
    log = opened(fifo, dropped)
    os.close(reader)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            log.write(FULL)
            await asyncio.sleep(FLUSH_S * 2)
    log.close()
    assert dropped.value == 3
    assert [record.getMessage() for record in caplog.records] == [
        "access log cannot be written, its lines are dropped: Broken pipe"
    ]


async def test_a_torn_line_does_not_spoil_the_next(tmp_path: Path) -> None:
    """The reader goes away in the middle of a long line and another comes: it can read the next line."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    dropped = Counter()
    log = opened(fifo, dropped)
    log.write(FULL._replace(txn="\x00" * MAX_VALUE, rule="\x00" * MAX_VALUE))
    sink = log._sink
    assert sink is not None
    while sink.write(b"\n" * PIPE_BUF):
        pass
    os.read(reader, PIPE_BUF)
    log._flush()  # one piece of the long line finds place
    os.close(reader)
    log._flush()  # the rest is lost
    assert dropped.value == 1
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    torn = os.read(reader, 1 << 20)
    log.write(BARE)
    log.close()
    rows = (torn + os.read(reader, 1 << 20)).split(b"\n")
    os.close(reader)
    assert rows[-3].startswith(b'{"time"')
    assert len(rows[-3]) == PIPE_BUF
    assert json.loads(rows[-2])["reason"] == "peer_not_allowed"


@pytest.mark.parametrize(("over", "writes"), [(0, 1), (1, 2)])
async def test_lines_share_a_write_up_to_its_limit(tmp_path: Path, over: int, writes: int) -> None:
    """Two lines of together PIPE_BUF bytes are one piece, with one byte more they are two, cut between the lines."""
    log = opened(tmp_path / "log")
    bare = len(line(BARE._replace(txn=""), "orders"))
    fill = PIPE_BUF - 2 * bare
    log.write(BARE._replace(txn="x" * (fill // 2)))
    log.write(BARE._replace(txn="x" * (fill - fill // 2 + over)))
    log._lines.extend(line(log._records.popleft(), "orders") for _ in range(2))
    pieces = []
    while log._lines:
        pieces.append(log._pack())
    assert len(pieces) == writes
    assert all(piece.endswith(b"\n") for piece in pieces)
    log.close()


async def test_reopen_after_rotation(tmp_path: Path) -> None:
    """SIGHUP: what waited goes to the old file, what comes goes to the new one."""
    path = tmp_path / "log"
    log = opened(path)
    for _ in range(3 * BATCH):
        log.write(BARE)
    path.rename(tmp_path / "log.1")
    log.reopen()
    log.write(FULL)
    log.close()
    assert len((tmp_path / "log.1").read_text().splitlines()) == 3 * BATCH
    assert json.loads(path.read_text())["status"] == 200


async def test_reopen_that_fails_keeps_the_old_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The error is logged, lines go on."""
    path = tmp_path / "log"
    log = opened(path)
    path.rename(tmp_path / "log.1")
    path.mkdir()
    log.reopen()
    log.write(BARE)
    log.close()
    assert "the old file is kept: Is a directory" in caplog.text
    assert len((tmp_path / "log.1").read_text().splitlines()) == 1


async def test_file_that_cannot_be_opened_is_told_at_start(tmp_path: Path) -> None:
    """A message for a person, without the path."""
    with pytest.raises(ConfigInvalid, match="opened for appending: No such file or directory"):
        opened(tmp_path / "missing" / "log")
