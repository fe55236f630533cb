"""svidecar, both sides. TLS suite and curve are pinned from outside, by an OpenSSL configuration (config(5)).

As the image has it: with the hot path compiled, where there is a C compiler (``loadtest.build``); or as plain Python.
"""

import os
import sys
from pathlib import Path

import yaml

from loadtest.contenders.pair import CIPHER, CURVE, KEEPALIVE, Contender, Duty, Pair, Site
from loadtest.material import EDGE, ORDERS, SCOPE, TRUST_DOMAIN, Credential
from loadtest.processes import Command

TREE = "SVIDECAR_LOADTEST_TREE"
"""In the environment of a scenario that runs as a program of its own: the compiled copy."""
PLAIN = Path(__file__).resolve().parents[2]
"""The tree that this file is part of."""
ROUTES = ("GET /orders/{id}", "GET /seen/{id}", "GET /files/{name}", "POST /uploads/{name}")

OPENSSL = f"""\
openssl_conf = all
[all]
ssl_conf = every_context
[every_context]
system_default = pinned
[pinned]
Ciphersuites = {CIPHER}
Groups = {CURVE}
"""


def prepare(_program: str, site: Site) -> Pair:
    """One process each, of this Python: the package is taken from ``site.tree``, whatever is installed."""
    pinned = site.directory / "openssl.cnf"
    pinned.write_text(OPENSSL)
    texts = {
        "egress": yaml.safe_dump(_egress(site), sort_keys=False),
        "ingress": yaml.safe_dump(_ingress(site), sort_keys=False),
    }
    commands = [_command(site, side, text, pinned) for side, text in texts.items()]
    metrics = tuple(f"http://127.0.0.1:{port}/metrics" for port in (site.ports.spare[0], site.ports.spare[3]))
    return Pair(commands[0], commands[1], texts | {"openssl.cnf": OPENSSL}, metrics)


def _command(site: Site, side: str, text: str, pinned: Path) -> Command:
    path = site.directory / f"svidecar-{side}.yaml"
    path.write_text(text)
    built = site.tree or os.environ.get(TREE)
    environment = {"OPENSSL_CONF": str(pinned), "PYTHONPATH": str(built or PLAIN)}
    if built:
        # As in the image: bytecode without docstrings, made beforehand (here by the start that is checked, before any
        # that is measured), since what a compiler leaves behind in the heap stays there.
        environment |= {
            "PYTHONOPTIMIZE": "2",
            "PYTHONPYCACHEPREFIX": f"{built}/bytecode",
            "PYTHONDONTWRITEBYTECODE": "",
        }
    run = (sys.executable, "-P", "-m", "proxy", "run", "--config", str(path))  # -P: not the working directory's
    return Command(f"svidecar {side}", run, environment)


def _egress(site: Site) -> dict[str, object]:
    destination = {"host": "orders", "address": f"127.0.0.1:{site.ports.dial}", "spiffe_id": ORDERS}
    return {
        "service": "edge",
        "trust_domain": TRUST_DOMAIN,
        "identity": _identity(site, site.material.edge),
        "outbound": {"listen": f"127.0.0.1:{site.ports.egress}", "destinations": [destination]},
        **_kept(),
        **_operators_ports(site.ports.spare[:3]),
    }


def _ingress(site: Site) -> dict[str, object]:
    rule = {
        "name": "edge may order",
        "peers": [EDGE],
        "scopes": [SCOPE],
        "routes": [{"match": match, "scopes": [SCOPE]} for match in ROUTES],
    }
    return {
        "service": "orders",
        "trust_domain": TRUST_DOMAIN,
        "identity": _identity(site, site.material.orders),
        "inbound": {
            "listen": f"127.0.0.1:{site.ports.ingress}",
            "app": f"http://127.0.0.1:{site.ports.backend}",
        },
        "tokens": {"audience": TRUST_DOMAIN, "keys": str(site.material.jwks)},
        "policy": [rule],
        **_kept(),
        **_operators_ports(site.ports.spare[3:]),
    }


def _kept() -> dict[str, object]:
    """Connections behind it are kept for as long, and as many, as every contender is told to."""
    return {
        "limits": {"upstream_idle_connections": KEEPALIVE},
        "timeouts": {"app_idle": "1h", "upstream_idle": "1h", "idle": "1h"},
    }


def _identity(site: Site, own: Credential) -> dict[str, object]:
    return {"files": {"svid": str(own.certificate), "key": str(own.key), "bundle": str(site.material.bundle)}}


def _operators_ports(ports: tuple[int, ...]) -> dict[str, object]:
    names = ("metrics", "health", "admin")
    return {name: {"listen": f"127.0.0.1:{port}"} for name, port in zip(names, ports, strict=True)}


SVIDECAR = Contender(name="svidecar", program="python", duties=frozenset(Duty), prepare=prepare)
INTERPRETED = Contender(name="svidecar-interpreted", program="python", duties=frozenset(Duty), prepare=prepare)
