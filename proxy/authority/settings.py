"""What an authority is told: who its workloads are, and what each may ask for."""

from dataclasses import dataclass
from pathlib import Path

from proxy.authority.issuers import IssuerSettings

RESERVED = "tts"
"""The workload that the authority itself is: ``spiffe://D/tts``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadSettings:
    """One workload. ``name`` is the path of its SPIFFE ID without the first slash: ``orders``, ``ns/shop/orders``.

    ``scopes``: what it may ask for; none means that it gets an SVID and never a token. ``subjects``: whom it may name
    besides itself: exactly, or everything with a prefix (``user:*``); a pattern reaches other workloads
    (``spiffe://``) only if it says so. ``context``: whether its ``request_details`` and ``request_context`` become
    ``tctx`` and ``rctx``. ``issuers``: whose subject tokens it may bring. ``replaces``: whether it may trade
    transaction tokens for ones that do less. ``svids``: whether it may bring JWT-SVIDs of other workloads.
    """

    name: str
    scopes: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()
    context: bool = False
    issuers: tuple[str, ...] = ()
    replaces: bool = False
    svids: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthoritySettings:
    """One trust domain. Port 0 picks a free one. Seconds."""

    trust_domain: str
    state: Path
    host: str = "127.0.0.1"
    port: int = 8443
    workloads: tuple[WorkloadSettings, ...] = ()
    issuers: tuple[IssuerSettings, ...] = ()
    svid_lifetime_s: int = 3600  # SPIRE's default (specs 3.2); renewed at half of it
    token_lifetime_s: int = 300  # "minutes or less" (specs 1.13)
