"""Before anything is measured: the proof that a contender does the work that it is timed on.

Each case is one call that must pass or must be refused. A case whose duty the contender does not claim is reported
as not done; a case whose duty it claims and fails stops the run: a benchmark of less work is worth nothing.
"""

import contextlib
import hashlib
import http.client
import re
import ssl
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from loadtest import backend, client
from loadtest.contenders import Contender
from loadtest.contenders.pair import CIPHER, CURVE, Duty, Ports
from loadtest.impostor import impersonating
from loadtest.material import EDGE, Credential
from loadtest.stage import Running, Stage, running_pair
from loadtest.wire import Wire, tapped

REFUSED = ("400", "401", "403", client.CLOSED)
DENIED = ("401", "403")
UPSTREAM_REFUSED = ("500", "502", "503", "504", client.CLOSED)
BROKEN = (ConnectionError, ssl.SSLError, http.client.HTTPException)
"""How a connection that is refused or cut looks from here. Silence is none of them."""
NO_ANSWER = "no answer"
REPEATED = 20
FORGED_IDENTITY = "By=spiffe://example.org/orders;URI=spiffe://example.org/admin"


class Verdict(StrEnum):
    """How a check ended."""

    OK = "ok"
    NOT_DONE = "not done"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class Check:
    """One case and what was seen."""

    case: str
    duty: Duty
    expected: tuple[str, ...]
    seen: str
    verdict: Verdict


def verify(stage: Stage, contender: Contender) -> list[Check]:
    """Every case against a fresh pair."""
    with tapped() as wire, running_pair(stage, contender, wire) as pair:
        cases = [*_tls_cases(pair), *_token_cases(pair), *_carriage_cases(pair), *_wire_cases(pair, wire)]
        return [judge(contender, *case) for case in cases]


Case = tuple[str, Duty, tuple[str, ...], str]


def judge(contender: Contender, case: str, duty: Duty, expected: tuple[str, ...], seen: str) -> Check:
    """Failed only where the duty is claimed."""
    verdict = Verdict.OK if seen in expected else Verdict.FAILED
    if verdict is Verdict.FAILED and duty not in contender.duties:
        verdict = Verdict.NOT_DONE
    return Check(case, duty, expected, seen, verdict)


def _tls_cases(pair: Running) -> Iterator[Case]:
    material = pair.material
    yield "the client's own certificate", Duty.MTLS, ("200",), _direct(pair, material.edge)
    yield "no client certificate", Duty.MTLS, REFUSED, _direct(pair, None)
    yield "right SPIFFE ID from a foreign CA", Duty.MTLS, REFUSED, _direct(pair, material.forged)
    yield (
        "plain HTTP to the mTLS port",
        Duty.MTLS,
        REFUSED,
        _attempt(lambda: client.plain(pair.ports.ingress), backend.SMALL, material.token),
    )
    yield "client with another SPIFFE ID", Duty.CLIENT_ID, REFUSED, _direct(pair, material.other)


def _token_cases(pair: Running) -> Iterator[Case]:
    tokens = pair.material.tokens
    yield "good token", Duty.TOKEN, ("200",), _plain(pair.ports, backend.SMALL, tokens["good"])
    yield "no token", Duty.TOKEN, DENIED, _plain(pair.ports, backend.SMALL, None)
    yield "forged signature", Duty.TOKEN, DENIED, _plain(pair.ports, backend.SMALL, tokens["forged"])
    yield "expired token", Duty.TOKEN, DENIED, _plain(pair.ports, backend.SMALL, tokens["expired"])
    yield "token for another audience", Duty.TOKEN, DENIED, _plain(pair.ports, backend.SMALL, tokens["elsewhere"])
    yield "token of another type", Duty.TOKEN_TYPE, DENIED, _plain(pair.ports, backend.SMALL, tokens["untyped"])
    yield "token without a txn", Duty.TOKEN_TYPE, DENIED, _plain(pair.ports, backend.SMALL, tokens["nameless"])
    yield "token without the scope", Duty.SCOPE, DENIED, _plain(pair.ports, backend.SMALL, tokens["scopeless"])
    yield "path outside the policy", Duty.SCOPE, DENIED, _plain(pair.ports, "/secret", tokens["good"])


def _carriage_cases(pair: Running) -> Iterator[Case]:
    told, token, _ = _seen_by_app(pair)
    identity = "the caller's" if f"URI={EDGE}" in told and "admin" not in told else repr(told)
    yield "identity header, with a forged one sent", Duty.IDENTITY_HEADER, ("the caller's",), identity
    yield "token reaches the app unchanged", Duty.MTLS, ("same",), "same" if token == pair.material.token else "changed"
    yield "10 MB download, by digest", Duty.STREAMING, ("same",), _download(pair)
    yield "10 MB upload, by count", Duty.STREAMING, (str(backend.LARGE_BYTES),), _upload(pair)
    yield "metrics of both sides", Duty.METRICS, ("counted",), _metrics(pair)


def _wire_cases(pair: Running, wire: Wire) -> Iterator[Case]:
    """What the tap saw of all the calls above; then a stranger at the other end of it."""
    settled, connections = ", ".join(sorted(set(wire.negotiated))), len(wire.negotiated)
    yield "what the pair negotiated", Duty.MTLS, (f"TLSv1.3 {CIPHER} {CURVE}",), settled
    yield "connections behind each proxy are kept", Duty.KEPT, ("kept",), _kept(pair, wire, connections)
    with impersonating(pair.material.bundle, pair.material.other) as wire.target:
        wire.cut()
        seen = _plain(pair.ports, backend.SMALL, pair.material.token)
    yield "server with another SPIFFE ID", Duty.SERVER_ID, UPSTREAM_REFUSED, seen


def _kept(pair: Running, wire: Wire, connections: int) -> str:
    requests = [_seen_by_app(pair)[2] for _ in range(REPEATED)]
    new = len(wire.negotiated) - connections
    if requests[-1] < REPEATED:
        return "not kept towards the app"
    return "kept" if new <= 1 else f"{new} new for {REPEATED} requests"


def _plain(ports: Ports, path: str, token: str | None) -> str:
    return _attempt(lambda: client.plain(ports.egress), path, token)


def _direct(pair: Running, credential: Credential | None) -> str:
    bundle, port = pair.material.bundle, pair.ports.ingress
    return _attempt(lambda: client.mtls(port, bundle, credential), backend.SMALL, pair.material.token)


def _attempt(connect: Callable[[], http.client.HTTPConnection], path: str, token: str | None) -> str:
    """The status, or CLOSED. In TLS 1.3 a refused client learns of it only when it reads."""
    try:
        with contextlib.closing(connect()) as connection:
            return client.ask(connection, path, token).status
    except BROKEN:
        return client.CLOSED
    except TimeoutError:
        return NO_ANSWER


def _seen_by_app(pair: Running) -> tuple[str, str, int]:
    """The identity and the token that reached the app, and the how manieth request of its connection it was."""
    forged = {"X-Forwarded-Client-Cert": FORGED_IDENTITY}
    with contextlib.closing(client.plain(pair.ports.egress)) as connection:
        body = client.ask(connection, backend.SEEN, pair.material.token, forged).body.decode()
    identity, token, requests = body.split("\n")
    return identity, token, int(requests)


def _download(pair: Running) -> str:
    try:
        with contextlib.closing(client.plain(pair.ports.egress)) as connection:
            _, digest = client.download(connection, backend.LARGE, pair.material.token)
    except (OSError, http.client.HTTPException) as broken:
        return type(broken).__name__
    return "same" if digest == hashlib.sha256(backend.large_body()).hexdigest() else "changed"


def _upload(pair: Running) -> str:
    try:
        with contextlib.closing(client.plain(pair.ports.egress)) as connection:
            return str(client.upload(connection, backend.UPLOAD, pair.material.token, backend.large_body()))
    except (OSError, http.client.HTTPException) as broken:
        return type(broken).__name__


def _metrics(pair: Running) -> str:
    """Whether every side has a metrics page with a counter above zero on it."""
    pages = []
    for url in pair.metrics.values():
        with urllib.request.urlopen(url, timeout=client.TIMEOUT_S) as page:  # noqa: S310 - our own http URL
            pages.append(page.read().decode())
    return "counted" if pages and all(map(_counts, pages)) else "none"


def _counts(page: str) -> bool:
    lines = [line.split() for line in page.splitlines() if not line.startswith("#")]
    return any(re.search("request|_rq_", line[0]) and float(line[-1]) > 0 for line in lines if line)
