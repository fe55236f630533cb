"""Who we are and who the other end is: SPIFFE IDs, SVIDs, trust bundles, the verification of a peer.

Begin with ``peer.identify``. Everything but ``store`` and ``sources`` is pure: bytes and ``now`` come in as arguments.
"""
