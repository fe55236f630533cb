"""What the three ports answer."""

import asyncio
import json
from collections.abc import Mapping

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from proxy.admin.health import Gate, Health
from proxy.admin.server import AdminHandlers
from proxy.admin.wait import main
from proxy.control.message import Request, Response
from proxy.control.server import ControlServer
from proxy.net.deadlines import Deadlines
from proxy.net.tasks import Tasks
from proxy.net.transport import EventLoop, Transports
from proxy.observe.catalog import Metrics

HOST = {"host": "127.0.0.1:15000"}


class Sidecar:
    """Handlers with what they need, and a count of drains."""

    def __init__(self) -> None:
        self.health = Health()
        self.metrics = Metrics("1.2.3", "orders")
        self.drains = 0
        self.handlers = AdminHandlers(
            service="orders",
            metrics=self.metrics,
            health=self.health,
            sections=lambda: {"Identity": [("SPIFFE ID", "spiffe://example.org/orders")]},
            names=lambda: {"destinations": ["ledger"], "rules": ["edge may order"]},
            drain=self._drain,
        )

    def _drain(self) -> None:
        self.drains += 1

    async def ask(self, port: str, path: str, method: str = "GET", fields: Mapping[str, str] | None = None) -> Response:
        """Ask one of the ports."""
        request = Request(method, path, fields=HOST if fields is None else fields)
        handler = {
            "metrics": self.handlers.on_metrics,
            "health": self.handlers.on_health,
            "admin": self.handlers.on_admin,
        }[port]
        return await handler(request)


@pytest.fixture
def sidecar() -> Sidecar:
    """One that is not ready."""
    return Sidecar()


@pytest.mark.parametrize("port", ["metrics", "admin"])
async def test_metrics(sidecar: Sidecar, port: str) -> None:
    """A scrape reads what was counted; the handler gives the same bytes as ``expose``."""
    sidecar.metrics.svid_rotations.inc(3)
    answer = await sidecar.ask(port, "/metrics")
    assert answer.status == 200
    assert answer.content_type == "text/plain; version=0.0.4; charset=utf-8"
    read = {metric.name: metric for metric in text_string_to_metric_families(answer.body.decode())}
    assert read["svidecar_svid_rotations"].samples[0].value == 3


async def test_openmetrics_when_asked(sidecar: Sidecar) -> None:
    """By the Accept field."""
    answer = await sidecar.ask("metrics", "/metrics", fields={"accept": "application/openmetrics-text"})
    assert answer.content_type.startswith("application/openmetrics-text")
    assert answer.body.endswith(b"# EOF\n")


async def test_a_scrape_lets_the_loop_run(sidecar: Sidecar) -> None:
    """While 300 histograms are rendered another task gets its turn again and again."""
    for i in range(300):
        sidecar.metrics.server_duration(b"GET", 200, f"/{i}").observe(0.1)
    scrape = asyncio.ensure_future(sidecar.ask("metrics", "/metrics"))  # noqa: TID251 - the test's own
    turns = 0
    while not scrape.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 100
    assert (await scrape).body.count(b"_sum{") > 300


@pytest.mark.parametrize("port", ["health", "admin"])
async def test_live(sidecar: Sidecar, port: str) -> None:
    """Alive, however unready."""
    answer = await sidecar.ask(port, "/healthz/live")
    assert answer.status == 200


@pytest.mark.parametrize("port", ["health", "admin"])
async def test_ready_names_each_gate(sidecar: Sidecar, port: str) -> None:
    """503 with the reason of each gate, until all are open."""
    for gate in Gate:
        sidecar.health.set(gate, True, "loaded")
    sidecar.health.set(Gate.KEYS, False, "the JWK Set could not be fetched")
    answer = await sidecar.ask(port, "/healthz/ready")
    assert answer.status == 503
    body = json.loads(answer.body)
    assert not body["ready"]
    assert body["gates"]["keys"] == {"ok": False, "detail": "the JWK Set could not be fetched"}
    assert [*body["gates"]] == [*Gate]
    sidecar.health.set(Gate.KEYS, True, "1 key")
    answer = await sidecar.ask(port, "/healthz/ready")
    assert answer.status == 200
    assert json.loads(answer.body)["ready"]


async def test_status_page(sidecar: Sidecar) -> None:
    """HTML, not kept by any cache."""
    answer = await sidecar.ask("admin", "/")
    assert answer.status == 200
    assert answer.content_type == "text/html; charset=utf-8"
    assert b"spiffe://example.org/orders" in answer.body
    assert ("Cache-Control", "no-store") in answer.fields


async def test_config_has_names_only(sidecar: Sidecar) -> None:
    """What is configured, by kind."""
    answer = await sidecar.ask("admin", "/config")
    assert json.loads(answer.body) == {"destinations": ["ledger"], "rules": ["edge may order"]}


async def test_drain_is_called_once_for_each_post(sidecar: Sidecar) -> None:
    """202: it has begun."""
    answer = await sidecar.ask("admin", "/drain", "POST")
    assert answer.status == 202
    assert sidecar.drains == 1


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
async def test_a_mutation_is_post_only(sidecar: Sidecar, method: str) -> None:
    """A link or an image must not drain a sidecar."""
    answer = await sidecar.ask("admin", "/drain", method)
    assert answer.status == 405
    assert ("Allow", "POST") in answer.fields
    assert sidecar.drains == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:15000"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
async def test_a_web_page_cannot_drain(sidecar: Sidecar, fields: dict[str, str]) -> None:
    """A form on any site can POST to loopback; browsers say where it comes from."""
    answer = await sidecar.ask("admin", "/drain", "POST", HOST | fields)
    assert answer.status == 403
    assert sidecar.drains == 0


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:15000", "", "127.0.0.1.evil.example", "localhost.evil.example:15000", "10.0.0.1",
     "127.0.0.1:15000:80", "localhost:", "[::1", "user@localhost", "127.0.0.1:999999"],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/", "/config", "/metrics", "/healthz/ready", "/drain"])
async def test_admin_answers_only_to_loopback_names(sidecar: Sidecar, host: str, path: str) -> None:
    """A name that an attacker's DNS points to 127.0.0.1 makes our answers readable to his page."""
    answer = await sidecar.ask("admin", path, "POST" if path == "/drain" else "GET", {"host": host})
    assert answer.status == 403
    assert sidecar.drains == 0


@pytest.mark.parametrize("host", ["localhost", "localhost:15000", "LOCALHOST:15000", "127.0.0.1", "[::1]", "[::1]:8"])
async def test_loopback_names_are_served(sidecar: Sidecar, host: str) -> None:
    """Also through a port forward, whose port is another."""
    assert (await sidecar.ask("admin", "/", fields={"host": host})).status == 200


@pytest.mark.parametrize(("port", "host"), [("metrics", "10.1.2.3:15020"), ("health", "10.1.2.3:15021")])
async def test_scrapes_and_probes_come_to_the_address_of_the_pod(sidecar: Sidecar, port: str, host: str) -> None:
    """Those two ports are for others, and change nothing."""
    path = "/metrics" if port == "metrics" else "/healthz/live"
    assert (await sidecar.ask(port, path, fields={"host": host})).status == 200


@pytest.mark.parametrize(("port", "path"), [("metrics", "/"), ("health", "/healthz"), ("admin", "/quitquitquit")])
async def test_unknown_path_lists_the_known(sidecar: Sidecar, port: str, path: str) -> None:
    """404 with the paths, and without the one that was asked for."""
    answer = await sidecar.ask(port, path + "<script>")
    assert answer.status == 404
    assert b"/metrics" in answer.body or b"/healthz/ready" in answer.body
    assert b"script" not in answer.body


@pytest.mark.parametrize(("port", "path"), [("metrics", "/drain"), ("metrics", "/config"), ("health", "/drain")])
async def test_each_port_serves_only_its_own(sidecar: Sidecar, port: str, path: str) -> None:
    """The ports that are open to others cannot drain, and show no names."""
    assert (await sidecar.ask(port, path, "POST")).status == 404
    assert sidecar.drains == 0


@pytest.mark.parametrize(
    ("port", "path"), [("metrics", "/metrics"), ("health", "/healthz/live"), ("admin", "/"), ("admin", "/config")]
)
async def test_reading_is_get_only(sidecar: Sidecar, port: str, path: str) -> None:
    """HEAD comes as GET; anything else is refused."""
    answer = await sidecar.ask(port, path, "POST")
    assert answer.status == 405
    assert ("Allow", "GET") in answer.fields


async def test_over_the_wire(sidecar: Sidecar) -> None:
    """The real server, stock asyncio, a real client: Accept arrives, HEAD has no body, ``svidecar wait`` understands."""
    loop = asyncio.get_running_loop()
    transports, tasks, deadlines = Transports(loop, EventLoop.ASYNCIO), Tasks("test"), Deadlines(loop)
    servers, ports = [], []
    for handler in (sidecar.handlers.on_metrics, sidecar.handlers.on_health):
        server = ControlServer(transports, tasks, deadlines, handler, name="test")
        ports.append(await server.start("127.0.0.1", 0))
        servers.append(server)
    async with httpx.AsyncClient(trust_env=False) as client:
        scrape = await client.get(
            f"http://127.0.0.1:{ports[0]}/metrics", headers={"Accept": "application/openmetrics-text"}
        )
        head = await client.head(f"http://127.0.0.1:{ports[1]}/healthz/ready")
    code = await loop.run_in_executor(
        None, main, ["--url", f"http://127.0.0.1:{ports[1]}/healthz/ready", "--timeout", "0"]
    )
    for server in servers:
        await server.close()
    await tasks.close()
    deadlines.close()
    assert scrape.text.endswith("# EOF\n")
    assert (head.status_code, head.content) == (503, b"")
    assert code == 1
