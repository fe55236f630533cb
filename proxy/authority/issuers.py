"""Whose subject tokens are taken: each issuer with its keys, kept fresh; and who may bring which."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from proxy.authority.issue import ClientRules
from proxy.authority.refusal import TokenRefused
from proxy.authority.replace import read_replaced
from proxy.authority.subject import (
    JWT,
    MAX_BYTES,
    SELF_SIGNED,
    VERIFIED,
    Brought,
    IssuerRules,
    read_issuer,
    verify_subject,
)
from proxy.errors import KeysUnavailable, TokenRefusal, TokenUnknownKey, UnknownTrustDomain
from proxy.net.tasks import Tasks
from proxy.tokens.fetch import Fetch
from proxy.tokens.jwks import KeyStore
from proxy.tokens.keys import KeySet
from proxy.tokens.settings import TokenSettings
from proxy.tokens.subject import TXN_TOKEN
from proxy.tokens.verify import kid_of

ReadSvid = Callable[[bytes, float], Brought]
"""Verifies a JWT-SVID that is for us; gives what may come of it. Raises TokenRefusal, UnknownTrustDomain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerSettings:
    """One issuer: its rules, and the path or https URL of its JWK Set."""

    rules: IssuerRules
    keys: str


class Subjects:
    """Reads subject tokens. ``own_keys`` gives the JWK Set that our own tokens are verified with."""

    def __init__(
        self,
        settings: Sequence[IssuerSettings],
        fetch: Fetch,
        now: Callable[[], float],
        *,
        own_keys: Callable[[], bytes],
        trust_domain: str,
        issuer: str,
        svid: ReadSvid | None = None,
    ) -> None:
        self._issuers: Mapping[str, tuple[IssuerRules, KeyStore]] = {
            one.rules.issuer: (
                one.rules,
                KeyStore(
                    TokenSettings(audience=one.rules.audience, keys=one.keys),
                    fetch,
                    now,
                    name=f"keys of {one.rules.issuer}",
                ),
            )
            for one in settings
        }
        self._own_keys = own_keys
        self._trust_domain = trust_domain
        self._issuer = issuer
        self._svid = svid

    def keep(self, tasks: Tasks) -> None:
        """Keep the keys of every issuer fresh; one that cannot be reached now is tried again."""
        for name, (_, keys) in self._issuers.items():
            tasks.spawn(keys.keep(), f"keys of {name}")

    async def close(self) -> None:
        """End what is under way."""
        await asyncio.gather(*(keys.close() for _, keys in self._issuers.values()))

    async def read(self, kind: str, raw: bytes, client: ClientRules, requester: str, now: float) -> Brought:
        """Verify the subject token that ``requester`` has brought.

        Raises:
            TokenRefused: it, or this workload with it, gets nothing.
            KeysUnavailable: the issuer's keys are not here: nothing can be said about the token.

        """
        if len(raw) > MAX_BYTES:
            raise TokenRefused("invalid_request", f"the subject token is larger than {MAX_BYTES} bytes")
        if kind == TXN_TOKEN:
            if not client.replaces:
                raise TokenRefused("invalid_request", "this workload may not replace transaction tokens")
            return read_replaced(raw, KeySet.parse(self._own_keys()), self._trust_domain, self._issuer, now)
        if kind == JWT and self._svid is not None and client.svids and self._is_svid(raw):
            return self._of_svid(self._svid, raw, now)
        if kind not in VERIFIED:
            raise TokenRefused("invalid_request", "this type of subject token is not taken here")
        issuer = read_issuer(raw)
        known = self._issuers.get(issuer)
        if known is None or not (issuer in client.issuers or issuer == requester):
            raise TokenRefused("invalid_request", "this workload may not bring tokens of that issuer")
        if kind == SELF_SIGNED and issuer != requester:
            raise TokenRefused("invalid_request", "a self-signed token is signed by the workload that brings it")
        found = await self._of_issuer(kind, raw, *known, now)
        if kind == SELF_SIGNED:  # it vouches for itself: it says no more than an unsigned one
            return replace(found, scopes=client.scopes, is_own_word=True)
        return found

    def _is_svid(self, raw: bytes) -> bool:
        """A JWT-SVID need not say who has issued it (specs 2.3); what an issuer of ours has signed is that issuer's."""
        try:
            return read_issuer(raw) not in self._issuers
        except TokenRefused:
            return True

    def _of_svid(self, read: ReadSvid, raw: bytes, now: float) -> Brought:
        try:
            brought = read(raw, now)
        except (TokenRefusal, UnknownTrustDomain) as error:
            raise TokenRefused("invalid_request", f"the JWT-SVID is refused: {error.reason}") from error
        if now >= brought.exp:
            raise TokenRefused("invalid_request", "the subject token has expired")
        return brought

    async def _of_issuer(self, kind: str, raw: bytes, rules: IssuerRules, keys: KeyStore, now: float) -> Brought:
        try:
            return self._verified(kind, raw, rules, keys, now)
        except TokenUnknownKey:
            await keys.learn(kid_of(raw))
        except TokenRefusal as error:
            raise TokenRefused("invalid_request", f"the subject token is refused: {error.reason}") from error
        try:
            return self._verified(kind, raw, rules, keys, now)
        except TokenUnknownKey as error:
            raise TokenRefused("invalid_request", "no key of that issuer has signed the subject token") from error
        except TokenRefusal as error:
            raise TokenRefused("invalid_request", f"the subject token is refused: {error.reason}") from error

    def _verified(self, kind: str, raw: bytes, rules: IssuerRules, keys: KeyStore, now: float) -> Brought:
        if keys.current is None:
            raise KeysUnavailable(f"no keys of {rules.issuer} are loaded yet")
        return verify_subject(raw, kind, keys.current, rules, now)
