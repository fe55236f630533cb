"""What an authority is told: who its workloads are, and what each may ask for."""

from dataclasses import dataclass
from pathlib import Path

from proxy.authority.entries import Selectors
from proxy.authority.issuers import IssuerSettings
from proxy.federation.settings import Profile, RelationSettings

RESERVED = "tts"
"""The workload that the authority itself is: ``spiffe://D/tts``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadSettings:
    """One workload. ``name`` is the path of its SPIFFE ID without the first slash: ``orders``, ``ns/shop/orders``.

    ``selectors``: which process it is; it then gets its SVID from the Workload API, and no file has its key. Without
    them its SVID is written to a folder, and whoever can read that is this workload.

    ``scopes``: what it may ask for; none means that it gets an SVID and never a token. ``subjects``: whom it may name
    besides itself: exactly, or everything with a prefix (``user:*``); a pattern reaches other workloads
    (``spiffe://``) only if it says so. ``context``: whether its ``request_details`` and ``request_context`` become
    ``tctx`` and ``rctx``. ``issuers``: whose subject tokens it may bring. ``replaces``: whether it may trade
    transaction tokens for ones that do less. ``svids``: whether it may bring JWT-SVIDs of other workloads.

    ``federates_with``: of which of the federated trust domains it gets the bundle; None: of all.
    """

    name: str
    selectors: Selectors | None = None
    scopes: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()
    context: bool = False
    issuers: tuple[str, ...] = ()
    replaces: bool = False
    svids: bool = False
    federates_with: frozenset[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleEndpointSettings:
    """Where other trust domains fetch our bundle, without a certificate of theirs.

    Known by the SVID of the authority (``https_spiffe``), or by a certificate of the Web PKI (``https_web``):
    ``certificate`` and ``key`` are PEM, and read again when they change.
    """

    host: str
    port: int
    profile: Profile = Profile.SPIFFE
    certificate: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthoritySettings:
    """One trust domain. Port 0 picks a free one. Seconds. ``socket``: of the Workload API; else in the state folder."""

    trust_domain: str
    state: Path
    host: str = "127.0.0.1"
    port: int = 8443
    workloads: tuple[WorkloadSettings, ...] = ()
    issuers: tuple[IssuerSettings, ...] = ()
    socket: Path | None = None
    bundle_endpoint: BundleEndpointSettings | None = None
    federation: tuple[RelationSettings, ...] = ()
    refresh_hint_s: int = 300  # SPIFFE's default (specs 2.5)
    jwt_svid_lifetime_s: int = 300  # SPIRE's default (specs 3.2)
    svid_lifetime_s: int = 3600  # SPIRE's default (specs 3.2); renewed at half of it
    token_lifetime_s: int = 300  # "minutes or less" (specs 1.13)
