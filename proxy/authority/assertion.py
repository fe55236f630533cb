"""Client authentication by a JWT-SVID (specs 5.9), beside the certificate and never in its place.

An assertion is a bearer token: alone, it would be whoever holds it. So the certificate says who asks, and an assertion
that comes with it must say the same, to us and to nobody else.
"""

from collections.abc import Callable, Mapping

from proxy.authority.refusal import TokenRefused
from proxy.errors import TokenRefusal, UnknownTrustDomain
from proxy.tokens.exchange import JWT_SPIFFE
from proxy.tokens.jwt_svid import JwtSvid

TYPE, ASSERTION = "client_assertion_type", "client_assertion"


def check_assertion(
    form: Mapping[str, str], requester: str, read: Callable[[bytes, float], JwtSvid], now: float
) -> dict[str, str]:
    """Return the form without the assertion, which holds; ``requester`` is who the certificate is of.

    Raises:
        TokenRefused: there is half of one, one of another kind, or one that does not hold.

    """
    others = {name: value for name, value in form.items() if name not in {TYPE, ASSERTION}}
    if len(others) == len(form):
        return others
    if form.get(TYPE) != JWT_SPIFFE or ASSERTION not in form:
        raise TokenRefused("invalid_client", f"a {ASSERTION} is a JWT-SVID, and its type {JWT_SPIFFE}")
    try:
        svid = read(form[ASSERTION].encode(), now)
    except (TokenRefusal, UnknownTrustDomain) as error:
        raise TokenRefused("invalid_client", f"the {ASSERTION} is refused: {error.reason}") from error
    if len(svid.audience) != 1:
        raise TokenRefused("invalid_client", f"the {ASSERTION} names other audiences too, who could use it as well")
    if str(svid.spiffe_id) != requester:
        raise TokenRefused("invalid_client", f"the {ASSERTION} is of another workload than the client certificate")
    return others
