"""How open connections end whose peer is admitted no more: with the answer, if it comes in time, or at once."""

from dataclasses import dataclass, field

from proxy.errors import ConnectionRefusal, PeerRevoked
from proxy.identity.peer import Peer
from proxy.policy.revocation import Ending, Revoked
from proxy.tls.proofs import GRACE_S


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """What is revoked, and what the operator has chosen; an entry may choose for itself."""

    revoked: Revoked = field(default_factory=Revoked)
    ending: Ending = Ending.DRAIN
    grace_s: float = GRACE_S

    @property
    def usual_s(self) -> float:
        """How long a connection has where no entry says otherwise."""
        return self.grace_s if self.ending is Ending.DRAIN else 0.0

    def grace_of(self, error: ConnectionRefusal, peer: Peer) -> float:
        """Return how long a connection has that ends for this reason; 0: it is cut."""
        ending = self.ending
        if isinstance(error, PeerRevoked):
            entry = self.revoked.of_peer(peer)
            ending = (entry.ending if entry is not None else None) or ending
        return self.grace_s if ending is Ending.DRAIN else 0.0


KINDLY = Withdrawal()
"""Nothing is revoked, and all is drained."""
