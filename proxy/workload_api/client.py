"""A client of the Workload API over gRPC: two streams and one call, on one connection that is made anew when lost.

It knows the wire and how to tell a failure, not what to do about it: when to try again, and what the messages mean, is
the business of ``identity/sources`` and ``tokens``.
"""

import asyncio
import errno
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from grpclib.client import Channel, Stream
from grpclib.config import Configuration
from grpclib.const import Cardinality, Status
from grpclib.encoding.base import CodecBase
from grpclib.exceptions import GRPCError, StreamTerminatedError
from multidict import MultiDict

from proxy.workload_api.bounded import BoundedStream
from proxy.workload_api.endpoint import Endpoint
from proxy.workload_api.failure import CallFailed, Failure
from proxy.workload_api.follow import OnMessage
from proxy.workload_api.messages import (
    FETCH_JWT_BUNDLES,
    FETCH_JWT_SVID,
    FETCH_X509_SVID,
    SECURITY_HEADER,
    JWTBundlesRequest,
    JWTBundlesResponse,
    JWTSVIDRequest,
    JWTSVIDResponse,
    Message,
    X509SVIDRequest,
    X509SVIDResponse,
    decode,
    encode,
)
from proxy.workload_api.wire import WireInvalid

FIRST_MESSAGE_S: Final = 30.0
"""From the call to its first message, which the standard wants "without delay": an agent that hangs is left."""

ASK_S: Final = 10.0
"""For a JWT-SVID: the agent may have to ask its server, and somebody waits."""

_WINDOW_BYTES: Final = 1 << 20
"""What an agent may send before we have read it, on each stream and in all."""

_KINDS: Final = {
    Status.INVALID_ARGUMENT: (Failure.INVALID_ARGUMENT, "the agent refuses the request as invalid"),
    Status.UNAVAILABLE: (Failure.UNAVAILABLE, "the agent answers, but cannot serve now: it may be starting"),
    Status.UNIMPLEMENTED: (
        Failure.UNIMPLEMENTED,
        "what listens there does not have this call of the Workload API: is it the agent's public socket?",
    ),
}

_NO_IDENTITY: Final = (
    "the agent has no identity for this process: register one whose selectors match it (its user is unix:uid:{uid})"
)

R = TypeVar("R", bound=Message)
T = TypeVar("T")


class WorkloadApiClient:
    """One connection to the endpoint. Make it where the loop runs; ``close`` it there."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        config = Configuration(http2_connection_window_size=_WINDOW_BYTES, http2_stream_window_size=_WINDOW_BYTES)
        where = {"path": endpoint.path} if endpoint.path else {"host": endpoint.host, "port": endpoint.port}
        self._channel = Channel(**where, codec=_Codec(), config=config)

    async def x509_svids(self, on_message: OnMessage[X509SVIDResponse], patience: Callable[[], float]) -> None:
        """Follow our identities: each message is the full state. ``patience``: seconds to wait for the next one.

        It ends by CallFailed alone, also when the agent ends the stream or our patience does.
        """
        await self._follow(FETCH_X509_SVID, X509SVIDRequest(), X509SVIDResponse, on_message, patience)

    async def jwt_bundles(self, on_message: OnMessage[JWTBundlesResponse]) -> None:
        """Follow the keys of JWT-SVIDs, as ``x509_svids``; they have no end of their own, so patience has none."""
        await self._follow(FETCH_JWT_BUNDLES, JWTBundlesRequest(), JWTBundlesResponse, on_message, lambda: float("inf"))

    async def jwt_svids(self, audience: str, spiffe_id: str) -> JWTSVIDResponse:
        """Ask for JWT-SVIDs, of one identity or (empty) of all. Raises CallFailed."""
        request = JWTSVIDRequest(audience=(audience,), spiffe_id=spiffe_id)

        async def ask() -> JWTSVIDResponse:
            async with (
                asyncio.timeout(ASK_S),
                self._open(FETCH_JWT_SVID, Cardinality.UNARY_UNARY, request, JWTSVIDResponse) as stream,
            ):
                await stream.send_message(request, end=True)
                answer = await stream.recv_message()
                if answer is None:
                    await stream.recv_trailing_metadata()  # raises what the agent said, if it did
                    raise CallFailed(Failure.BAD_ANSWER, "the agent answered without a message")
                return answer

        return await self._explained(ask())

    @property
    def is_connected(self) -> bool:
        """Whether the connection of the last call is still open: else the next call finds another agent, or none."""
        return bool(self._channel._connected)  # noqa: SLF001 - grpclib has no other word for it

    def close(self) -> None:
        """End the connection, and with it every stream."""
        self._channel.close()

    async def _follow(
        self, path: str, request: Message, kind: type[R], on_message: OnMessage[R], patience: Callable[[], float]
    ) -> None:
        async def follow() -> None:
            async with self._open(path, Cardinality.UNARY_STREAM, request, kind) as stream:
                async with asyncio.timeout(FIRST_MESSAGE_S):
                    await stream.send_message(request, end=True)
                    message = await stream.recv_message()
                while message is not None:
                    if (taking := on_message(message)) is not None:
                        await taking
                    message = await _within(patience(), stream)

        await self._explained(follow())
        raise CallFailed(Failure.UNAVAILABLE, "the agent ended the stream")

    def _open(
        self, path: str, cardinality: Cardinality, request: Message, kind: type[R]
    ) -> "BoundedStream[Message, R]":
        return BoundedStream(
            self._channel,
            path,
            cast("Any", MultiDict([SECURITY_HEADER])),  # its own type is private to grpclib
            cardinality,
            type(request),
            kind,
            codec=_Codec(),
            status_details_codec=None,
            dispatch=self._channel.__dispatch__,
        )

    async def _explained(self, call: Awaitable[T]) -> T:
        try:
            return await call
        except CallFailed:
            raise
        except GRPCError as error:
            raise CallFailed(*_told(error.status)) from error
        except WireInvalid as error:
            raise CallFailed(Failure.BAD_ANSWER, f"the agent's message cannot be read: {error}") from error
        except TimeoutError as error:
            raise CallFailed(Failure.UNAVAILABLE, "the agent does not answer in time") from error
        except StreamTerminatedError as error:
            raise CallFailed(Failure.UNREACHABLE, "the connection to the agent was lost") from error
        except OSError as error:
            raise CallFailed(Failure.UNREACHABLE, _unreachable(self._endpoint, error)) from error
        except Exception as error:  # grpclib and h2 raise many kinds for what is not gRPC, assertions among them
            raise CallFailed(Failure.BAD_ANSWER, "what listens there does not speak gRPC as we know it") from error


class _Codec(CodecBase):
    """Our messages for grpclib."""

    __content_subtype__ = "proto"

    def encode(self, message: Message, message_type: object) -> bytes:
        del message_type
        return encode(message)

    def decode(self, data: bytes, message_type: type[R]) -> R:
        return decode(message_type, data)


async def _within(patience_s: float, stream: Stream[Any, R]) -> R | None:
    try:
        async with asyncio.timeout(None if patience_s == float("inf") else patience_s):
            return await stream.recv_message()
    except TimeoutError as error:
        raise CallFailed(Failure.UNAVAILABLE, "the agent sent nothing new, though it was time") from error


def _told(status: Status) -> tuple[Failure, str]:
    if status is Status.PERMISSION_DENIED:
        return Failure.PERMISSION_DENIED, _NO_IDENTITY.format(uid=os.getuid())
    return _KINDS.get(status, (Failure.OTHER, f"the agent answered with the gRPC status {status.name}"))


def _unreachable(endpoint: Endpoint, error: OSError) -> str:
    match error.errno:
        case errno.ENOENT:
            return f"there is no socket at {endpoint}: start the agent, mount its folder, or correct the address"
        case errno.ECONNREFUSED if endpoint.path and not Path(endpoint.path).is_socket():
            return f"what stands at {endpoint} is no socket: correct the address"
        case errno.ECONNREFUSED:
            return f"nobody listens at {endpoint}: the agent is not running"
        case errno.EACCES | errno.EPERM:
            return f"may not open {endpoint}: let the user that runs svidecar use the socket"
        case errno.ECONNRESET | errno.EPIPE:
            return "the connection to the agent was lost"
        case number:
            return f"cannot reach {endpoint}: {os.strerror(number) if number else 'the connection failed'}"
