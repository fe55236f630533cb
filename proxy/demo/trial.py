"""Carries out the cases, and reads in the access logs what became of each.

A request is found again by its trace id, in every log: so one that went further than it should is seen too. A
connection that was refused before HTTP has none: its record is the one that the attempt has added.
"""

import asyncio
import json
import secrets
import ssl
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from proxy.authority.ca import Root, make_root
from proxy.authority.keys import signer
from proxy.authority.state import KEY, SVID, State
from proxy.demo.caller import Answer, ask, peer_context, request
from proxy.demo.cases import FOREIGN, Attempt, Case, Door
from proxy.demo.configuration import SIDECARS, TRUST_DOMAIN
from proxy.demo.mesh import Mesh
from proxy.demo.mint import Mint
from proxy.demo.outcome import Outcome, Record, judge, typical
from proxy.identity.spiffe_id import SpiffeId
from proxy.observe.access_log import FLUSH_S

RECORDS_S = 3.0
"""How long a record may take to be written; it takes ``FLUSH_S``."""

_POLL_S = 0.01

_LIFETIME_S = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tried:
    case: Case
    trace_id: str
    answer: Answer | None
    hung: bool
    refused: list[Record]


async def try_all(mesh: Mesh, cases: Sequence[Case]) -> list[Outcome]:
    """Try each case, one after the other."""
    driver, logs = Driver(mesh), Logs({name: mesh.access_log(name) for name in SIDECARS})
    tried = [[await _try(case, driver, logs) for _ in range(case.attempt.times)] for case in cases]
    await logs.wait_for({one.trace_id: len(one.case.ways) for times in tried for one in times if one.case.status})
    records = logs.by_trace_id()
    return [typical([_outcome(one, records.get(one.trace_id, [])) for one in times]) for times in tried]


async def _try(case: Case, driver: "Driver", logs: "Logs") -> _Tried:
    trace_id, before = secrets.token_hex(16), len(logs.refused_connections())
    try:
        answer, hung = await driver.carry_out(case.attempt, trace_id), False
    except TimeoutError:
        answer, hung = None, True
    refused = [] if case.status else await logs.wait_for_refused(before)
    return _Tried(case=case, trace_id=trace_id, answer=answer, hung=hung, refused=refused)


def _outcome(tried: _Tried, records: list[Record]) -> Outcome:
    return judge(tried.case, tried.answer, tried.refused + records, hung=tried.hung)


class Driver:
    """Asks as a user of edge, as the app of edge, or as a peer of the mesh with an SVID and tokens of its choice."""

    def __init__(self, mesh: Mesh) -> None:
        now = time.time()
        self._mesh = mesh
        state = State(mesh.state)
        self._mint = Mint(key=signer(state.signing_keys(), now), trust_domain=TRUST_DOMAIN, now=now)
        self._foreign = mesh.folder / FOREIGN
        self._edge = mesh.folder / "edge"
        root = state.root(TRUST_DOMAIN)
        if root is None:
            raise RuntimeError("the authority has no root")
        _make_edge(self._edge, root, now)
        _make_edge(self._foreign, make_root(TRUST_DOMAIN, now), now)  # another CA, of the same name

    async def carry_out(self, attempt: Attempt, trace_id: str) -> Answer | None:
        """Send one request and give what came back; see ``ask``. Raises TimeoutError."""
        mesh = self._mesh
        fields = [("traceparent", f"00-{trace_id}-{secrets.token_hex(8)}-01")]
        fields += [("Txn-Token", kind(self._mint)) for kind in attempt.tokens]
        raw = request(attempt.method, attempt.target, attempt.host, fields, attempt.body)
        match attempt.door:
            case Door.APP:
                return await ask(mesh.app_ports["edge"], raw)
            case Door.OUTBOUND:
                return await ask(mesh.ports["edge"]["outbound"], raw)
            case Door.INBOUND:
                return await ask(mesh.ports["orders"]["inbound"], raw, self._context(attempt.peer))

    def _context(self, peer: str | None) -> ssl.SSLContext | None:
        if peer is None:
            return None
        made = {FOREIGN: self._foreign, "edge": self._edge}
        return peer_context(made.get(peer) or self._mesh.svid(peer), self._mesh.bundle)


class Logs:
    """The access logs of all sidecars, by name."""

    def __init__(self, paths: Mapping[str, Path]) -> None:
        self._paths = paths

    def by_trace_id(self) -> dict[str, list[Record]]:
        """Give the records of each request."""
        found: dict[str, list[Record]] = {}
        for record in self._read():
            found.setdefault(record.get("trace_id", ""), []).append(record)
        return found

    def refused_connections(self) -> list[Record]:
        """Give the records of connections that orders has refused."""
        return [r for r in self._read() if r["sidecar"] == "orders" and r["kind"] == "connection"]

    async def wait_for_refused(self, before: int) -> list[Record]:
        """Wait for one more than there were before."""
        await _until(lambda: len(self.refused_connections()) > before)
        return self.refused_connections()[before:]

    async def wait_for(self, wanted: Mapping[str, int]) -> None:
        """Wait until each trace id has its number of records, and a moment more: for records that should not be."""
        await _until(lambda: self._have(wanted))
        await asyncio.sleep(2 * FLUSH_S)

    def _have(self, wanted: Mapping[str, int]) -> bool:
        found = self.by_trace_id()
        return all(len(found.get(trace_id, [])) >= count for trace_id, count in wanted.items())

    def _read(self) -> list[Record]:
        return [
            {"sidecar": name, **json.loads(line)} for name, path in self._paths.items() for line in _whole_lines(path)
        ]


async def _until(holds: Callable[[], bool]) -> None:
    """Wait until it holds, or for ``RECORDS_S``: what is not there then is told as wrong."""
    until = time.monotonic() + RECORDS_S
    while not holds() and time.monotonic() < until:  # noqa: ASYNC110 - other processes write these files
        await asyncio.sleep(_POLL_S)


def _whole_lines(path: Path) -> Iterable[bytes]:
    return path.read_bytes().split(b"\n")[:-1] if path.exists() else []


def _make_edge(folder: Path, root: Root, now: float) -> None:
    """Write an SVID of edge; the one that its sidecar has from the Workload API is in no file."""
    issued = root.issue(SpiffeId(trust_domain=TRUST_DOMAIN, path="/edge"), now, _LIFETIME_S)
    folder.mkdir()
    (folder / SVID).write_bytes(issued.chain_pem)
    (folder / KEY).write_bytes(issued.key_pem)
