"""What comes with a Permit before anything leaves: what it uses up, and that newer rules give it, too.

Of what waits, or goes on, while other rules are taken, the newest Grant is asked again. The steps cannot all be taken a
second time: a use that was noted would be found as one, and a transaction is remembered already. So of them only that
is done again which the newer rules ask for.
"""

from proxy.errors import AuthoriserUnavailable, ProxyError, SiblingUnavailable, TransactionReplayed
from proxy.flow.consent import consent
from proxy.flow.exchange import Exchange
from proxy.flow.meter import Meter
from proxy.flow.trade import facts_of
from proxy.flow.transaction import Transactions
from proxy.outside.authoriser import Authoriser
from proxy.policy.grant import Grant
from proxy.policy.modes import let_pass
from proxy.policy.permit import Permit
from proxy.tokens.claims import TxnToken


def permit_anew(grant: Grant, exchange: Exchange, token: TxnToken, now: float, source: str) -> Permit:
    """Return the Permit that ``grant`` gives. Raises what ``let_pass`` does."""
    head, shown = exchange.head, exchange.shown or facts_of(exchange, source)
    try:
        return grant.permit(head.method, head.target, token, now, shown)
    except ProxyError as refusal:
        return let_pass(grant, head.method, head.target, token, now, shown, refusal)


def renew(
    grant: Grant, exchange: Exchange, transactions: Transactions, authoriser: Authoriser | None, now: float, source: str
) -> None:
    """Put the Permit of ``grant`` in the place of an older one, before anything of the request has left.

    Raises:
        AuthoriserUnavailable, SiblingUnavailable: it would have to wait for them once more.
        TransactionReplayed: its route takes each transaction once by now. All that ``permit_anew`` raises.

    """
    token, before = exchange.token, exchange.permit
    if token is None or before is None:
        raise RuntimeError("a request waits for the app after it was permitted")
    exchange.permit = None
    exchange.permit = permit = permit_anew(grant, exchange, token, now, source)
    if authoriser is not None and (asked := consent(authoriser, exchange, source)) is not None:
        asked.close()
        raise AuthoriserUnavailable("other rules were taken after the authoriser had agreed")
    if exchange.passage is not None and not permit.propagates:
        exchange.passage.raw = b""
    if permit.once and permit.once != before.once:
        if not transactions.uses.begin():
            raise SiblingUnavailable("other rules were taken, and another process has the list of used transactions")
        use(transactions, grant, exchange, token, now)


def use(transactions: Transactions, grant: Grant, exchange: Exchange, token: TxnToken, now: float) -> None:
    """Use the transaction of a request for a route that takes each once. Raises TransactionReplayed."""
    head, permit = exchange.head, exchange.permit
    try:
        until = token.exp + transactions.authenticator.skew_s
        transactions.uses.use(permit.once if permit is not None else "", token.txn, until, now)
    except TransactionReplayed as refusal:
        exchange.permit = let_pass(grant, head.method, head.target, token, now, exchange.shown, refusal)


def charge(exchange: Exchange, meter: Meter) -> None:
    """Hold a body to what is left; what was read of it before there was a Permit counts too. Raises BytesSpent."""
    if exchange.meter is None:
        exchange.meter = meter
        meter.expect(exchange.request_bytes or exchange.head.length)
        meter.takes(exchange.request_bytes)
