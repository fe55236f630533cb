"""Judging the peers of open connections by newer bundles: by a look-up where that is enough, else by their chains.

The chain itself is not kept: OpenSSL holds the one that it verified as long as the connection lives.
"""

import asyncio

from proxy.errors import ConnectionRefusal, UntrustedChain
from proxy.identity.bundle import Bundles
from proxy.identity.certificate import read_der
from proxy.identity.peer import Peer, confirm, identify
from proxy.tls.handshake import verified_chain

GRACE_S = 0.4
"""From a peer that is trusted no more to the end of what it has in progress: all of it ends within a second."""


class Proofs:
    """One round of judging. When an authority leaves, thousands were proved by it: the answer is found once."""

    __slots__ = ("_bundles", "_now", "_refused")

    def __init__(self, bundles: Bundles, now: float) -> None:
        self._bundles = bundles
        self._now = now
        self._refused: dict[tuple[str, bytes, tuple[bytes, ...]], ConnectionRefusal] = {}

    def again(self, peer: Peer, transport: asyncio.BaseTransport) -> Peer:
        """Return who the peer of an open connection is by the newer bundles.

        Raises what ``identify`` raises; a refusal counts for all that the same authorities had issued.
        """
        bundle = self._bundles.get(peer.spiffe_id.trust_domain)
        if bundle is not None and bundle.revocations.misses(peer.issued):  # a newer list may be of its intermediate
            bundle.revocations.place(map(read_der, verified_chain(transport)[1:]))
        try:
            confirm(peer, self._bundles)
        except UntrustedChain:
            return self._search(peer, transport)
        return peer

    def _search(self, peer: Peer, transport: asyncio.BaseTransport) -> Peer:
        issuers = peer.spiffe_id.trust_domain, peer.anchor, tuple(issuer for issuer, _ in peer.issued)
        refused = self._refused.get(issuers)
        if refused is not None:
            raise type(refused)(refused.detail)
        try:
            return identify(verified_chain(transport), self._bundles, self._now)
        except UntrustedChain as error:
            self._refused[issuers] = error
            raise
