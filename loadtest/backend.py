"""The app behind every contender: nginx, as cheap as an app can be, and a sink where uploads end.

It answers 130 bytes from memory, files with sendfile, and tells on ``/seen`` which identity and token reached it.
"""

import contextlib
import functools
import getpass
import os
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from loadtest.processes import Command, Process, free_ports, running

SMALL_BYTES = 130
SIZES = {"1k": 1024, "64k": 64 * 1024}
"""Answers by the name of their file, beside the small, the large and the huge one."""
LARGE_BYTES = 10 * 1024 * 1024
HUGE_BYTES = 64 * 1024 * 1024  # more than all socket buffers on the way can hold (32 MB each at the very most)

SMALL = "/orders/1"
SEEN = "/seen/1"
LARGE = "/files/large"
HUGE = "/files/huge"
FILES = "/files/"
UPLOAD = "/uploads/large"
STALLED_UPLOAD = "/uploads/stalled"

NGINX = """\
daemon off;
worker_processes 1;
pid {directory}/backend.pid;
error_log stderr crit;
{user}
events {{ worker_connections 8192; }}
http {{
  access_log off;
  default_type application/octet-stream;
  sendfile on;
  tcp_nopush on;
  tcp_nodelay on;
  open_file_cache max=16 inactive=1h;
  keepalive_timeout 1h;
  keepalive_requests 1000000000;
  client_max_body_size 0;
  client_body_temp_path {directory}/backend-body;
  proxy_temp_path {directory}/backend-proxy;
  fastcgi_temp_path {directory}/backend-fastcgi;
  uwsgi_temp_path {directory}/backend-uwsgi;
  scgi_temp_path {directory}/backend-scgi;
  upstream sink {{
    server 127.0.0.1:{sink};
    keepalive 256;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location /orders/ {{ return 200 "{small}"; }}
    location /seen/ {{ return 200 "$http_x_forwarded_client_cert\\n$http_txn_token\\n$connection_requests"; }}
    location /files/ {{ root {directory}; }}
    location /uploads/ {{
      proxy_pass http://sink;
      proxy_http_version 1.1;
      proxy_request_buffering off;
      proxy_set_header Connection "";
    }}
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class Backend:
    """Where it listens, and its process, so that its share of the load core can be told."""

    port: int
    process: Process


@contextlib.contextmanager
def serving(directory: Path, nginx: str, on: tuple[int, ...]) -> Iterator[Backend]:
    """The backend and its sink, for as long as the block lasts."""
    port, sink = free_ports(2)
    (directory / "files").mkdir(exist_ok=True)
    (directory / "files" / "large").write_bytes(large_body())
    for name, size in SIZES.items():
        (directory / "files" / name).write_bytes(large_body()[:size])
    with (directory / "files" / "huge").open("wb") as huge:
        huge.truncate(HUGE_BYTES)
    small = "orders " * (SMALL_BYTES // 7) + "." * (SMALL_BYTES % 7)
    config = directory / "backend.conf"
    config.write_text(NGINX.format(directory=directory, port=port, sink=sink, small=small, user=nginx_user()))
    drain = Command("sink", (sys.executable, "-m", "loadtest.sink", str(sink)), {})
    serve = Command("backend", (nginx, "-p", str(directory), "-e", "stderr", "-c", str(config)), {})
    with (
        running(drain, on=on, log=directory / "sink.log") as sink_process,
        running(serve, on=on, log=directory / "backend.log") as process,
    ):
        sink_process.wait_for_port(sink)
        process.wait_for_port(port)
        yield Backend(port, process)


@functools.cache
def large_body() -> bytes:
    """The bytes of LARGE: the same in every run, and nothing that compresses."""
    return random.Random(1).randbytes(LARGE_BYTES)


def nginx_user() -> str:
    """The worker must stay who we are, to read our files; only root may (and must) say so."""
    return f"user {getpass.getuser()};" if os.geteuid() == 0 else ""
