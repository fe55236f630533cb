"""The step after our own Permit: an authoriser outside is asked whether it agrees."""

from collections.abc import Coroutine
from typing import Any

from proxy.flow.exchange import Exchange
from proxy.http1.message import CHUNKED
from proxy.outside.authoriser import Authoriser
from proxy.outside.question import Question, chosen


def consent(authoriser: Authoriser, exchange: Exchange, source: str) -> Coroutine[Any, Any, None] | None:
    """Return None where it agrees, or what has to be awaited to know. Call it with a permit and a token.

    Raises:
        AuthoriserDenied: it is known to refuse.

    """
    body = authoriser.encode(_question(authoriser, exchange, source))
    if body == exchange.consented or authoriser.recall(body):
        return None
    return _consult(authoriser, exchange, body)


async def _consult(authoriser: Authoriser, exchange: Exchange, body: bytes) -> None:
    await authoriser.consult(body)
    exchange.consented = body  # the steps are taken again: under other rules it may be another question


def _question(authoriser: Authoriser, exchange: Exchange, source: str) -> Question:
    head, permit, token, account = exchange.head, exchange.permit, exchange.token, exchange.account
    if permit is None or token is None:
        raise RuntimeError("an authoriser is asked about what we have permitted")
    return Question(
        method=head.method.decode("latin-1"),
        target=head.target.decode("latin-1"),
        host=head.authority.decode("latin-1"),
        peer=account.peer or "",
        local=account.local or "",
        source=source,
        size=-1 if head.length is CHUNKED or head.length is None else head.length,
        rule=permit.rule,
        route=permit.route,
        headers=chosen(head.lines, authoriser.headers),
        claims=token,
    )
