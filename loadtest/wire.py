"""A wire tap between the two proxies, for the checks alone: nothing is measured through it.

TLS 1.3 sends the ServerHello in clear, so this is what the pair really negotiated, not what a third party would. It
also counts connections (a pool that does not work shows here) and can lead the egress to an impostor.
"""

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator

HOST = "127.0.0.1"
PIECE_BYTES = 1 << 16
POLL_S = 0.2
HELLO_BYTES = 512  # more than a ServerHello of TLS 1.3 has
SERVER_HELLO = 2
SUPPORTED_VERSIONS, KEY_SHARE = 43, 51  # RFC 8446 section 4.2
VERSIONS = {0x0303: "TLSv1.2", 0x0304: "TLSv1.3"}
SUITES = {0x1301: "TLS_AES_128_GCM_SHA256", 0x1302: "TLS_AES_256_GCM_SHA384", 0x1303: "TLS_CHACHA20_POLY1305_SHA256"}
GROUPS = {0x0017: "P-256", 0x001D: "X25519", 0x11EC: "X25519MLKEM768"}
NOT_TLS = "not TLS"


class Wire:
    """Listens at ``port`` and connects each comer to ``target``, which may be moved.

    ``negotiated`` has one entry for each connection whose server has spoken.
    """

    def __init__(self, listener: socket.socket) -> None:
        self.port: int = listener.getsockname()[1]
        self.target = 0
        self.negotiated: list[str] = []
        self._listener = listener
        self._open: list[socket.socket] = []
        self._done = threading.Event()

    def run(self) -> None:
        """Until ``close``."""
        while not self._done.is_set():
            with contextlib.suppress(OSError):  # a time-out, or a target that is not there
                near, _ = self._listener.accept()
                try:
                    far = socket.create_connection((HOST, self.target))
                except OSError:
                    near.close()
                    continue
                self._open += [near, far]
                self._pump(near, far, tapped=False)
                self._pump(far, near, tapped=True)

    def cut(self) -> None:
        """End every connection, so that the next request needs a new one."""
        while self._open:
            _end(self._open.pop())

    def close(self) -> None:
        """Accept no more, and end what is open."""
        self._done.set()
        self.cut()

    def _pump(self, source: socket.socket, sink: socket.socket, *, tapped: bool) -> None:
        threading.Thread(target=self._copy, args=(source, sink, tapped), daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket, tapped: bool) -> None:  # noqa: FBT001 - Thread's args
        with contextlib.suppress(OSError):  # either end may be gone already
            source.settimeout(None)
            while data := source.recv(PIECE_BYTES):
                if tapped:
                    self.negotiated.append(server_hello(data[:HELLO_BYTES]))
                    tapped = False
                sink.sendall(data)
        _end(source)
        _end(sink)


def _end(connection: socket.socket) -> None:
    """Both ways; a thread that reads there wakes up."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


@contextlib.contextmanager
def tapped() -> Iterator[Wire]:
    """A wire for as long as the block lasts."""
    with socket.create_server((HOST, 0)) as listener:
        listener.settimeout(POLL_S)
        wire = Wire(listener)
        thread = threading.Thread(target=wire.run, daemon=True)
        thread.start()
        try:
            yield wire
        finally:
            wire.close()
            thread.join()


def server_hello(data: bytes) -> str:
    """``TLSv1.3 TLS_AES_128_GCM_SHA256 X25519``, from the first bytes that a server sent (RFC 8446 section 4.1.3)."""
    try:
        if data[0] != 0x16 or data[5] != SERVER_HELLO:
            return NOT_TLS
        version, session_bytes = struct.unpack_from("!H32xB", data, 9)
        suite, _, extensions = struct.unpack_from("!HBH", data, 44 + session_bytes)
        at = 49 + session_bytes
        found = _extensions(data[at : at + extensions])
        (version,) = struct.unpack_from("!H", found.get(SUPPORTED_VERSIONS, struct.pack("!H", version)))
        (group,) = struct.unpack_from("!H", found.get(KEY_SHARE, bytes(2)))
    except (IndexError, struct.error):
        return NOT_TLS
    return " ".join([_named(VERSIONS, version), _named(SUITES, suite), _named(GROUPS, group)])


def _extensions(data: bytes) -> dict[int, bytes]:
    found, at = {}, 0
    while at < len(data):
        kind, length = struct.unpack_from("!HH", data, at)
        found[kind] = data[at + 4 : at + 4 + length]
        at += 4 + length
    return found


def _named(names: dict[int, str], number: int) -> str:
    return names.get(number, f"0x{number:04x}")
