"""What the three ports answer: metrics, health, and the admin port on loopback.

The admin port needs no password, so it must not obey a web page that is open in a browser on the same machine: it
serves only a Host that is loopback (against DNS rebinding), and a request that changes something must be a POST
that no page sent.
"""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from proxy.admin.health import Health
from proxy.admin.page import Rows, status_page
from proxy.admin.scrape import Scrapes
from proxy.control.added import Added
from proxy.control.message import NO_STORE, Request, Response, problem
from proxy.observe.catalog import Metrics

_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminHandlers:
    """One handler for each port. HEAD comes to them as GET.

    ``sections``: what the status page shows besides the gates, rows by title. ``names``: what is configured, by kind;
    names only, for values may be secrets. ``identity``: what we hold, without a key. ``drain`` begins it and
    returns at once. ``added``: more paths of the admin port.
    """

    service: str
    metrics: Metrics
    health: Health
    sections: Callable[[], Mapping[str, Rows]]
    names: Callable[[], Mapping[str, Sequence[str]]]
    drain: Callable[[], None]
    identity: Callable[[], Mapping[str, object]] = dict
    added: Mapping[str, Added] = field(default_factory=dict)
    _scrapes: Scrapes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_scrapes", Scrapes(self.metrics, time.perf_counter))

    async def on_metrics(self, request: Request) -> Response:
        """The metrics port."""
        if request.path != "/metrics":
            return _unknown(["/metrics"])
        return await self._metrics(request) if request.method == "GET" else _only("GET")

    async def on_health(self, request: Request) -> Response:
        """The health port."""
        if request.path not in _HEALTH_PATHS:
            return _unknown(_HEALTH_PATHS)
        return self._health(request) if request.method == "GET" else _only("GET")

    async def on_admin(self, request: Request) -> Response:
        """The admin port."""
        if not _is_loopback(request.fields.get("host", "")):
            return problem(403, "this port answers to localhost only")
        if (added := self.added.get(request.path)) is not None:
            return problem(403, _NO_PAGE) if _is_of_a_page(request) else await added.handler(request)
        if request.path not in _ADMIN_PATHS:
            return _unknown([*_ADMIN_PATHS, *self.added])
        if request.path == "/drain":
            return self._drain(request)
        if request.method != "GET":
            return _only("GET")
        if request.path in _HEALTH_PATHS:
            return self._health(request)
        if request.path == "/metrics":
            return await self._metrics(request)
        if request.path == "/identity":
            return _json(200, self.identity())
        return self._config() if request.path == "/config" else self._page()

    async def _metrics(self, request: Request) -> Response:
        content_type, body = await self._scrapes.render(request.fields.get("accept", ""))
        return Response(200, body, content_type)

    def _health(self, request: Request) -> Response:
        if request.path == "/healthz/live":
            return _json(200, {"live": True})
        gates = {gate: {"ok": found.ok, "detail": found.detail} for gate, found in self.health.findings.items()}
        ready = self.health.ready
        return _json(200 if ready else 503, {"ready": ready, "gates": gates})

    def _drain(self, request: Request) -> Response:
        if request.method != "POST":
            return _only("POST")
        if _is_of_a_page(request):
            return problem(403, _NO_PAGE)
        self.drain()
        return _json(202, {"draining": True})

    def _config(self) -> Response:
        return _json(200, {kind: list(names) for kind, names in self.names().items()})

    def _page(self) -> Response:
        paths = _ADMIN_PATHS | {path: added.about for path, added in self.added.items()}
        page = status_page(self.service, self.health.findings, self.sections(), paths.items())
        return Response(200, page.encode("utf-8", "backslashreplace"), "text/html; charset=utf-8", (NO_STORE,))


_HEALTH_PATHS = {
    "/healthz/live": "200 as long as the loop runs",
    "/healthz/ready": "200 when ready, else 503; names each gate",
}
_ADMIN_PATHS = {
    "/": "this page",
    **_HEALTH_PATHS,
    "/metrics": "metrics for Prometheus",
    "/config": "names of what is configured",
    "/identity": "our SVID and the bundles that we trust, without the key",
    "/drain": "POST: stop taking new requests, end when the last is done",
}


_NO_PAGE = "a web page may not do this"


def _is_of_a_page(request: Request) -> bool:
    return "origin" in request.fields or request.fields.get("sec-fetch-site", "none") != "none"


def _is_loopback(host: str) -> bool:
    name, _, port = host.rpartition(":") if host.rpartition(":")[2].isdigit() else (host, "", "")
    return name.lower() in _LOOPBACK and len(port) <= 5


def _unknown(paths: Iterable[str]) -> Response:
    return problem(404, f"the paths here are {' '.join(paths)}")


def _only(method: str) -> Response:
    return problem(405, f"only {method} is served here", fields=(("Allow", method),))


def _json(status: int, value: Mapping[str, object]) -> Response:
    return Response(status, json.dumps(value).encode() + b"\n", "application/json", (NO_STORE,))
