"""The SPIFFE bundle of the trust domain, as it is published (specs 2.5).

Its sequence grows with each change of its content. It follows the clock, so that it grows even where the file with the
last one was lost; and that file, so that it grows even where the clock was set back.
"""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding

from proxy.authority.ca import Root
from proxy.authority.jwt_svid import jwt_authorities
from proxy.authority.keys import SigningKey, ec_members


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A bundle with its sequence. ``keys`` are its entries."""

    sequence: int
    keys: list[dict[str, Any]]

    def document(self, refresh_hint_s: int) -> bytes:
        """Write it."""
        document = {"spiffe_sequence": self.sequence, "spiffe_refresh_hint": refresh_hint_s, "keys": self.keys}
        return json.dumps(document, indent=2).encode()


def publish(root: Root, jwt_keys: Sequence[SigningKey], before: Published | None, now: float) -> Published:
    """Give the bundle that should be published now: the one before, if nothing has changed."""
    x5c = base64.b64encode(root.certificate.public_bytes(Encoding.DER)).decode("ascii")
    own = {**ec_members(root.key.public_key()), "use": "x509-svid", "x5c": [x5c]}
    keys: list[dict[str, Any]] = [own, *jwt_authorities(jwt_keys)]
    if before is None:
        return Published(sequence=int(now), keys=keys)
    if before.keys == keys:
        return before
    return Published(sequence=max(before.sequence + 1, int(now)), keys=keys)


def read_published(raw: bytes) -> Published | None:
    """Take back what was written; None where it is damaged, which only costs a change of the sequence."""
    try:
        document = json.loads(raw)
        sequence, keys = document["spiffe_sequence"], document["keys"]
    except (ValueError, LookupError, TypeError):
        return None
    if type(sequence) is not int or sequence < 0 or not isinstance(keys, list):
        return None
    return Published(sequence=sequence, keys=keys)
