"""The tap reads what a server has chosen."""

import ssl
from pathlib import Path

import pytest

from loadtest import material
from loadtest.client import context
from loadtest.wire import NOT_TLS, server_hello


@pytest.fixture(scope="module")
def hello(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The first flight of a real server."""
    made = material.make(tmp_path_factory.mktemp("pki"))
    return first_flight(made.bundle, made.edge, made.orders)


def first_flight(bundle: Path, edge: material.Credential, orders: material.Credential) -> bytes:
    """What a server with ``orders`` sends first to a client with ``edge``."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(orders.certificate, orders.key)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context(bundle, edge).wrap_bio(to_client, to_server)
    answering = server.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, answering):
        with pytest.raises(ssl.SSLWantReadError):
            side.do_handshake()
    return to_client.read()


def test_a_server_hello_says_version_suite_and_group(hello: bytes) -> None:
    """As two OpenSSLs agree by default."""
    version, suite, group = server_hello(hello).split()
    assert (version, suite[:8]) == ("TLSv1.3", "TLS_AES_")
    assert group in {"X25519", "X25519MLKEM768", "P-256"}


def test_what_is_cut_or_no_tls_is_said_so(hello: bytes) -> None:
    """Never an exception in the thread of the tap."""
    assert all(server_hello(hello[:cut]) == NOT_TLS for cut in range(80))
    assert server_hello(b"HTTP/1.1 400 Bad Request\r\n") == NOT_TLS


def test_an_unknown_number_is_shown_as_it_is(hello: bytes) -> None:
    """A suite that the table has no name for."""
    at = 44 + hello[43]
    assert server_hello(hello[:at] + b"\x13\x05" + hello[at + 2 :]).split()[1] == "0x1305"
