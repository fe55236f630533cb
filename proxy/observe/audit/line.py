"""A record -> the members of its line. Written by hand rather than by ``json``: a third of the time, and as ASCII.

Made in the writer's thread, which has the interpreter while it works: what it takes, the loop waits.
"""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from json.encoder import encode_basestring_ascii as quote  # control characters and lone surrogates are escaped
from typing import Any, Final

from proxy.observe.audit.record import AuditRecord, Bearer, PolicyNote
from proxy.observe.audit.settings import AuditSettings, PathDetail, Subject

MAX_VALUE: Final = 2048
"""Characters of one value: the longest SPIFFE ID. A longer value (a ``txn`` may be anything) is cut."""

MAX_METHOD: Final = 64
MAX_HOST: Final = 255

MAX_REMEMBERED: Final = 1024
"""Tokens whose members are kept as text: each comes with many requests."""

_SECRET: Final = re.compile(r"eyJ[A-Za-z0-9_.-]{10,}")
"""What begins like a token, in what a caller may write freely: it is never recorded, wherever it was put."""


class Scribe:
    """Writes records as the settings say. ``instance`` is that of the process: connections are numbered within it."""

    __slots__ = ("_bearers", "_full_path", "_instance", "_second", "_second_text", "_subject")

    def __init__(self, settings: AuditSettings, instance: str) -> None:
        self._instance = instance
        self._subject = settings.sub
        self._full_path = settings.path is PathDetail.FULL
        self._bearers: dict[str, str] = {}
        self._second = -1
        self._second_text = ""

    def at(self, now: float) -> str:
        """Write a time: UTC, milliseconds."""
        second = int(now)
        if second != self._second:
            self._second_text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = second
        return f"{self._second_text}.{int(now % 1 * 1000):03d}Z"

    def write(self, record: AuditRecord | PolicyNote) -> str:
        """Write the members of a record; what is not known is left out."""
        if isinstance(record, PolicyNote):
            told = f'"policy":"{record.policy}","rules":{record.rules},"mode":"{record.mode}"'
            return f'"kind":"policy","time":"{self.at(record.time)}","direction":"{record.direction}",{told}'
        return self._decision(record)

    def _decision(self, record: AuditRecord) -> str:
        at, direction = self.at(record.time), record.direction
        parts = [f'"kind":"{record.kind}","time":"{at}","direction":"{direction}","decision":"{record.decision}"']
        add = parts.append
        if record.reason:
            add(f'"reason":"{record.reason}"')
        if record.would:
            add(f'"would_refuse":"{record.would}"')
        if record.rule:
            add(f'"rule":{quote(record.rule)}')
        if record.policy:
            add(f'"policy":"{record.policy}"')
        add(f'"conn":"{self._instance}-{record.conn}"')
        if record.peer is not None:
            add(f'"peer":{quote(record.peer[:MAX_VALUE])}')
        if record.local is not None:
            add(f'"local":{quote(record.local[:MAX_VALUE])}')
        if record.token is not None:
            add(self._bearer(record.token))
        if record.kind == "request":
            self._add_request(record, add)
        return ",".join(parts)

    def _add_request(self, record: AuditRecord, add: Callable[[str], None]) -> None:
        if record.trace_id is not None:
            add(f'"trace_id":{quote(record.trace_id.decode("ascii", "replace"))}')
        if record.method is not None:
            add(f'"method":{_free(record.method, MAX_METHOD)}')
        if record.route:
            add(f'"route":{quote(record.route[:MAX_VALUE])}')
        if record.destination is not None:
            add(f'"destination":{quote(record.destination)}')
        elif record.host is not None:
            add(f'"host":{_free(record.host, MAX_HOST)}')
        if self._full_path and record.target is not None:
            add(f'"path":{_free(record.target.partition(b"?")[0], MAX_VALUE)}')
        if record.status:
            add(f'"status":{record.status}')
        if record.upstream_status:
            add(f'"upstream_status":{record.upstream_status}')
        if record.duration_s is not None:
            add(f'"duration_us":{round(record.duration_s * 1e6)},"own_us":{round(record.own_s * 1e6)}')
        add(f'"request_bytes":{record.request_bytes},"response_bytes":{record.response_bytes}')

    def _bearer(self, token: Bearer) -> str:
        """Write what a token says, once."""
        found = self._bearers.get(token.digest)
        if found is None:
            if len(self._bearers) >= MAX_REMEMBERED:
                self._bearers.clear()
            found = self._bearers[token.digest] = self._write_bearer(token)
        return found

    def _write_bearer(self, token: Bearer) -> str:
        parts = [f'"txn":{quote(token.txn[:MAX_VALUE])}']
        if self._subject is Subject.PLAIN:
            parts.append(f'"sub":{quote(token.sub[:MAX_VALUE])}')
        elif self._subject is Subject.SHA256:
            parts.append(f'"sub_sha256":"{sha256(token.sub.encode("utf-8", "surrogatepass")).hexdigest()}"')
        if token.actors:
            parts.append(f'"act":[{",".join(quote(actor[:MAX_VALUE]) for actor in token.actors)}]')
        if token.agentic:
            parts.append(f'"agentic_ctx":{{{",".join(_agents(token.agentic))}}}')
        scopes = quote(" ".join(sorted(token.scopes))[:MAX_VALUE])
        parts.append(
            f'"req_wl":{quote(token.req_wl[:MAX_VALUE])},"aud":{quote(token.aud[:MAX_VALUE])},"scope":{scopes}'
        )
        parts.append(f'"iat":{token.iat!r},"exp":{token.exp!r},"token_sha256":"{token.digest}"')
        return ",".join(parts)


def _agents(context: Mapping[str, Any]) -> Iterator[str]:
    """Write through which agents a transaction has come (specs 1.19); the claims have held them to their types."""
    chain = context.get("chain_metadata", {})
    workload = context.get("identity", {}).get("workload_id")
    if workload is not None:
        yield f'"workload_id":{quote(workload[:MAX_VALUE])}'
    if "hop_count" in chain:
        yield f'"hop_count":{chain["hop_count"]}'
    if "txn_path" in chain:
        yield f'"txn_path":[{",".join(quote(one[:MAX_VALUE]) for one in chain["txn_path"])}]'


def _free(raw: bytes, longest: int) -> str:
    """Write what a caller may choose freely."""
    text = raw[:longest].decode("ascii", "backslashreplace")
    return quote(_SECRET.sub("[token]", text) if "eyJ" in text else text)
