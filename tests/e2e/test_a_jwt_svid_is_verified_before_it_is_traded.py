"""A JWT-SVID that a request brings is verified by the sidecar itself, by the agent's keys of now, before it is traded."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from spiffe._proto import workload_pb2
from support.agent import Agent, x509_response
from support.apps import App
from support.mesh import EDGE, Mesh
from support.sidecar import Sidecar, wait_until
from support.tokens import TokenMint, compact_json
from support.tts import Service

TTS = "spiffe://example.org/tts"
YAML = """
inbound: {{listen: 127.0.0.1:0, app: "http://127.0.0.1:{app}"}}
tokens: {{keys: jwks.json, service: {service}}}
policy:
  - name: the gateway trades
    peers: [spiffe://example.org/gateway]
    scopes: [orders.read]
    routes:
      - match: "GET /orders/{{id}}"
        scopes: [orders.read]
        exchange: {{scope: orders.read, subject: {{type: jwt_svid, audience: "{tts}"}}}}
"""
OWN, OTHER = TokenMint(kid="own", number=1), TokenMint(kid="other", number=2)


def keys(**mints: TokenMint) -> Any:
    """What the agent says of keys, for ``example.org`` and ``other.org``."""
    names = {"own": "spiffe://example.org", "other": "spiffe://other.org"}
    sets = {names[who]: compact_json({"keys": [{**mint.jwk, "use": "jwt-svid"}]}) for who, mint in mints.items()}
    return workload_pb2.JWTBundlesResponse(bundles=sets)


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    """The agent of the edge."""
    with Agent.start(tmp_path_factory.mktemp("a") / "s") as made:
        yield made


@pytest.fixture(scope="module")
def service(mesh: Mesh) -> Iterator[Service]:
    """The token service: it would take anything."""
    made = Service(mesh)
    yield made
    made.close()


@pytest.fixture(scope="module")
def app(mesh: Mesh) -> App:
    """The app behind the edge."""
    return mesh.app()


@pytest.fixture(scope="module")
def edge(mesh: Mesh, service: Service, app: App, agent: Agent) -> Sidecar:
    """The sidecar at the edge, with an identity and keys from its agent."""
    agent.give(x509_response(mesh.ca.svid(EDGE), mesh.ca), keys(own=OWN, other=OTHER))
    body = YAML.format(app=app.port, service=service.yaml, tts=TTS)
    config = mesh.config("edge", body, identity=f"{{workload_api: {{socket: '{agent.endpoint}'}}}}")
    made = mesh.run(config).wait_until_ready()
    wait_until(lambda: made.metric("svidecar_workload_api_stream_open", stream="jwt_bundles"), "the keys")
    return made


@pytest.fixture(autouse=True)
def _anew(service: Service, app: App) -> None:
    service.asked.clear()
    app.requests.clear()


def jwt_svid(mint: TokenMint = OWN, header: dict[str, Any] | None = None, **claims: Any) -> str:
    """A good one for the token service, changed."""
    known = {"sub": "spiffe://example.org/batch", "aud": [TTS], "exp": int(time.time()) + 300, **claims}
    return mint.sign({"alg": "ES256", "kid": mint.kid, "typ": "JWT", **(header or {})}, compact_json(known)).decode()


def bring(mesh: Mesh, edge: Sidecar, token: str) -> tuple[int, str, str]:
    """Bring it to the edge: status, reason and detail."""
    with mesh.connect(edge.ports["inbound"], "gateway") as wire:
        answer = wire.ask("GET", "/orders/1", {"Authorization": f"Bearer {token}"})
    return answer.status, answer.reason, str(answer.json.get("detail", ""))


def test_a_good_one_is_traded(mesh: Mesh, service: Service, app: App, edge: Sidecar) -> None:
    """As a JWT, of our own domain or of a federated one; the app never sees it."""
    for token in (jwt_svid(), jwt_svid(OTHER, sub="spiffe://other.org/batch")):
        assert bring(mesh, edge, token)[0] == 200
        assert (service.asked[-1]["subject_token"], service.asked[-1]["subject_token_type"]) == (
            token,
            "urn:ietf:params:oauth:token-type:jwt",
        )
        assert app.fields("authorization") == []
        assert len(app.fields("txn-token")) == 1


@pytest.mark.parametrize(
    ("reason", "token"),
    [
        ("token_wrong_audience", lambda: jwt_svid(aud=["spiffe://example.org/edge"])),
        ("token_expired", lambda: jwt_svid(exp=1_700_000_000)),
        ("token_claims_invalid", lambda: jwt_svid(exp=None)),
        ("token_claims_invalid", lambda: jwt_svid(sub="batch")),
        ("token_wrong_type", lambda: jwt_svid(header={"typ": "at+jwt"})),
        ("token_malformed", lambda: jwt_svid(header={"x5u": "https://example.net"})),
        ("token_bad_signature", lambda: jwt_svid(OWN.forger())),
        ("token_unknown_key", lambda: jwt_svid(OTHER)),
        ("token_unknown_key", lambda: jwt_svid(sub="spiffe://other.org/batch")),
        ("token_unknown_key", lambda: jwt_svid(TokenMint())),  # the key of the transaction tokens
        ("unknown_trust_domain", lambda: jwt_svid(sub="spiffe://third.org/batch")),
    ],
)
def test_what_is_not_believed_goes_nowhere(
    reason: str, token: Any, mesh: Mesh, service: Service, app: App, edge: Sidecar
) -> None:
    """The service is not asked, whatever it would say, and the app sees nothing."""
    assert bring(mesh, edge, token()) == (401, "access_token_refused", f"the JWT-SVID is refused: {reason}")
    assert service.asked == []
    assert app.requests == []


def test_a_key_that_is_gone_takes_its_tokens_with_it(mesh: Mesh, service: Service, agent: Agent, edge: Sidecar) -> None:
    """Also those that were traded before: the transaction token that is held is of no use to them any more."""
    token = jwt_svid()
    assert [bring(mesh, edge, token)[0] for _ in range(2)] == [200, 200]
    assert len(service.asked) == 1
    agent.give(x509_response(mesh.ca.svid(EDGE), mesh.ca), keys(other=OTHER))
    wait_until(lambda: bring(mesh, edge, token)[0] == 401, "the new keys")
    assert bring(mesh, edge, token)[2] == "the JWT-SVID is refused: unknown_trust_domain"


def test_without_keys_nobody_is_believed(mesh: Mesh, service: Service, app: App, tmp_path: Path) -> None:
    """An agent that gives an identity and no keys: nothing is traded, and the caller may come again."""
    with Agent.start(tmp_path / "s") as bare:
        bare.give(x509_response(mesh.ca.svid(EDGE), mesh.ca))
        body = YAML.format(app=app.port, service=service.yaml, tts=TTS)
        config = mesh.config("bare", body, identity=f"{{workload_api: {{socket: '{bare.endpoint}'}}}}")
        sidecar = mesh.run(config).wait_until_ready()
        assert bring(mesh, sidecar, jwt_svid())[:2] == (503, "keys_unavailable")
        assert service.asked == []
        bare.refuse(grpc.StatusCode.UNAVAILABLE)
