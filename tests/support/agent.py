"""A SPIFFE agent for tests: gRPC's own server (grpcio, a HTTP/2 that is not ours) with protobuf's own messages.

with Agent.start(folder / "api.sock") as agent:
    agent.give(x509_response(svid, ca))
    agent.refuse(grpc.StatusCode.PERMISSION_DENIED)
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
from spiffe._proto import workload_pb2, workload_pb2_grpc

from support.pki import Authority, Svid, der


def x509_svid(svid: Svid, ca: Authority, **changes: Any) -> Any:
    """One identity as an agent sends it."""
    fields = {
        "spiffe_id": uri_of(svid),
        "x509_svid": b"".join(svid.chain_der),
        "x509_svid_key": svid.key_der,
        "bundle": b"".join(der(anchor) for anchor in ca.anchors),
    }
    return workload_pb2.X509SVID(**{**fields, **changes})


def x509_response(svid: Svid, ca: Authority, federated: Mapping[str, bytes] | None = None) -> Any:
    """The full state with one identity."""
    return workload_pb2.X509SVIDResponse(svids=[x509_svid(svid, ca)], federated_bundles=federated or {})


def uri_of(svid: Svid) -> str:
    """The SPIFFE ID of a leaf."""
    from cryptography import x509

    names = svid.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return names.value.get_values_for_type(x509.UniformResourceIdentifier)[0]


class Agent(workload_pb2_grpc.SpiffeWorkloadAPIServicer):
    """What it gives, or how it refuses, changes under way; each open stream gets every change."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._x509: Any = None
        self._jwt_bundles: Any = None
        self._refusal: Any = grpc.StatusCode.PERMISSION_DENIED
        self._version = 0
        self._ended = False
        self.metadata: list[tuple[str, str]] = []
        self.opened = 0
        self.asked: list[Any] = []
        self.jwt_svid: Callable[[Any], Any] = lambda _request: workload_pb2.JWTSVIDResponse()

    @classmethod
    @contextlib.contextmanager
    def start(cls, socket: Path | None = None) -> Iterator["Agent"]:
        """Serve on a Unix socket, or (without one) on a port of loopback."""
        agent = cls()
        with agent.listening(socket):
            yield agent

    @contextlib.contextmanager
    def listening(self, socket: Path | None = None) -> Iterator[None]:
        """Serve until the end of the block; it may be entered again."""
        self._ended = False
        server = grpc.server(ThreadPoolExecutor(8))
        add: Any = workload_pb2_grpc.add_SpiffeWorkloadAPIServicer_to_server
        add(self, server)
        port = server.add_insecure_port(f"unix:{socket}" if socket else "127.0.0.1:0")
        self.endpoint = f"unix://{socket}" if socket else f"tcp://127.0.0.1:{port}"
        server.start()
        try:
            yield
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()
            server.stop(None).wait()

    def give(self, x509: Any, jwt_bundles: Any = None) -> None:
        """Give this to every stream."""
        self._change(x509, jwt_bundles, None)

    def refuse(self, code: grpc.StatusCode) -> None:
        """End every stream, and every new one, with this status."""
        self._change(None, None, code)

    def _change(self, x509: Any, jwt_bundles: Any, refusal: Any) -> None:
        with self._changed:
            self._x509, self._jwt_bundles, self._refusal = x509, jwt_bundles, refusal
            self._version += 1
            self._changed.notify_all()

    # ---- the calls

    def FetchX509SVID(self, request: Any, context: Any) -> Iterator[Any]:  # noqa: N802
        """Stream."""
        self.opened += 1
        yield from self._stream(request, context, lambda: self._x509)

    def FetchJWTBundles(self, request: Any, context: Any) -> Iterator[Any]:  # noqa: N802
        """Stream."""
        yield from self._stream(request, context, lambda: self._jwt_bundles)

    def FetchJWTSVID(self, request: Any, context: Any) -> Any:  # noqa: N802
        """One answer."""
        self._check(context)
        self.asked.append(request)
        if self._refusal is not None:
            context.abort(self._refusal, "no identity issued")
        return self.jwt_svid(request)

    def _stream(self, _request: Any, context: Any, state: Callable[[], Any]) -> Iterator[Any]:
        self._check(context)
        seen = -1
        while context.is_active():
            with self._changed:
                if not self._ended and self._version == seen:
                    self._changed.wait(0.2)
                if self._ended:
                    return
                if self._version == seen:
                    continue
                seen, found, refusal = self._version, state(), self._refusal
            if refusal is not None:
                context.abort(refusal, "no identity issued")
            if found is not None:
                yield found

    def _check(self, context: Any) -> None:
        self.metadata = [(key, value) for key, value in context.invocation_metadata() if key == "workload.spiffe.io"]
        if self.metadata != [("workload.spiffe.io", "true")]:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "security header missing from request")
