"""A mesh whose SVIDs, keys and tokens come from a real ``svidecar authority``, and access tokens from an issuer."""

import contextlib
import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from proxy.tokens.encoding import decode_base64url
from support.authority import RunningAuthority, running_authority
from support.mesh import Mesh
from support.pki import Svid
from support.sidecar import wait_until
from support.tokens import TokenMint
from support.tracing import Ask, WorkingApp

LOGIN = "https://login.example.com"
LOGIN_MINT = TokenMint(kid="login", audience="https://shop.example.com")

ISSUER = """
issuers:
  - issuer: https://login.example.com
    keys: {keys}
    audience: https://shop.example.com
    types: [access_token]
    prefix: "user:"
    scopes: {{shop: [orders.write, stock.read, pay.write, ledger.write]}}
    client_acts: true
"""


class Domain(Mesh):
    """See the module. What ``Mesh`` mints itself nobody believes here."""

    def __init__(self, folder: Path, authority: RunningAuthority) -> None:
        super().__init__(folder)
        self.authority = authority

    def svid(self, name: str, **shape: Any) -> Path:
        """Give the folder that the authority keeps for a workload, if that is not attested."""
        assert not shape
        return self.authority.state / "workloads" / name

    def config(self, name: str, body: str, **changes: str) -> Path:
        """Write the YAML of a sidecar; without another ``identity`` its SVID is that in the authority's folder."""
        at = self.authority.state / "workloads" / name
        files = f"{{svid: {at}/svid.pem, key: {at}/svid_key.pem, bundle: {at}/svid_bundle.pem, poll: 50ms}}"
        return super().config(name, body, **({"identity": f"{{files: {files}}}"} | changes))

    def context(self, name: str = "edge", svid: Svid | None = None) -> ssl.SSLContext:
        """A TLS client of the standard library with the SVID of a workload, once its files are a whole set."""
        assert svid is None
        found: list[ssl.SSLContext] = []

        def load() -> bool:
            found[:] = _of_files(self.svid(name))
            return bool(found)

        wait_until(load, f"files of {name} that fit together")
        return found[0]

    def working_app(self, **asks: Ask) -> WorkingApp:
        """Start an app that works for each request by asking others."""
        app = WorkingApp(**asks)
        self.also_close(app.close)
        return app

    @property
    def tokens(self) -> str:
        """The ``tokens`` of a sidecar: keys and token service of the authority, both known by its SPIFFE ID."""
        url = f"https://127.0.0.1:{self.authority.facts['port']}"
        service = f"{{url: {url}/token, spiffe_id: spiffe://example.org/tts}}"
        return f"tokens:\n  keys: {url}/jwks\n  learn_interval: 100ms\n  service: {service}\n"

    def access(self, sub: str = "alice", **claims: object) -> dict[str, str]:
        """The field with an access token of the issuer: an agent acts for a person."""
        named = {"iss": LOGIN, "sub": sub, "scope": "shop", "client_id": "agent-1", "jti": sub}
        token = LOGIN_MINT.token(header={"typ": "at+jwt"}, **(named | claims)).decode()  # type: ignore[arg-type]
        return {"Authorization": f"Bearer {token}"}


def claims_of(fields: dict[str, str]) -> dict[str, Any]:
    """What the transaction token says that an app was sent."""
    claims: dict[str, Any] = json.loads(decode_base64url(fields["txn-token"].split(".")[1].encode()))
    return claims


def _of_files(folder: Path) -> list[ssl.SSLContext]:
    """None where the authority, which may have been killed there, is between the certificate and its key."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(folder / "svid_bundle.pem")
    with contextlib.suppress(ssl.SSLError):
        context.load_cert_chain(folder / "svid.pem", folder / "svid_key.pem")
        return [context]
    return []


@contextlib.contextmanager
def domain_in(folder: Path, workloads: str, keys: str = "", **environ: str) -> Iterator[Domain]:
    """A domain with these workloads that ends with the block; ``keys``: where those of the issuer are, else in a file.

    The sidecars end before their authority.
    """
    keys = keys or str(folder / "authority" / "login.json")
    config = "listen: 127.0.0.1:0\n" + workloads + ISSUER.format(keys=keys)
    (folder / "authority").mkdir()
    (folder / "authority" / "login.json").write_bytes(LOGIN_MINT.jwks())
    with running_authority(folder / "authority", config, **environ) as authority:
        made = Domain(folder, authority)
        try:
            yield made
        finally:
            made.close()
