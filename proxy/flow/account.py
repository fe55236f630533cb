"""What is written down of an exchange when it ends, once: two histograms, one verdict, a line in each log."""

from hashlib import sha256
from typing import Final

from proxy.errors import ClientClosed, ProxyError, Side
from proxy.flow.runtime import Cells, Key, Runtime
from proxy.http1.message import RequestHead
from proxy.observe.access_log import AccessRecord, RecordKind
from proxy.observe.audit.record import AuditRecord
from proxy.observe.audit.trail import Trail
from proxy.observe.catalog import METHODS, Decision, Direction
from proxy.observe.cells import Counter, Histogram
from proxy.policy.permit import Permit
from proxy.tokens.claims import TxnToken
from proxy.tokens.passage import Passage, Remembered

MAX_KINDS: Final = 1024
"""Kinds of exchange that are remembered, with the cells to count them in: routes x methods x statuses x reasons."""


class Facts:
    """What is known of an exchange when it ends, in bytes and seconds. ``started`` is on the runtime's clock.

    ``own_s`` is our own time. ``status`` is 0 while no answer was sent.
    """

    # Defaults stand on the class: most exchanges change few of them, and writing each would cost a microsecond.
    permit: Permit | None = None
    token: TxnToken | None = None
    carried = b""  # outbound: the token that goes out, which nobody has verified here
    own_s = 0.0
    request_bytes = 0
    response_bytes = 0
    status = 0
    answered = False  # the upstream has
    trace_id: bytes | None = None
    tunnel_max_bytes = 0  # of what becomes a tunnel; 0 is no limit
    heard: tuple[Remembered, ...] | None = None  # what other processes of the app remember, once they were asked
    passage: Passage | None = None  # where the transaction is remembered for what the app does next

    def __init__(self, head: RequestHead, started: float) -> None:
        self.head = head
        self.started = started


class Account:
    """Writes for one connection, whose ends are the same for all its exchanges. ``peer`` and ``local``: SPIFFE IDs.

    ``policy`` is the version of the rules that decide about it, ``conn`` its number in the audit.
    """

    __slots__ = ("_audit", "_cells", "_overhead", "_runtime", "conn", "direction", "local", "peer", "policy")

    def __init__(self, runtime: Runtime, direction: Direction, peer: str | None, local: str | None) -> None:
        self._runtime = runtime
        self.direction: Direction = direction
        self.peer = peer
        self.local = local
        self.policy = ""
        self._audit = runtime.audit
        self.conn = self._audit.connection() if self._audit is not None else 0
        self._cells: Cells = runtime.cells[direction]
        metrics = runtime.metrics
        self._overhead = metrics.overhead_inbound if direction == "inbound" else metrics.overhead_outbound

    def close(self, facts: Facts, now: float) -> None:
        """Write down an exchange that was forwarded and answered."""
        self._write(facts, "allow", "", now)

    def fail(self, facts: Facts, error: ProxyError, now: float) -> None:
        """Write down an exchange that was refused, or broke."""
        self._write(facts, verdict(error), error.reason, now)

    def tunnel(self, facts: Facts, error: ProxyError | None, duration_s: float) -> None:
        """Write down a tunnel that has ended, open for ``duration_s``; ``error``: why we have ended it ourselves."""
        rule = facts.permit.rule if facts.permit is not None else ""
        reason = error.reason if error is not None else ""
        decision: Decision = verdict(error) if error is not None else "allow"
        metrics = self._runtime.metrics
        metrics.tunnel_duration(self.direction, reason).observe(duration_s)
        if error is not None:
            metrics.decision(self.direction, decision, reason, rule).inc()
        if self._runtime.access_log.enabled:
            self._log(facts, decision, reason, duration_s, kind="tunnel")

    def refuse(self, error: ProxyError) -> None:
        """Write down a connection that was refused, or a message without a readable head."""
        write_connection(self._runtime, self.direction, error, self.peer, self.local, self.conn, self.policy)

    def admit(self, would: str = "") -> None:
        """Write down that the peer of this connection was admitted; ``would``: in audit mode, the reason against it."""
        decision: Decision = "would_refuse" if would else "allow"
        if would:
            self._runtime.metrics.decision(self.direction, decision, would, "").inc()
        if self._audit is not None:
            now, way = self._runtime.now(), self.direction
            record = AuditRecord(now, "connection", way, decision, would, self.policy, self.conn, self.peer, self.local)
            self._audit.put(record)

    def under(self, policy: str) -> "Account":
        """Give the account of what other rules decide from now on; what is in progress stays with this one."""
        return self if policy == self.policy else self._other(policy, self.local)

    def of(self, local: str) -> "Account":
        """Give the account of what we do under another identity from now on; as ``under``."""
        return self if local == self.local else self._other(self.policy, local)

    def _other(self, policy: str, local: str | None) -> "Account":
        other = Account(self._runtime, self.direction, self.peer, local)
        other.policy, other.conn = policy, self.conn
        return other

    def _write(self, facts: Facts, decision: Decision, reason: str, now: float) -> None:
        permit = facts.permit
        rule, route = (permit.rule, permit.route) if permit is not None else ("", "")
        duration_s = now - facts.started
        if facts.passage is not None:
            facts.passage.leave(now)
        key = (facts.head.method, facts.status, rule, route, reason)
        if permit is not None and permit.audited and decision == "allow":
            decision, reason = "would_refuse", permit.audited
            cells = self._find(key, decision, reason)
        else:
            cells = self._cells.get(key) or self._find(key, decision, reason)
        cells[0].observe(duration_s)
        cells[1].inc()
        self._overhead.observe(facts.own_s)
        if self._runtime.access_log.enabled:
            self._log(facts, decision, reason, duration_s)
        if self._audit is not None:
            self._put(self._audit, facts, decision, reason, duration_s)

    def _find(self, key: Key, decision: Decision, reason: str) -> tuple[Histogram, Counter]:
        """Find the cells of this kind of exchange, and remember them, unless the caller has invented its method."""
        metrics = self._runtime.metrics
        method, status, rule, route, error_type = key
        if self.direction == "inbound":
            histogram = metrics.server_duration(method, status, route, error_type)
        else:
            histogram = metrics.client_duration(method, status, error_type, rule)
        cells = histogram, metrics.decision(self.direction, decision, reason, rule)
        if method in METHODS and decision != "would_refuse":  # which has no error
            if len(self._cells) >= MAX_KINDS:
                self._cells.clear()
            self._cells[key] = cells
        return cells

    def _log(
        self, facts: Facts, decision: Decision, reason: str, duration_s: float, kind: RecordKind = "request"
    ) -> None:
        permit, token = facts.permit, facts.token
        actors = token.actors if token is not None else ()
        destination = permit.destination if permit is not None else None
        self._runtime.access_log.write(
            AccessRecord(
                time=self._runtime.now(),
                kind=kind,
                direction=self.direction,
                decision=decision,
                reason=reason,
                rule=permit.rule if permit is not None else None,
                peer=self.peer,
                local=self.local,
                txn=token.txn if token is not None else None,
                token_sha256=token.digest if token is not None else None,
                actor=actors[0] if actors else None,
                through=actors[1:] or None,
                subject_sha256=sha256(token.sub.encode()).hexdigest() if token is not None and actors else None,
                trace_id=facts.trace_id,
                method=facts.head.method,
                route=permit.route if permit is not None and destination is None else None,
                destination=destination.name if destination is not None else None,
                status=facts.status,
                duration_s=duration_s,
                overhead_s=facts.own_s,
                request_bytes=facts.request_bytes,
                response_bytes=facts.response_bytes,
            )
        )

    def _put(self, audit: Trail, facts: Facts, decision: Decision, reason: str, duration_s: float) -> None:
        permit, head = facts.permit, facts.head
        destination = permit.destination if permit is not None else None
        audit.put(
            AuditRecord(
                self._runtime.now(),
                "request",
                self.direction,
                decision,
                reason,
                self.policy,
                self.conn,
                self.peer,
                self.local,
                permit.rule if permit is not None else None,
                permit.route if permit is not None else None,
                destination.name if destination is not None else None,
                facts.token,
                facts.trace_id,
                head.method,
                head.target,
                head.authority if destination is None and self.direction == "outbound" else None,
                facts.status,
                facts.status if facts.answered else 0,
                duration_s,
                facts.own_s,
                facts.request_bytes,
                facts.response_bytes,
                permit.audited if permit is not None else "",
            )
        )


def verdict(error: ProxyError) -> Decision:
    """Tell a refusal, which somebody else has to mend, from a failure."""
    return "deny" if error.side is Side.DOWNSTREAM and not isinstance(error, ClientClosed) else "error"


def write_connection(
    runtime: Runtime,
    direction: Direction,
    error: ProxyError,
    peer: str | None,
    local: str | None,
    conn: int = 0,
    policy: str = "",
) -> None:
    """Write down a connection, or a message without a readable head, that was refused."""
    decision = verdict(error)
    runtime.metrics.decision(direction, decision, error.reason, "").inc()
    if runtime.access_log.enabled:
        runtime.access_log.write(
            AccessRecord(
                time=runtime.now(),
                kind="connection",
                direction=direction,
                decision=decision,
                reason=error.reason,
                peer=peer,
                local=local,
            )
        )
    if runtime.audit is not None:
        now = runtime.now()
        record = AuditRecord(now, "connection", direction, decision, error.reason, policy, conn, peer, local)
        runtime.audit.put(record)
