"""Raw TCP through two sidecars: an app behind one, a port of its own before the other, and what they are configured with."""

from dataclasses import dataclass

from support.mesh import Mesh
from support.sidecar import Sidecar
from support.tts import Service
from support.wire import Wire

DB_RULE = """
  - name: edge may query
    peers: [spiffe://example.org/edge]
    scopes: [db.query, db.admin]
    routes:
      - {match: "CONNECT db:5432", scopes: [db.query]}
"""


def inbound(port: int, rules: str = DB_RULE, more: str = "") -> str:
    """The YAML before an app of raw TCP."""
    return (
        f'inbound: {{listen: "127.0.0.1:0", app: "tcp://127.0.0.1:{port}"}}\n'
        f"tokens: {{audience: example.org, keys: jwks.json}}\n{more}policy:{rules}"
    )


def outbound(db: Sidecar | int, service: Service | None, more: str = "", **changes: str) -> str:
    """The YAML of a port that leads there; with a token where there is a service to ask."""
    address = db if isinstance(db, int) else db.ports["inbound"]
    to = {
        "listen": '"127.0.0.1:0"',
        "host": '"db:5432"',
        "address": f'"127.0.0.1:{address}"',
        "spiffe_id": "spiffe://example.org/db",
    }
    tokens = ""
    if service is not None:
        to["token"] = "{scope: db.query}"
        tokens = f"tokens: {{audience: example.org, keys: jwks.json, service: {service.yaml}}}\n"
    flow = ", ".join(f"{key}: {value}" for key, value in (to | changes).items())
    return f"outbound:\n  tcp:\n    - {{{flow}}}\n{tokens}{more}"


@dataclass
class Path:
    """Both sidecars, and the token service that one of them asks."""

    mesh: Mesh
    edge: Sidecar
    db: Sidecar
    service: Service

    def connect(self) -> Wire:
        """A connection of the app, raw TCP."""
        return self.mesh.plain(self.edge.ports["tcp0"])

    def peer(self, name: str = "edge") -> Wire:
        """A connection of a peer that speaks to the sidecar before the app itself."""
        return self.mesh.connect(self.db.ports["inbound"], name)


def token_service(mesh: Mesh) -> Service:
    """A token service that ends with the mesh."""
    service = Service(mesh)
    mesh.also_close(service.close)
    return service


def path_to(mesh: Mesh, port: int, **changes: str) -> Path:
    """Both sidecars before an app at this port; ``changes`` are top-level keys of both."""
    service = token_service(mesh)
    db = mesh.start("db", inbound(port), **changes)
    edge = mesh.start("edge", outbound(db, service), **changes)
    return Path(mesh, edge, db, service)
