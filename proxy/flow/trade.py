"""Where a token is asked of the token service: at the edge of the mesh, and for destinations that say so.

The request may bring the token that is traded; it goes no further. Facts of the request may go into what is asked for;
where one is taken from the body, the body is read first. All of it leads back to the same step, with the token at hand.
A later step may lead back here too (facts for the policy, an authoriser): what was traded once is wanted as it came.
"""

from collections.abc import Coroutine
from typing import Any

from proxy.errors import NotReady, TtsUnavailable
from proxy.flow.exchange import Exchange
from proxy.tokens.ask import Ask
from proxy.tokens.facts import Facts
from proxy.tokens.tts import TokenService, Want

Traded = bytes | Coroutine[Any, Any, bytes] | None
"""The token; or what has to be awaited for it; or None while the body is read. In both cases the step comes again."""


def trade(  # what it is asked with, what for, and what the exchange does not know
    exchange: Exchange,
    ask: Ask,
    service: TokenService | None,
    limit_bytes: int,
    source: str = "",
    route: str = "",
    client: str | None = None,
) -> Traded:
    """Give the token for a request; ``limit_bytes`` of a body are read, ``source`` and ``route`` are facts.

    ``client`` is who we are, where the account names who we were: the service compares it with our certificate.

    Raises:
        TtsUnavailable, NotReady, BodyTooLarge, FactUnusable, AccessTokenMissing, AccessTokenMalformed: as their
            docstrings say.

    """
    client = client or exchange.account.local
    if service is None:
        raise TtsUnavailable("no token service is configured")
    if client is None:
        raise NotReady("no identity is loaded to ask the token service with")
    want = _want(exchange, ask, client, limit_bytes, source, route)
    if want is None:
        return None
    raw = service.recall(want, exchange.runtime.now())
    if raw is not None:
        exchange.head.lines = ask.without(exchange.head.lines)
        return raw
    if exchange.learned:
        raise TtsUnavailable("the token service gave no token that is still good")
    exchange.learned = True
    return service.obtain(want)


def _want(exchange: Exchange, ask: Ask, client: str, limit_bytes: int, source: str, route: str) -> Want | None:
    """Say what is wanted; None while the body is read."""
    if ask.is_plain:
        return Want(client, ask.scopes)
    if ask.needs_body and exchange.hold is None:
        exchange.wait_for_body(limit_bytes)
    if exchange.hold is not None and exchange.hold.body is None:
        return None
    facts = facts_of(exchange, source, route)
    facts.lines = exchange.lines
    return ask.want(facts, client)


def facts_of(exchange: Exchange, source: str, route: str = "") -> Facts:
    """Give the facts of a request; ``source`` is the address of whoever sent it."""
    head, hold = exchange.head, exchange.hold
    return Facts(
        method=head.method,
        target=head.target,
        lines=head.lines,
        source=source,
        peer=exchange.account.peer or "",
        route=route,
        body=hold.body if hold is not None else None,
        trailers=hold is not None and hold.trailers,
        authority=head.authority,
    )
