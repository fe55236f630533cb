"""What a load looks like: which request, how large, over how many connections, with which token. Pure."""

from dataclasses import dataclass

from loadtest import backend

CONNECTIONS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One kind of request, sent over and over."""

    path: str = backend.SMALL
    method: str = "GET"
    body_bytes: int = 0
    connections: int | None = None
    """None: as many as the plan says."""
    new_tokens: bool = False
    new_connections: bool = False

    @property
    def fields(self) -> dict[str, str]:
        """What it adds to the head."""
        return {"Connection": "close"} if self.new_connections else {}


LOADS: dict[str, Shape] = {
    "one-token": Shape(),
    "new-token": Shape(new_tokens=True),
    "get-1k": Shape(path=f"{backend.FILES}1k"),
    "get-64k": Shape(path=f"{backend.FILES}64k"),
    "put-130": Shape(path=backend.UPLOAD, method="POST", body_bytes=backend.SMALL_BYTES),
    "put-1k": Shape(path=backend.UPLOAD, method="POST", body_bytes=backend.SIZES["1k"]),
    "put-64k": Shape(path=backend.UPLOAD, method="POST", body_bytes=backend.SIZES["64k"]),
    "connections-1": Shape(connections=1),
    "connections-16": Shape(connections=16),
    "connections-64": Shape(connections=64),
    "connections-256": Shape(connections=256),
    "new-connection": Shape(new_connections=True),
}
"""Full speed, as fast as the pair answers, by the name of the scenario."""
