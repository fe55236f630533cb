"""What is done to a chain is found, whatever it is; and what cannot be found is known."""

import itertools
import json
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given, settings
from hypothesis import strategies as st
from support.audit import RECORD, SIGNER, drain, read_again, whole, writer

from proxy.observe.audit.chain import GENESIS, Chain
from proxy.observe.audit.signer import KeySigner


def _chain(tmp: Path, records: int = 40) -> bytes:
    """A closed chain with a checkpoint after each ten lines."""
    made = writer(tmp / "a.log", checkpoint_lines=10)
    for number in range(records):
        made.queue.append(RECORD._replace(conn=number, decision="allow" if number % 3 else "deny"))
        drain(made)
    assert made.close() == 0
    return (tmp / "a.log").read_bytes()


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a whole one."""
    return _chain(tmp_path_factory.mktemp("chain"))


def test_a_whole_chain(chain: bytes) -> None:
    """From its beginning to its last checkpoint."""
    outcome = read_again(chain)
    assert whole(outcome)
    assert (outcome.first, outcome.last, outcome.proved) == (1, chain.count(b"\n"), chain.count(b"\n"))
    assert outcome.checkpoints == 5
    assert outcome.notes == []


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_byte_that_is_changed(chain: bytes, data: st.DataObject) -> None:
    """Every one of them, to any other."""
    at = data.draw(st.integers(0, len(chain) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda byte: byte != chain[at]))
    outcome = read_again(chain[:at] + bytes([other]) + chain[at + 1 :])
    assert outcome.problems or outcome.proved < chain.count(b"\n"), (at, other)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_lines_removed_repeated_or_moved(chain: bytes, data: st.DataObject) -> None:
    """Any other order of any of the lines, but the first few of them, which is a chain that was cut at its end."""
    rows = chain.splitlines(keepends=True)
    numbers = data.draw(
        st.one_of(
            st.lists(st.integers(0, len(rows) - 1), min_size=1, max_size=len(rows)),
            st.permutations(range(len(rows))),
            st.sets(st.integers(0, len(rows) - 1), min_size=1).map(sorted),
        )
    )
    outcome = read_again(b"".join(rows[number] for number in numbers))
    is_run = all(b == a + 1 for a, b in itertools.pairwise(numbers))
    assert bool(outcome.problems) is not is_run
    if is_run:
        assert (outcome.first, outcome.last) == (numbers[0] + 1, numbers[-1] + 1), "and where it is cut is told"


def test_what_is_missing_is_named(chain: bytes) -> None:
    """Which lines, and where one that was changed stands."""
    rows = chain.splitlines(keepends=True)
    (gap,) = read_again(b"".join(rows[:5] + rows[8:])).problems
    assert (gap.line, gap.message) == (6, "lines 6 to 8 of the chain are missing before it")
    problems = read_again(b"".join([*rows[:5], rows[5].replace(b"alice", b"malice"), *rows[6:]])).problems
    assert [(one.line, "line 6 of the chain" in one.message) for one in problems] == [(7, True)]


def test_a_chain_made_anew_is_not_signed(chain: bytes) -> None:
    """Who can write the file can make every hash good again, and no signature."""
    forged = Chain("c0ffee")
    out = b""
    for row in chain.splitlines():
        body = row.partition(b'","')[0].partition(b'"prev":"')[2]
        members = row[row.index(body) + len(body) + 2 : -1].decode().replace("alice@example.org", "mallory@example.org")
        out += forged.seal(members)
    outcome = read_again(out)
    assert {problem.message for problem in outcome.problems} == {
        "the signature of the checkpoint does not hold: it was changed, or made with another key"
    }
    unsigned = b"".join(row for row in out.splitlines(keepends=True) if b'"checkpoint"' not in row)
    assert not whole(read_again(unsigned))


@pytest.mark.parametrize("key", [ed25519.Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP256R1())])
def test_a_checkpoint_of_another_key(
    key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey, tmp_path: Path
) -> None:
    """It is not asked which key it says it is signed with, but which one was given."""
    signer = KeySigner(key)
    made = writer(tmp_path / "a.log", lambda: signer)
    made.queue.append(RECORD)
    made.close()
    (problem,) = read_again(tmp_path / "a.log").problems
    assert "not our key" in problem.message
    signer.key_id = SIGNER.key_id
    again = writer(tmp_path / "b.log", lambda: signer)
    again.close()
    (problem,) = read_again(tmp_path / "b.log").problems
    assert "does not hold" in problem.message


def test_a_signature_of_another_chain(chain: bytes, tmp_path: Path) -> None:
    """It fixes the hash before it: a checkpoint cannot be moved to where it says the same number."""
    made = writer(tmp_path / "b.log", checkpoint_lines=10)
    for number in range(40):
        made.queue.append(RECORD._replace(conn=number, peer="spiffe://example.org/other"))
        drain(made)
    made.close()
    mine, other = chain.splitlines(keepends=True), (tmp_path / "b.log").read_bytes().splitlines(keepends=True)
    at = next(n for n, row in enumerate(mine) if b'"checkpoint"' in row)
    assert read_again(b"".join([*other[:at], mine[at], *other[at + 1 :]])).problems


def test_a_cut_at_the_end_is_seen_by_who_knows_the_number(chain: bytes) -> None:
    """By nobody else: this is told, not hidden. What is left behind the last checkpoint is not proved."""
    rows = chain.splitlines(keepends=True)
    cut = b"".join(rows[:15])
    outcome = read_again(cut)
    assert (outcome.problems, outcome.last) == ([], 15)
    assert outcome.proved < 15
    (problem,) = read_again(cut, last=len(rows)).problems
    assert problem.message == f"lines 16 to {len(rows)} are missing at the end"


def test_a_last_line_that_is_not_whole(chain: bytes) -> None:
    """A note: a live file ends so now and then. In the middle it is a problem."""
    outcome = read_again(chain[:-20])
    assert outcome.problems == []
    assert "not whole" in outcome.notes[0].message
    rows = chain.splitlines(keepends=True)
    assert read_again(b"".join([*rows[:4], rows[4][:50] + b"\n", *rows[5:]])).problems


def test_a_torn_piece_counts_only_where_its_writer_says_so() -> None:
    """A piece between two lines is told by the hash of it, in the line behind."""
    made = Chain("c0ffee")
    begin = made.seal('"kind":"begin","chain":"c0ffee"')
    torn = b'{"n":2,"prev":"'
    resume = made.seal(f'"kind":"resume","chain":"c0ffee","torn_sha256":"{sha256(torn).hexdigest()}"')
    outcome = read_again(begin + torn + b"\n" + resume)
    assert (outcome.problems, len(outcome.notes)) == ([], 1)
    assert read_again(begin + torn + b"!\n" + resume).problems
    assert read_again(begin + torn + b"\n" + torn + b"\n" + resume).problems, "and one of them alone"


@pytest.mark.parametrize(
    "row",
    [
        b"",
        b"null",
        b"[]",
        b"1" * 5000,
        b"[" * 100_000,
        b'{"n":true,"prev":"' + GENESIS.encode() + b'","kind":"x"}',
        b'{"n":0,"prev":"' + GENESIS.encode() + b'","kind":"x"}',
        b'{"n":1,"prev":"0","kind":"x"}',
        b'{"n":1e400,"prev":"' + GENESIS.encode() + b'","kind":"x"}',
        b"\xff\xfe",
        b"x" * 400_000,
    ],
)
def test_lines_that_are_none(chain: bytes, row: bytes) -> None:
    """Whatever stands between two lines is a problem, and never a fault."""
    rows = chain.splitlines(keepends=True)
    assert read_again(b"".join([*rows[:4], row + b"\n", *rows[4:]])).problems


def test_bad_checkpoints_prove_nothing() -> None:
    """Without a key, with a signature that is none, with one that is not at the end."""
    for tail in (
        '"kind":"checkpoint"',
        '"kind":"checkpoint","key":1,"time":"2026-01-01T00:00:00Z","signature":"00"',
        '"kind":"checkpoint","key":"x","time":"yesterday","signature":"00"',
        f'"kind":"checkpoint","key":"{SIGNER.key_id}","time":"2026-01-01T00:00:00Z","signature":"zz"',
        f'"kind":"checkpoint","key":"{SIGNER.key_id}","time":"2026-01-01T00:00:00Z","signature":"00","more":1',
        f'"kind":"checkpoint","key":"{SIGNER.key_id}","time":"2026-01-01T00:00:00Z","certificates":["zz"],"signature":"00"',
    ):
        made = Chain("c0ffee")
        outcome = read_again(made.seal('"kind":"begin","chain":"c0ffee"') + made.seal(tail))
        assert (len(outcome.problems), outcome.proved) == (1, 0), tail


def test_nothing_behind_a_problem_is_proved(chain: bytes) -> None:
    """A good signature far behind a gap proves what it names, and not that nothing is missing."""
    rows = chain.splitlines(keepends=True)
    outcome = read_again(b"".join(rows[:20] + rows[21:]))
    assert outcome.proved <= 20
    assert json.loads(rows[outcome.proved - 1])["kind"] == "checkpoint"
