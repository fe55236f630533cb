"""The feed: tokens that come in, by poll (RFC 8936) or push (RFC 8935), each applied once and only then acknowledged.

A token that was applied stays acknowledged, whoever sends it again. One that cannot be verified is neither taken nor
given back: it may be a revocation whose key we do not know yet, and as long as it waits, the feed does not count as
heard. So a transmitter that lost its keys does not look like one that has nothing to say.
"""

import json
import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

from proxy.errors import ProxyError, RevocationsInvalid, TokenUnknownKey
from proxy.identity.spiffe_id import SpiffeId
from proxy.revocation.events import MAX_BYTES, Event, SetRefused, read_event
from proxy.revocation.freshness import Freshness
from proxy.revocation.ledger import FEED, Ledger
from proxy.revocation.settings import FeedSettings
from proxy.tokens.encoding import read_json_object
from proxy.tokens.fetch import Fetch
from proxy.tokens.jwks import KeyStore
from proxy.tokens.verify import kid_of

_log = logging.getLogger("svidecar")

MAX_SEEN: Final = 10_000
"""Tokens that are known by their ``jti``. One that was forgotten and comes again changes nothing: what it takes back
was taken back, and what it lifts must not have been told after it."""

MAX_POLLED: Final = 100
"""Tokens in one poll (RFC 8936 section 2.2, maxEvents)."""

POLL_TIMEOUT_S: Final = 10.0
"""Longer than a slow answer, shorter than anybody's ``max_age``."""

OK: Final = "ok"


class Receiver:
    """Takes tokens. ``on_event`` is told of the result of each: ``ok``, ``again``, or the code of the refusal."""

    def __init__(
        self,
        settings: FeedSettings,
        keys: KeyStore,
        ledger: Ledger,
        freshness: Freshness,
        now: Callable[[], float],
        on_event: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._keys = keys
        self._ledger = ledger
        self._freshness = freshness
        self._now = now
        self._on_event = on_event
        self._seen: OrderedDict[str, None] = OrderedDict()

    async def receive(self, raw: bytes, jti: str | None = None) -> None:
        """Take one token; ``jti`` is what its envelope calls it.

        Raises:
            SetRefused: it is not for us, or no good.
            RevocationsInvalid: it is, and could not be taken.

        """
        try:
            result = self._take(await self._read(raw), jti)
        except SetRefused as refused:
            self._on_event(refused.code)
            raise
        except RevocationsInvalid:
            self._on_event("not_kept")
            raise
        self._on_event(result)

    async def _read(self, raw: bytes) -> Event:
        for is_last in (False, True):
            keys = self._keys.current
            if keys is None:
                raise SetRefused("invalid_key", "no keys are loaded to verify events with")
            try:
                return read_event(raw, keys, self._now(), self._settings)
            except TokenUnknownKey:
                if is_last or not await self._keys.learn(kid_of(raw)):
                    break
        raise SetRefused("invalid_key", "no key has the kid of the token")

    def _take(self, event: Event, jti: str | None) -> str:
        if jti is not None and jti != event.jti:
            raise SetRefused("invalid_request", "jti is another one than that of the envelope")
        if event.jti in self._seen:
            return "again"
        told = self._ledger.register.entries(FEED)
        lifted = [key for key in event.lifted if key in told and told[key].told <= event.iat]
        self._ledger.drop(FEED, lifted)
        self._ledger.put(FEED, event.taken)
        self._seen[event.jti] = None
        if len(self._seen) > MAX_SEEN:
            self._seen.popitem(last=False)
        return OK

    def heard(self) -> None:
        """The transmitter has said how things are."""
        self._freshness.confirmed(FEED)

    def failed(self, detail: str) -> None:
        """It has not, or not in words that we understand."""
        if self._freshness.failed(FEED, detail):
            _log.warning("revocation.feed: %s; what it said before stays", detail)


class Poller:
    """Asks for tokens, and acknowledges with the next question what was taken of the last answer."""

    def __init__(self, settings: FeedSettings, receiver: Receiver, fetch: Fetch) -> None:
        self._settings = settings
        self._receiver = receiver
        self._fetch = fetch
        self._expect = SpiffeId.parse(settings.spiffe_id) if settings.spiffe_id is not None else None
        self._ack: list[str] = []
        self._refused: dict[str, dict[str, str]] = {}

    async def poll(self) -> bool:
        """Ask once; whether more is waiting there."""
        try:
            sets, is_more = await self._ask()
            self._ack, self._refused = [], {}  # the other side has taken them
            if await self._take(sets):
                self._receiver.heard()
            return is_more and bool(self._ack)
        except ProxyError as error:
            self._receiver.failed(f"{error.reason}: {error.detail}")
            return False

    async def _ask(self) -> tuple[dict[str, str], bool]:
        question: dict[str, Any] = {"maxEvents": MAX_POLLED, "returnImmediately": True}
        if self._ack:
            question["ack"] = self._ack
        if self._refused:
            question["setErrs"] = self._refused
        answer = await self._fetch(
            "POST",
            self._settings.poll_url,
            fields={"content-type": "application/json", "accept": "application/json"},
            body=json.dumps(question).encode(),
            timeout_s=POLL_TIMEOUT_S,
            expect=self._expect,
        )
        if answer.status != 200:
            raise RevocationsInvalid(f"the poll was answered with status {answer.status}, not 200")
        return read_poll(answer.body)

    async def _take(self, sets: dict[str, str]) -> bool:
        """Take each; whether all of them were understood."""
        is_whole = True
        for jti, token in sets.items():
            try:
                await self._receiver.receive(token.encode(), jti)
            except SetRefused as refused:
                if refused.code == "invalid_key":
                    is_whole = False
                    self._receiver.failed(f"an event cannot be verified: {refused.detail}")
                    continue
                _log.warning("revocation.feed: an event is refused: %s", refused.detail)
                self._refused[jti] = {"err": refused.code, "description": refused.detail}
            except RevocationsInvalid as error:
                is_whole = False
                self._receiver.failed(f"an event cannot be taken: {error.detail}")
            else:
                self._ack.append(jti)
        return is_whole


def read_poll(body: bytes) -> tuple[dict[str, str], bool]:
    """Read the answer to a poll (RFC 8936 section 2.3): tokens by ``jti``, and whether there are more.

    Raises:
        RevocationsInvalid: it is none.

    """
    try:
        answer = read_json_object(body)
    except ValueError as error:
        raise RevocationsInvalid("the answer to a poll is not JSON, or can be read in two ways") from error
    sets, is_more = answer.get("sets"), answer.get("moreAvailable", False)
    if type(sets) is not dict or type(is_more) is not bool:
        raise RevocationsInvalid("the answer to a poll has no sets, or a moreAvailable that is neither true nor false")
    if len(sets) > MAX_POLLED:
        raise RevocationsInvalid(f"the answer to a poll has more than the {MAX_POLLED} tokens that were asked for")
    if not all(type(one) is str and one.isascii() and len(one) <= MAX_BYTES for one in sets.values()):
        raise RevocationsInvalid("the answer to a poll holds what is no token")
    return sets, is_more
