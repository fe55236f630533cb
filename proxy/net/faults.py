"""What a loop does with faults that nobody waits for."""

import asyncio
import logging
from typing import Any

_log = logging.getLogger("svidecar")


def on_fault(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Say in one line what a transport could not tell anybody else; aiofastnet gives a class where others an object."""
    fault = context.get("exception")
    if isinstance(fault, OSError) or (isinstance(fault, type) and issubclass(fault, OSError)):
        _log.debug("a connection ended: %r", fault)
    else:
        _log.error("%s", context.get("message"), exc_info=fault if isinstance(fault, BaseException) else None)
