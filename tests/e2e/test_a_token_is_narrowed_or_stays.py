"""A destination that may see less of a transaction gets a narrower token of it from the token service, or none at all."""

import time
from collections.abc import Iterator

import pytest
from support.apps import App
from support.mesh import Mesh, outbound
from support.sidecar import Sidecar
from support.tracing import TracingApp
from support.tts import TYPE, Service

LEDGER = """
inbound: {{listen: 127.0.0.1:0, app: "http://127.0.0.1:{app}"}}
tokens: {{keys: jwks.json}}
policy:
  - name: orders may read
    peers: [spiffe://example.org/orders]
    scopes: [ledger.read, orders.read]
    routes: [{{match: "GET /entries/{{id}}"}}]
"""
ORDERS = """
inbound: {{listen: 127.0.0.1:0, app: "http://127.0.0.1:{app}"}}
tokens: {{keys: jwks.json, service: {service}}}
policy:
  - name: whoever calls
    peers: ["spiffe://example.org/*"]
    scopes: [ledger.read, ledger.write, orders.read]
    routes: [{{match: "GET /orders/{{id}}"}}]
"""
WIDE = "ledger.read ledger.write orders.read"


@pytest.fixture(scope="module")
def ledger(mesh: Mesh) -> App:
    """The app that may see less."""
    return mesh.app()


@pytest.fixture(scope="module")
def middle() -> Iterator[TracingApp]:
    """The app that passes on its trace."""
    made = TracingApp()
    yield made
    made.close()


@pytest.fixture(scope="module")
def orders(mesh: Mesh, service: Service, ledger: App, middle: TracingApp) -> Sidecar:
    """The sidecar that narrows."""
    at_ledger = mesh.start("ledger", LEDGER.format(app=ledger.port))
    at = f'address: "127.0.0.1:{at_ledger.ports["inbound"]}", spiffe_id: spiffe://example.org/ledger'
    made = mesh.start(
        "orders",
        ORDERS.format(app=middle.port, service=service.yaml)
        + outbound(
            f"host: ledger, {at}, narrow: ledger.read orders.read, propagate: tracestate",
            f"host: own, {at}, narrow: [ledger.read], token: {{scope: ledger.read}}",
            f"host: writes, {at}, narrow: [ledger.write], token: {{scope: ledger.write}}",
        ),
    )
    middle.port_of_sidecar = made.ports["outbound"]
    return made


@pytest.fixture(autouse=True)
def _anew(mesh: Mesh, service: Service, ledger: App, orders: Sidecar) -> None:
    del mesh, orders
    service.asked.clear()
    ledger.requests.clear()


def replaces(service: Service, mesh: Mesh, **claims: object) -> None:
    """Let the service replace tokens of alice's transaction ``t``, changed by ``claims``."""

    def issue(form: dict[str, str]) -> tuple[int, dict[str, object]]:
        values = {"txn": "t", "scope": form["scope"], "exp": int(time.time()) + 60, **claims}
        raw = mesh.mint.token(**values)  # type: ignore[arg-type]
        return 200, {"access_token": raw.decode(), "issued_token_type": TYPE, "token_type": "N_A"}

    service.issue = issue


def test_a_wider_token_is_traded_for_a_narrower_one(mesh: Mesh, service: Service, ledger: App, orders: Sidecar) -> None:
    """Once for many requests; the wide one stays here; what is asked for is what both have."""
    replaces(service, mesh)
    wide = mesh.bearer(txn="t", scope="ledger.write ledger.read")
    with mesh.plain(orders.ports["outbound"]) as wire:
        for _ in range(3):
            assert wire.ask("GET", "/entries/1", wide, host="ledger").status == 200
    (form,) = service.asked
    assert (form["subject_token"], form["scope"]) == (wide["Txn-Token"], "ledger.read")
    assert form["subject_token_type"] == form["requested_token_type"] == TYPE
    assert form["client_id"] == "spiffe://example.org/orders"
    assert all(ledger.fields("txn-token", index) != [wide["Txn-Token"]] for index in range(3))


def test_a_token_that_is_narrow_already_goes_as_it_is(
    mesh: Mesh, service: Service, ledger: App, orders: Sidecar
) -> None:
    """Nobody is asked."""
    narrow = mesh.bearer(txn="t", scope="ledger.read orders.read")
    with mesh.plain(orders.ports["outbound"]) as wire:
        assert wire.ask("GET", "/entries/1", narrow, host="ledger").status == 200
    assert service.asked == []
    assert ledger.fields("txn-token") == [narrow["Txn-Token"]]


def test_the_remembered_transaction_is_narrowed_too(mesh: Mesh, service: Service, ledger: App, orders: Sidecar) -> None:
    """No line of code in the app: it is found by its trace, and only its narrow form leaves."""
    replaces(service, mesh)
    wide = mesh.bearer(txn="t", scope=WIDE)
    with mesh.connect(orders.ports["inbound"]) as wire:
        assert wire.ask("GET", "/orders/1", wide).json["status"] == 200
    (form,) = service.asked
    assert (form["subject_token"], form["scope"]) == (wide["Txn-Token"], "ledger.read orders.read")
    assert ledger.fields("txn-token") != [wide["Txn-Token"]]


@pytest.mark.parametrize(
    "claims",
    [
        {"txn": "other"},
        {"sub": "mallory"},
        {"scope": WIDE},
        {"scope": "orders.read ledger.read admin"},
        {"aud": "other.org"},
        {"act": {"sub": "agent"}},
        {"exp": 1},
    ],
    ids=lambda claims: next(iter(claims)),
)
def test_an_answer_that_is_no_narrowing(
    mesh: Mesh, service: Service, ledger: App, orders: Sidecar, claims: dict[str, object]
) -> None:
    """Another transaction, somebody else's, as wide as before or wider: neither the old nor the new one leaves."""
    replaces(service, mesh, **claims)
    wide = mesh.bearer(txn="t", scope=WIDE, jti=str(claims))
    with mesh.plain(orders.ports["outbound"]) as wire:
        answer = wire.ask("GET", "/entries/1", wide, host="ledger")
    assert (answer.status, answer.reason) == (502, "tts_bad_answer")
    assert ledger.requests == []


@pytest.mark.parametrize(
    ("status", "error", "told"), [(400, "invalid_scope", "tts_refused"), (500, "", "tts_unavailable")]
)
def test_the_wider_token_never_leaves(
    mesh: Mesh, service: Service, ledger: App, orders: Sidecar, status: int, error: str, told: str
) -> None:
    """Where the service refuses or fails the request ends here, again and again."""
    service.issue = lambda _: (status, {"error": error})
    wide = mesh.bearer(txn="t", scope=WIDE, jti=told)
    with mesh.plain(orders.ports["outbound"]) as wire:
        for _ in range(3):
            assert wire.ask("GET", "/entries/1", wide, host="ledger").reason == told
    assert ledger.requests == []


def test_a_token_that_cannot_be_narrowed(mesh: Mesh, service: Service, ledger: App, orders: Sidecar) -> None:
    """Nothing in common with what may be seen, not good itself, or of an unknown key: nobody is asked."""
    with mesh.plain(orders.ports["outbound"]) as wire:
        for token, reason in (
            (mesh.bearer(scope="ledger.write"), "scope_missing"),
            ({"Txn-Token": mesh.mint.forger().token(scope=WIDE).decode()}, "token_bad_signature"),
            (mesh.bearer(exp=1, iat=0, scope=WIDE), "token_expired"),
            ({"Txn-Token": mesh.mint.token(header={"kid": "unknown"}, scope=WIDE).decode()}, "token_unknown_key"),
        ):
            assert wire.ask("GET", "/entries/1", token, host="ledger").reason == reason
    assert service.asked == ledger.requests == []


def test_the_workload_s_own_token_is_asked_for_narrow(
    mesh: Mesh, service: Service, ledger: App, orders: Sidecar
) -> None:
    """Where there is no transaction, ``token`` is asked for, once; ``narrow`` asks for nothing more."""
    service.issue = service.token
    with mesh.plain(orders.ports["outbound"]) as wire:
        assert wire.ask("GET", "/entries/1", host="own").status == 200
    (form,) = service.asked
    assert form["subject_token_type"] != TYPE
    assert len(ledger.requests) == 1


def test_a_service_that_gives_more_than_was_asked_for(
    mesh: Mesh, service: Service, ledger: App, orders: Sidecar
) -> None:
    """It may (specs 1.3); such a token of our own stays here, where the destination may see less."""
    replaces(service, mesh, scope=WIDE)
    with mesh.plain(orders.ports["outbound"]) as wire:
        for _ in range(2):
            answer = wire.ask("GET", "/entries/1", host="writes")
            assert (answer.status, answer.reason) == (502, "tts_bad_answer")
    assert ledger.requests == []


def test_a_service_that_is_gone(mesh: Mesh, service: Service, ledger: App, orders: Sidecar) -> None:
    """The last test of this file."""
    service.close()
    with mesh.plain(orders.ports["outbound"]) as wire:
        answer = wire.ask("GET", "/entries/1", mesh.bearer(txn="t", scope=WIDE, jti="last"), host="ledger")
    assert (answer.status, answer.reason) == (503, "tts_unavailable")
    assert ledger.requests == []
