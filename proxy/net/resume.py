"""Reading on after a pause: the only place that does."""

import asyncio


def resume_reading(transport: asyncio.Transport) -> None:
    """Read on, beginning with what the transport had taken from the kernel before the pause.

    aiofastnet (1.2) keeps that undecrypted, and after a pause looks at it only if the socket gives more. Where it held
    the last bytes of a message nothing more comes, and the message would hang until a timeout; where it held the end of
    TLS, the end of the socket would be seen in its place, as a loss. So it is told to look before it reads.
    """
    look = getattr(transport, "_retry_ssl_read", None)
    if look is not None:
        asyncio.get_running_loop().call_soon(look)
    transport.resume_reading()
