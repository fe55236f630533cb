"""Tokens that leave us: the app's own, a remembered one, one of the token service. None that was revoked may go out.

They are not verified here, for whoever is called does that; so they are read without it, once for each, and only while
something is revoked at all. One that cannot be read cannot be compared, and stays here.
"""

from hashlib import sha256
from typing import Final

from proxy.errors import TokenMalformed, TokenRefusal, TokenTooLarge
from proxy.policy.revocation import Revoked
from proxy.tokens.claims import TxnToken, read_claims
from proxy.tokens.encoding import decode_base64url, read_json_object
from proxy.tokens.profile import Profile

MAX_REMEMBERED: Final = 4096
"""Tokens that were read, by their digest: 100 bytes each."""


class Screen:
    """See the module. ``changed`` whenever the set has changed."""

    __slots__ = ("_max_bytes", "_passed", "_profile", "active", "revoked")

    def __init__(self, revoked: Revoked, profile: Profile, max_bytes: int) -> None:
        self.revoked = revoked
        self.active = False
        self._profile = profile
        self._max_bytes = max_bytes
        self._passed: set[bytes] = set()

    def changed(self) -> None:
        """Forget what was compared with another set."""
        self._passed.clear()
        self.active = self.revoked.has_tokens

    def check(self, raw: bytes) -> None:
        """Hold a token to the set.

        Raises:
            TokenRevoked, RevocationStale: as ``Revoked.check``.
            TokenRefusal: it cannot be read.

        """
        if not self.active:
            return
        key = sha256(raw).digest()
        if key in self._passed:
            return
        self.revoked.check(self.read(raw))
        if len(self._passed) >= MAX_REMEMBERED:
            self._passed.clear()
        self._passed.add(key)

    def refuses(self, raw: bytes) -> bool:
        """Whether ``check`` would raise that it is revoked or cannot be read; that nobody can say is no such reason."""
        if not self.active or self.revoked.blind:
            return False
        try:
            self.check(raw)
        except TokenRefusal:
            return True
        return False

    def read(self, raw: bytes) -> TxnToken:
        """Read a token without believing it. Raises TokenRefusal."""
        if len(raw) > self._max_bytes:
            raise TokenTooLarge(f"the token is larger than {self._max_bytes} bytes")
        parts = raw.split(b".")
        if len(parts) != 3:
            raise TokenMalformed("a compact JWS has three parts")
        try:
            return read_claims(read_json_object(decode_base64url(parts[1])), sha256(raw).hexdigest(), self._profile)
        except ValueError as error:
            raise TokenMalformed("the claims are not a JSON object, or can be read in two ways") from error
