"""Which transaction tokens are believed, and where one is asked for."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from proxy.tokens.profile import Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectSettings:
    """The subject token that a request brings. ``taken``: ``bearer``, or ``header:NAME``.

    ``audience`` is of ``jwt_svid``: whom it must be for, the issuer identifier of the token service.
    """

    type: str = "access_token"
    taken: str = "bearer"
    audience: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AskSettings:
    """What one route or destination asks of the token service.

    ``subject`` None: in the name of this workload itself. ``details`` and ``context``: the members of request_details
    and request_context, each the name of a fact (``tokens/facts.py``).
    """

    scope: tuple[str, ...]
    subject: SubjectSettings | None = None
    details: Mapping[str, str] = field(default_factory=dict)
    context: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """The Transaction Token Service (specs 1.7 to 1.14): HTTPS, reached with our SVID, known by its SPIFFE ID."""

    url: str
    spiffe_id: str
    timeout_s: float = 5.0
    jwt_svid_audience: str | None = None  # show a JWT-SVID for it too; None: the X509-SVID of the connection is all
    cache_entries: int = 4096  # tokens that are held: at an edge, one for each who is logged in and each thing they do


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSettings:
    """The rules of specs 1.5 and the limits that it leaves to us. Seconds and bytes."""

    audience: str
    keys: str  # the path of a JWK Set, or its http(s) URL
    issuer: str | None = None
    keys_spiffe_id: str | None = None  # an https URL is fetched from this workload; without it, by the Web PKI
    refresh_s: float = 300.0  # keys are published minutes before they sign; as SPIFFE's default refresh hint
    keys_copy: str | None = None  # a file that the last good keys are kept in, for a start without their server
    keys_max_age_s: float = 86_400.0  # without a word from their source; as long as an outage may last unseen
    learn_interval_s: float = 5.0  # at most one fetch for unknown kids in this time, however many ask
    skew_s: float = 2.0  # tokens live seconds to minutes; a minute of skew would be longer than some of them
    max_lifetime_s: float = 3600.0  # "minutes or less" (specs 1.13); more is a mistake of the issuer
    max_bytes: int = 16384  # a quarter of the head limit
    cache_entries: int = 10_000
    profile: Profile = Profile.STRICT  # of the issuer of ``keys``; anything else is named by the operator
    service: ServiceSettings | None = None
