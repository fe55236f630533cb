"""The Permit of a tunnel: ``CONNECT host:port`` (RFC 9110 section 9.3.6), asked for once, before its first byte.

A rule names the destinations of its tunnels one by one, ``match: "CONNECT db:5432"``; there is no wildcard. What a peer
asks for is held against those names, so nobody reaches this app by a name that is not its own: a token for another
service, sent here by mistake or by somebody in between, opens nothing.
"""

from proxy.errors import BadHost, DeniedByRule, GrantEnded, TokenMissing
from proxy.policy.authority import InvalidAuthority, parse_authority
from proxy.policy.grant import Grant
from proxy.policy.permit import Permit
from proxy.tokens.claims import TxnToken
from proxy.tokens.facts import Facts


def spelled(authority: bytes) -> bytes:
    """Return ``host:port`` in the one spelling that rules are compared in. Raises BadHost."""
    try:
        called = parse_authority(authority.decode("ascii"))
    except (UnicodeDecodeError, InvalidAuthority):
        raise BadHost("a tunnel leads to host:port as RFC 9110 4.2 and we allow it") from None
    if called.port is None:
        raise BadHost("a tunnel leads to host:port, and the port is missing")
    return str(called).encode()


def permit_tunnel(
    grant: Grant, authority: bytes, token: TxnToken | None, now: float, facts: Facts | None = None
) -> Permit:
    """Return the Permit of a tunnel to ``authority``; ``token`` None: none was brought. ``facts``: as there.

    Raises:
        BadHost, TokenMissing: the second also where no rule names the authority: without a token nobody is told.
        DeniedByRule: a rule denies the tunnel, or might if there were a token.
        What ``Grant.permit`` raises.

    """
    name = spelled(authority)
    if token is not None:
        return grant.permit(b"CONNECT", name, token, now, facts)
    if not now < grant.until:  # as in Grant.permit
        raise GrantEnded("an SVID of this connection has ended, or its peer is trusted no more")
    if grant.denials is not None:
        for denial in grant.denials.of(b"CONNECT", name):  # its conditions cannot be told without a token: it holds
            raise DeniedByRule(f"the rule {denial.rule!r} denies it")
    for alternatives in grant.routes.find(b"CONNECT", name):
        for route in alternatives:
            if route.permit.tunnel.bare and route.demands is None:
                return route.permit
    raise TokenMissing("the request has no Txn-Token")
