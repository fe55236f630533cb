"""``issuers:`` of the authority: access tokens of an outside issuer, by its JWK Set over https, and nobody else's."""

import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from support import pki
from support.apps import App
from support.domain import LOGIN, LOGIN_MINT, Domain, claims_of, domain_in
from support.sidecar import Sidecar, wait_until
from support.tokens import TokenMint
from support.tracing import WorkingApp

WORKLOADS = """
workloads:
  - {name: gateway}
  - {name: edge, scopes: [orders.write, admin], issuers: ["https://login.example.com"]}
  - {name: plain, scopes: [orders.write]}
"""
INBOUND = """
inbound: {{listen: 127.0.0.1:0, app: "http://127.0.0.1:{app}"}}
policy:
  - name: the gateway trades
    peers: [spiffe://example.org/gateway]
    scopes: [orders.write, admin]
    routes:
      - {{match: "GET /orders", exchange: {{scope: orders.write}}}}
      - {{match: "GET /admin", exchange: {{scope: admin}}}}
"""


class Login:
    """The issuer's JWK Set on the Web; while it is ``down`` it answers nobody."""

    def __init__(self, folder: Path) -> None:
        root = pki.Authority.make("web")
        leaf = root.svid("", dns=["localhost"])
        self.roots = folder / "roots.pem"
        self.roots.write_bytes(root.bundle_pem)
        (folder / "web.pem").write_bytes(leaf.chain_pem + leaf.key_pem)
        self.answer = LOGIN_MINT.jwks()
        self.fetches = 0
        self.down = threading.Event()
        login = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                login.fetches += 1
                status, body = (503, b"") if login.down.is_set() else (200, login.answer)
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self.server = App(Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "web.pem")
        self.server.server.socket = context.wrap_socket(self.server.server.socket, server_side=True)
        self.url = f"https://localhost:{self.server.port}/jwks"


@pytest.fixture(scope="module")
def login(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Login]:
    """The issuer."""
    made = Login(tmp_path_factory.mktemp("web"))
    yield made
    made.server.close()


@pytest.fixture(scope="module")
def domain(tmp_path_factory: pytest.TempPathFactory, login: Login) -> Iterator[Domain]:
    """A domain whose authority believes the Web's CA of this test."""
    folder = tmp_path_factory.mktemp("domain")
    with domain_in(folder, WORKLOADS, login.url, SSL_CERT_FILE=str(login.roots)) as made:
        yield made


@pytest.fixture(scope="module")
def app(domain: Domain) -> WorkingApp:
    """The app behind the edge."""
    return domain.working_app()


@pytest.fixture(scope="module")
def edge(domain: Domain, app: WorkingApp) -> Sidecar:
    """The sidecar of a workload that may bring tokens of the issuer."""
    return domain.start("edge", INBOUND.format(app=app.port) + domain.tokens)


def trade(domain: Domain, sidecar: Sidecar, fields: dict[str, str], path: str = "/orders") -> tuple[int, str]:
    """Bring an access token."""
    with domain.connect(sidecar.ports["inbound"], "gateway") as wire:
        answer = wire.ask("GET", path, fields)
    return answer.status, answer.reason


def signed_by(mint: TokenMint, sub: str) -> dict[str, str]:
    """An access token of the issuer, with this key."""
    token = mint.token(header={"typ": "at+jwt"}, iss=LOGIN, sub=sub, scope="shop", client_id="agent-1")
    return {"Authorization": f"Bearer {token.decode()}"}


def test_it_becomes_a_transaction(domain: Domain, edge: Sidecar, app: WorkingApp) -> None:
    """Of that person under our prefix, for whom the client acts; with scopes of ours alone."""
    assert trade(domain, edge, domain.access("alice")) == (200, ""), domain.authority.log
    claims = claims_of(app.seen[-1])
    assert (claims["sub"], claims["act"], claims["scope"]) == ("user:alice", {"sub": "agent-1"}, "orders.write")


def test_its_scopes_bound_what_comes_of_it(domain: Domain, edge: Sidecar) -> None:
    """What it does not carry is not given, though the workload may ask for it; a scope without a word of ours is none."""
    assert trade(domain, edge, domain.access("alice", jti="2"), "/admin") == (403, "tts_refused")
    assert trade(domain, edge, domain.access("alice", scope="admin"), "/admin") == (403, "tts_refused")
    assert trade(domain, edge, domain.access("alice", scope="profile")) == (403, "tts_refused")


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "https://other.example.com"},
        {"iss": "https://login.example.org"},
        {"iat": 1_000_000_000, "exp": 1_000_000_300},
        {"client_id": ""},
        {"act": {"sub": "a", "act": {"sub": "a"}}},
    ],
    ids=["another audience", "another issuer", "ended", "nobody acts", "actors in a circle"],
)
def test_tokens_that_are_refused(domain: Domain, edge: Sidecar, app: WorkingApp, claims: dict[str, object]) -> None:
    """By what they say."""
    seen = len(app.seen)
    assert trade(domain, edge, domain.access("mallory", **claims)) == (401, "access_token_refused")
    assert len(app.seen) == seen


def test_tokens_that_others_have_signed(domain: Domain, edge: Sidecar) -> None:
    """Under the issuer's name and kid, or of another kind than an access token."""
    assert trade(domain, edge, signed_by(LOGIN_MINT.forger(), "mallory")) == (401, "access_token_refused")
    for typ in ("JWT", "txntoken+jwt", "logout+jwt"):
        token = LOGIN_MINT.token(header={"typ": typ}, iss=LOGIN, sub="mallory", scope="shop", client_id="a").decode()
        assert trade(domain, edge, {"Authorization": f"Bearer {token}"}) == (401, "access_token_refused")


def test_who_may_not_bring_them(domain: Domain, app: WorkingApp) -> None:
    """A workload that the issuer is not named for."""
    plain = domain.start("plain", INBOUND.format(app=app.port) + domain.tokens)
    assert trade(domain, plain, domain.access("alice")) == (401, "access_token_refused")


def test_its_keys_change_and_go_away(domain: Domain, login: Login, edge: Sidecar) -> None:
    """A new key is looked up once; while the issuer is away known keys go on, and unknown ones are told to wait (503)."""
    second, third = (TokenMint(kid=kid, audience=LOGIN_MINT.audience) for kid in ("login-2", "login-3"))
    before = login.fetches
    login.down.set()
    for number in range(5):
        assert trade(domain, edge, signed_by(second, f"bob-{number}")) == (503, "tts_unavailable")
        assert trade(domain, edge, domain.access(f"carol-{number}")) == (200, "")
    assert login.fetches == before + 1
    login.answer = LOGIN_MINT.jwks(second)
    login.down.clear()
    wait_until(lambda: trade(domain, edge, signed_by(second, "bob")) == (200, ""), "the new key", 20)
    assert login.fetches <= before + 3
    assert trade(domain, edge, signed_by(third, "eve"))[1] in {"access_token_refused", "tts_unavailable"}
