"""nginx, TLS alone: the least that a C proxy costs. No SPIFFE, no token, no scope, no metrics of its own."""

from pathlib import Path

from loadtest.backend import nginx_user
from loadtest.contenders.pair import CIPHER, CURVE, KEEPALIVE, Contender, Duty, Pair, Site
from loadtest.processes import Command

COMMON = """\
daemon off;
worker_processes 1;
pid {directory}/{side}.pid;
error_log stderr crit;
{user}
events {{ worker_connections 8192; }}
http {{
  access_log off;
  tcp_nodelay on;
  keepalive_timeout 1h;
  keepalive_requests 1000000000;
  client_max_body_size 0;
  client_body_temp_path {directory}/{side}-body;
  proxy_temp_path {directory}/{side}-proxy;
  fastcgi_temp_path {directory}/{side}-fastcgi;
  uwsgi_temp_path {directory}/{side}-uwsgi;
  scgi_temp_path {directory}/{side}-scgi;
  proxy_http_version 1.1;
  proxy_request_buffering off;
  proxy_buffer_size 16k;
  proxy_buffers 8 32k;
  proxy_busy_buffers_size 64k;
  proxy_max_temp_file_size 0;
  upstream next {{
    server 127.0.0.1:{next};
    keepalive {keepalive};
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
  }}
{server}
}}
"""

EGRESS = """\
  server {{
    listen 127.0.0.1:{egress} backlog=4096;
    location / {{
      proxy_pass https://next;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_ssl_certificate {certificate};
      proxy_ssl_certificate_key {key};
      proxy_ssl_trusted_certificate {bundle};
      proxy_ssl_verify on;
      proxy_ssl_name orders;
      proxy_ssl_protocols TLSv1.3;
      proxy_ssl_session_reuse off;
      proxy_ssl_conf_command Ciphersuites {cipher};
      proxy_ssl_conf_command Groups {curve};
    }}
  }}"""

INGRESS = """\
  server {{
    listen 127.0.0.1:{ingress} ssl backlog=4096;
    ssl_certificate {certificate};
    ssl_certificate_key {key};
    ssl_client_certificate {bundle};
    ssl_verify_client on;
    ssl_protocols TLSv1.3;
    ssl_conf_command Ciphersuites {cipher};
    ssl_ecdh_curve {curve};
    ssl_session_tickets off;
    ssl_session_cache off;
    location / {{
      proxy_pass http://next;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-Client-Cert $ssl_client_verify;
    }}
  }}"""


def prepare(program: str, site: Site) -> Pair:
    """Two masters with one worker each."""
    ports, material = site.ports, site.material
    tls = {"bundle": material.bundle, "cipher": CIPHER, "curve": CURVE}
    edge = {"certificate": material.edge.certificate, "key": material.edge.key}
    orders = {"certificate": material.orders.certificate, "key": material.orders.key}
    texts = {
        "egress": _config(site, "egress", ports.dial, EGRESS.format(egress=ports.egress, **tls, **edge)),
        "ingress": _config(site, "ingress", ports.backend, INGRESS.format(ingress=ports.ingress, **tls, **orders)),
    }
    commands = [_command(program, site.directory, side, text) for side, text in texts.items()]
    return Pair(commands[0], commands[1], texts)


def _config(site: Site, side: str, port: int, server: str) -> str:
    return COMMON.format(
        directory=site.directory, side=side, next=port, keepalive=KEEPALIVE, server=server, user=nginx_user()
    )


def _command(program: str, directory: Path, side: str, text: str) -> Command:
    path = directory / f"nginx-{side}.conf"
    path.write_text(text)
    return Command(f"nginx {side}", (program, "-p", str(directory), "-e", "stderr", "-c", str(path)), {})


NGINX = Contender(
    name="nginx",
    program="nginx",
    duties=frozenset({Duty.MTLS, Duty.STREAMING, Duty.KEPT}),
    prepare=prepare,
    notes={
        Duty.SERVER_ID: "no: chain and DNS name only",
        Duty.CLIENT_ID: "no: chain only",
        Duty.IDENTITY_HEADER: "no: 'SUCCESS' only",
    },
)
