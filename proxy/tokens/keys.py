"""The keys that tokens are verified with: a JWK Set (RFC 7517 section 5).

A key that cannot be used, or must not, is left out with its reason and costs the others nothing. A set in which the
choice of a key would be open (two with one kid), or without a usable key, is refused whole: the caller keeps the last
good one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from proxy.errors import KeysInvalid, TokenUnknownKey
from proxy.tokens.encoding import read_json_object
from proxy.tokens.jwk import SIG, Key, UnusableKey, read_jwk

MAX_SET_BYTES: Final = 256 * 1024
"""A key with its certificate chain is about 8 KB; thirty of those, and nothing that could fill the memory."""

MAX_KEYS: Final = 100
"""A rotation needs two or three; a SPIFFE bundle, which mixes kinds, a few dozen."""


@dataclass(frozen=True, slots=True)
class KeySet:
    """The usable keys of a JWK Set, and why the others are not."""

    keys: tuple[Key, ...]
    refused: tuple[str, ...] = field(default=(), compare=False)
    _by_kid: Mapping[str, Key] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def parse(cls, jwks: bytes, use: str = SIG) -> "KeySet":
        """Read a JWK Set, of which the keys for ``use`` are taken.

        Raises:
            KeysInvalid: it is no JWK Set, two usable keys have one kid, or none is usable.

        """
        keys, refused = _read_members(jwks, use)
        if not keys:
            raise KeysInvalid("; ".join(["no key of the JWK Set can verify a token", *refused]))
        by_kid = {key.kid: key for key in keys if key.kid is not None}
        if len(by_kid) + sum(key.kid is None for key in keys) != len(keys):
            raise KeysInvalid("two keys of the JWK Set have the same kid")
        return cls(tuple(keys), tuple(refused), by_kid)

    def knows(self, kid: str | None) -> bool:
        """Whether ``find`` would find a key."""
        return kid in self._by_kid if kid is not None else len(self.keys) == 1

    def find(self, kid: str | None) -> Key:
        """Return the key of a token with this kid; for a token without one only if there is no choice.

        Raises:
            TokenUnknownKey: the caller may fetch the keys again and come back.

        """
        if kid is not None:
            key = self._by_kid.get(kid)
            if key is None:
                raise TokenUnknownKey("no key has the kid of the token")
            return key
        if len(self.keys) != 1:
            raise TokenUnknownKey("the token has no kid, and there is more than one key")
        return self.keys[0]


def _read_members(jwks: bytes, use: str) -> tuple[list[Key], list[str]]:
    keys: list[Key] = []
    refused: list[str] = []
    for number, member in enumerate(_members(jwks), 1):
        try:
            keys.append(read_jwk(member, use))
        except UnusableKey as error:
            refused.append(f"key {number}: {error}")
    return keys, refused


def _members(jwks: bytes) -> list[Any]:
    if len(jwks) > MAX_SET_BYTES:
        raise KeysInvalid(f"the JWK Set is larger than {MAX_SET_BYTES} bytes")
    try:
        members = read_json_object(jwks).get("keys")
    except ValueError as error:
        if jwks.lstrip().startswith(b"<"):
            raise KeysInvalid("the JWK Set is a web page, or XML: give the place of the keys themselves") from error
        raise KeysInvalid("the JWK Set is not JSON, or its JSON is ambiguous") from error
    if not isinstance(members, list):
        raise KeysInvalid("the JWK Set has no array named keys")
    if len(members) > MAX_KEYS:
        raise KeysInvalid(f"the JWK Set has more than {MAX_KEYS} keys")
    return members
