"""Which revision of the draft an issuer writes (specs 1.18): told by the configuration, never by the token.

Strict is the newest text. ``older_drafts`` reads what drafts up to -06 and Tokenetes write, and puts it into today's
words before anything else looks at it, so that there is one set of rules for what a claim may hold:

========== ==================================================== =======================================
today      older drafts, Tokenetes                              how it is read
========== ==================================================== =======================================
``typ``    ``txn_token``                                        either spelling
``scope``  ``purp``                                             one purpose is one scope; never both
``tctx``   ``azd``                                              never both
``req_wl`` ``rctx.req_wl``, also as a list; Tokenetes: absent   the list with commas; absent is ``-``
========== ==================================================== =======================================
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

from proxy.errors import TokenClaimsInvalid


class Profile(StrEnum):
    """What an issuer writes."""

    STRICT = "strict"
    OLDER_DRAFTS = "older_drafts"


_PREFIXED: Final = "application/"  # RFC 8725 section 3.11: implied where it is not written
TYPES: Final[Mapping[Profile, frozenset[str]]] = {
    Profile.STRICT: frozenset({"txntoken+jwt", f"{_PREFIXED}txntoken+jwt"}),
    Profile.OLDER_DRAFTS: frozenset({"txntoken+jwt", f"{_PREFIXED}txntoken+jwt", "txn_token"}),
}
"""What ``typ`` may be, in lower case."""

UNKNOWN_REQUESTER: Final = "-"
"""``req_wl`` of a token that does not say who asked for it."""


def in_todays_words(claims: Mapping[str, Any], profile: Profile) -> Mapping[str, Any]:
    """Return the claims as the newest draft would write them.

    Raises:
        TokenClaimsInvalid: an old and a new word stand side by side, so that two readers could take one each.

    """
    if profile is Profile.STRICT:
        return claims
    renamed = dict(claims)
    for old, new in (("purp", "scope"), ("azd", "tctx")):
        if old in renamed:
            if new in renamed:
                raise TokenClaimsInvalid(f"{old} and {new} stand side by side")
            renamed[new] = renamed.pop(old)
    if "purp" in claims and " " in str(claims["purp"]):
        raise TokenClaimsInvalid("purp is one purpose, and has a blank in it")  # or it would be two scopes
    if "req_wl" not in renamed:
        renamed["req_wl"] = _requester(renamed.get("rctx"))
    return renamed


def _requester(rctx: object) -> object:
    named = rctx.get("req_wl", UNKNOWN_REQUESTER) if isinstance(rctx, dict) else UNKNOWN_REQUESTER
    if isinstance(named, list) and named and all(isinstance(one, str) for one in named):
        return ",".join(named)
    return named
