"""Envoy's external authorisation over gRPC. Imported only where it is configured: grpclib costs memory.

The status of the answer decides, and nothing else of it is taken: neither fields to add nor an answer of its own.
"""

import asyncio
from typing import Any, Final, cast

from grpclib.client import Channel
from grpclib.const import Cardinality
from grpclib.encoding.base import CodecBase
from grpclib.exceptions import GRPCError, StreamTerminatedError
from multidict import MultiDict

from proxy.errors import AuthoriserUnavailable
from proxy.outside.envoy_messages import CHECK, OK, check_request, status_of
from proxy.outside.question import Question
from proxy.outside.settings import ExtAuthzSettings
from proxy.workload_api.bounded import BoundedStream
from proxy.workload_api.endpoint import parse_endpoint
from proxy.workload_api.wire import WireInvalid

_CLOSED: Final = "the authoriser was lost while it was asked"


class ExtAuthz:
    """Asks one authoriser, over one connection that is made anew when lost. Make it where the loop runs."""

    def __init__(self, settings: ExtAuthzSettings, timeout_s: float) -> None:
        endpoint = parse_endpoint(settings.address)
        where = {"path": endpoint.path} if endpoint.path else {"host": endpoint.host, "port": endpoint.port}
        self._channel = Channel(**where, codec=_Codec())
        self._timeout_s = timeout_s

    def encode(self, question: Question) -> bytes:
        """Write the message."""
        return check_request(question)

    async def ask(self, body: bytes) -> bool:
        """Ask whether it is allowed. Raises AuthoriserUnavailable."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return status_of(await self._check(body)) == OK
        except AuthoriserUnavailable:
            raise
        except GRPCError as error:
            raise AuthoriserUnavailable(f"the authoriser answered with the gRPC status {error.status.name}") from error
        except WireInvalid as error:
            raise AuthoriserUnavailable(f"the authoriser's answer cannot be read: {error}") from error
        except TimeoutError as error:
            raise AuthoriserUnavailable("the authoriser does not answer in time") from error
        except (StreamTerminatedError, OSError) as error:
            raise AuthoriserUnavailable(_CLOSED) from error
        except Exception as error:  # grpclib and h2 raise many kinds for what is not gRPC, assertions among them
            raise AuthoriserUnavailable("what listens there does not speak gRPC as we know it") from error

    async def _check(self, body: bytes) -> bytes:
        stream = BoundedStream[bytes, bytes](
            self._channel,
            CHECK,
            cast("Any", MultiDict[str]()),  # its own type is private to grpclib
            Cardinality.UNARY_UNARY,
            bytes,
            bytes,
            codec=_Codec(),
            status_details_codec=None,
            dispatch=self._channel.__dispatch__,
        )
        async with stream:
            await stream.send_message(body, end=True)
            answer = await stream.recv_message()
            if answer is None:
                await stream.recv_trailing_metadata()  # raises what it said, if it did
                raise AuthoriserUnavailable("the authoriser answered without a message")
            return answer

    def close(self) -> None:
        """End the connection."""
        self._channel.close()


class _Codec(CodecBase):
    """Bytes as they are: the messages are written and read elsewhere."""

    __content_subtype__ = "proto"

    def encode(self, message: bytes, message_type: object) -> bytes:
        del message_type
        return message

    def decode(self, data: bytes, message_type: object) -> bytes:
        del message_type
        return data
