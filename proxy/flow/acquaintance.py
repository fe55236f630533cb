"""What the connections of one peer have in common, held once: a peer opens many, and each would hold 1 KB of it."""

from dataclasses import dataclass
from typing import Final

from proxy.identity.peer import Peer
from proxy.identity.spiffe_id import SpiffeId

MAX_PEERS: Final = 256
"""Certificates that are remembered for the next connection: the callers of one workload, and their replicas."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acquaintance:
    """A peer, as one of our identities has met it. ``forwarded``: the field that tells the app who is calling."""

    peer: Peer
    local: str
    forwarded: bytes


class Acquaintances:
    """Those met last, by what was proved. Nobody is let in by it: each connection proves all of it itself before."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], Acquaintance] = {}

    def meet(self, peer: Peer, ourselves: SpiffeId) -> Acquaintance:
        """Give what is common to this peer's connections; it has the same proof as ``peer`` to the last field."""
        key = (peer, peer.anchor, peer.issued, ourselves)
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= MAX_PEERS:
                self._known.clear()
            local = str(ourselves)
            # Envoy's text form (specs 6.11). An SVID's characters need no quotes.
            text = f"X-Forwarded-Client-Cert: By={local};Hash={peer.certificate_sha256};URI={peer.uri}"
            found = self._known[key] = Acquaintance(peer=peer, local=local, forwarded=text.encode())
        return found
