"""HAProxy, as much of the same work as its configuration language can say (2.5 and newer: ``jwt_verify``).

It has no fetch for a URI in a certificate. The client's SPIFFE ID is looked for in the bytes of the certificate, once
for each connection: a subjectAltName that holds exactly this URI. The server's is beyond it. A token is verified on
every request, as there is nowhere to remember it.
"""

from pathlib import Path

from loadtest.contenders.pair import CIPHER, CURVE, KEEPALIVE, Contender, Duty, Pair, Site
from loadtest.material import EDGE, SCOPE, TRUST_DOMAIN, Credential
from loadtest.processes import Command

URI_TAG = 0x86  # GeneralName: uniformResourceIdentifier [6] IMPLICIT (RFC 5280 section 4.2.1.6), then its length

COMMON = """\
global
  nbthread 1
  maxconn 4096
  zero-warning
defaults
  mode http
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  option http-keep-alive
  option splice-auto
frontend metrics
  bind 127.0.0.1:{metrics}
  http-request use-service prometheus-exporter
{sides}
"""

EGRESS = """\
frontend in
  bind 127.0.0.1:{egress} backlog 4096
  default_backend next
backend next
  http-reuse always
  server next 127.0.0.1:{next} pool-max-conn {keepalive} ssl crt {own} ca-file {bundle} verify required \
verifyhost orders ssl-min-ver TLSv1.3 ciphersuites {cipher} no-ssl-reuse alpn http/1.1
"""

INGRESS = """\
frontend in
  bind 127.0.0.1:{ingress} backlog 4096 ssl crt {own} ca-file {bundle} verify required \
ssl-min-ver TLSv1.3 ciphersuites {cipher} curves {curve} no-tls-tickets alpn http/1.1
  tcp-request session reject unless {{ ssl_c_der,hex -m sub {uri} }}
  http-request deny deny_status 400 if {{ req.hdr_cnt(Txn-Token) gt 1 }}
  http-request set-var(txn.token) req.hdr(Txn-Token)
  http-request deny deny_status 401 unless {{ var(txn.token),jwt_header_query('$.alg') -m str ES256 }}
  http-request deny deny_status 401 unless {{ var(txn.token),jwt_header_query('$.typ') -m str txntoken+jwt }}
  http-request set-var(txn.alg) str(ES256)
  http-request deny deny_status 401 unless {{ var(txn.token),jwt_verify(txn.alg,"{public}") 1 }}
  http-request set-var(txn.exp) var(txn.token),jwt_payload_query('$.exp','int')
  http-request set-var(txn.now) date
  http-request deny deny_status 401 if {{ var(txn.exp),sub(txn.now) -m int lt 0 }}
  http-request deny deny_status 401 unless {{ var(txn.token),jwt_payload_query('$.aud') -m str {audience} }}
  http-request deny deny_status 401 unless {{ var(txn.token),jwt_payload_query('$.txn') -m found }}
  http-request deny deny_status 401 unless {{ var(txn.token),jwt_payload_query('$.req_wl') -m found }}
  acl may_read method GET
  acl read_paths path_beg /orders/ /seen/ /files/
  acl may_write method POST
  acl write_paths path_beg /uploads/
  acl in_scope var(txn.token),jwt_payload_query('$.scope') -m reg (^|\\ ){scope}(\\ |$)
  http-request deny deny_status 403 unless may_read read_paths in_scope or may_write write_paths in_scope
  http-request set-header X-Forwarded-Client-Cert URI={edge}
  default_backend next
backend next
  http-reuse always
  server next 127.0.0.1:{next} pool-max-conn {keepalive}
"""


def prepare(program: str, site: Site) -> Pair:
    """One process with one thread each."""
    ports, material = site.ports, site.material
    tls = {"cipher": CIPHER, "bundle": material.bundle, "keepalive": KEEPALIVE}
    egress = EGRESS.format(egress=ports.egress, next=ports.dial, own=_joined(site, "edge", material.edge), **tls)
    ingress = INGRESS.format(
        ingress=ports.ingress,
        next=ports.backend,
        own=_joined(site, "orders", material.orders),
        curve=CURVE,
        uri=san(EDGE),
        public=material.public,
        audience=TRUST_DOMAIN,
        scope=SCOPE.replace(".", "[.]"),
        edge=EDGE,
        **tls,
    )
    texts = {
        "egress": COMMON.format(metrics=ports.spare[0], sides=egress),
        "ingress": COMMON.format(metrics=ports.spare[3], sides=ingress),
    }
    commands = [_command(program, site.directory, side, text) for side, text in texts.items()]
    metrics = tuple(f"http://127.0.0.1:{port}/metrics" for port in (ports.spare[0], ports.spare[3]))
    return Pair(commands[0], commands[1], texts, metrics)


def san(uri: str) -> str:
    """How ``uri`` stands in a certificate, in the upper-case hex of HAProxy's converter."""
    raw = uri.encode()
    if len(raw) > 127:
        raise ValueError("a longer name has a longer length field")
    return (bytes([URI_TAG, len(raw)]) + raw).hex().upper()


def _joined(site: Site, name: str, own: Credential) -> Path:
    """Certificate and key in one file, as HAProxy wants them."""
    path = site.directory / f"{name}-both.pem"
    path.touch(mode=0o600)
    path.write_bytes(own.certificate.read_bytes() + own.key.read_bytes())
    return path


def _command(program: str, directory: Path, side: str, text: str) -> Command:
    path = directory / f"haproxy-{side}.cfg"
    path.write_text(text)
    return Command(f"haproxy {side}", (program, "-db", "-f", str(path)), {})


HAPROXY = Contender(
    name="haproxy",
    program="haproxy",
    duties=frozenset(Duty) - {Duty.SERVER_ID, Duty.TOKEN_CACHE},
    prepare=prepare,
    notes={
        Duty.SERVER_ID: "no: chain and DNS name only",
        Duty.CLIENT_ID: "yes: by the bytes of the certificate",
        Duty.TOKEN_CACHE: "no: verified on every request",
        Duty.IDENTITY_HEADER: "yes: the one it admits, a constant",
    },
)
