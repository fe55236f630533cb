"""A path that one room adds to a port of another."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from proxy.control.message import Request, Response


@dataclass(frozen=True, slots=True)
class Added:
    """What it is for, for people, and its handler."""

    about: str
    handler: Callable[[Request], Awaitable[Response]]
