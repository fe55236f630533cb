"""A stream of grpclib that reads no message of more than a limit: grpclib takes whatever length it is told."""

from typing import TypeVar

from grpclib.client import Stream

from proxy.workload_api.messages import MAX_MESSAGE_BYTES
from proxy.workload_api.wire import WireInvalid

S = TypeVar("S")
R = TypeVar("R")


class BoundedStream(Stream[S, R]):
    """See the module; the limit is MAX_MESSAGE_BYTES."""

    async def send_request(self, *, end: bool = False) -> None:
        """Send the head of the request."""
        await super().send_request(end=end)
        read = self._stream.recv_data

        async def read_bounded(size: int) -> bytes:
            if size > MAX_MESSAGE_BYTES:
                raise WireInvalid(f"it is larger than {MAX_MESSAGE_BYTES} bytes")
            return await read(size)

        self._stream.recv_data = read_bounded  # type: ignore[method-assign]
