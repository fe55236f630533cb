"""A TLS server that was not meant: same trust domain, another SPIFFE ID, and it says 200 to anything."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

from loadtest.material import Credential

ACCEPT_S = 0.2
READ_S = 2.0
YES = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@contextlib.contextmanager
def impersonating(bundle: Path, credential: Credential) -> Iterator[int]:
    """The port where it stands with ``credential``, for as long as the block lasts."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(credential.certificate, credential.key)
    context.load_verify_locations(bundle)
    context.verify_mode = ssl.CERT_REQUIRED
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(ACCEPT_S)
        thread = threading.Thread(target=_serve, args=(listener, context, done), daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            done.set()
            thread.join()


def _serve(listener: socket.socket, context: ssl.SSLContext, done: threading.Event) -> None:
    while not done.is_set():
        with contextlib.suppress(OSError):  # a time-out, and every way in which a client says no
            raw, _ = listener.accept()
            raw.settimeout(READ_S)
            with context.wrap_socket(raw, server_side=True) as secured:
                if secured.recv(65536):
                    secured.sendall(YES)
