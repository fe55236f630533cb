"""ghostunnel: raw TLS, one tunnel for each connection. It knows no HTTP, so no token, no header, no pool.

Go's key exchange would be X25519MLKEM768: the post-quantum half is switched off, so that all have the same curve.
"""

from loadtest.contenders.pair import Contender, Duty, Pair, Site
from loadtest.material import EDGE, ORDERS, Credential
from loadtest.processes import Command

GO = {"GODEBUG": "tlsmlkem=0"}


def prepare(program: str, site: Site) -> Pair:
    """A client and a server, configured by their arguments alone."""
    ports, status = site.ports, (site.ports.spare[0], site.ports.spare[3])
    calls = {
        "egress": [
            *(program, "client", "--listen", _at(ports.egress), "--target", _at(ports.dial), "--verify-uri", ORDERS),
            *("--override-server-name", "orders"),  # it always compares a DNS name too
            *_tls(site, site.material.edge, status[0]),
        ],
        "ingress": [
            *(program, "server", "--listen", _at(ports.ingress), "--target", _at(ports.backend), "--allow-uri", EDGE),
            *_tls(site, site.material.orders, status[1]),
        ],
    }
    commands = [Command(f"ghostunnel {side}", tuple(call), GO) for side, call in calls.items()]
    return Pair(commands[0], commands[1], {side: " ".join(call) for side, call in calls.items()})


def _tls(site: Site, own: Credential, status: int) -> list[str]:
    credential = ["--cert", str(own.certificate), "--key", str(own.key), "--cacert", str(site.material.bundle)]
    return [*credential, "--status", f"http://{_at(status)}"]


def _at(port: int) -> str:
    return f"127.0.0.1:{port}"


GHOSTUNNEL = Contender(
    name="ghostunnel",
    program="ghostunnel",
    duties=frozenset({Duty.MTLS, Duty.SERVER_ID, Duty.CLIENT_ID, Duty.STREAMING}),
    prepare=prepare,
    notes={Duty.KEPT: "no: a tunnel for each", Duty.METRICS: "of connections only"},
)
