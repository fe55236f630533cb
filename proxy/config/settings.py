"""The whole of one sidecar's configuration: the Settings of every room, side by side."""

from dataclasses import dataclass, field

from proxy.admin.settings import AdminSettings
from proxy.federation.settings import RelationSettings
from proxy.flow.settings import InboundSettings, OutboundSettings, SharingSettings, TcpSettings
from proxy.identity.lifetime import LifetimeSettings
from proxy.identity.settings import IdentitySettings
from proxy.net.transport import EventLoop
from proxy.observe.audit.settings import AuditSettings
from proxy.observe.settings import AccessLogSettings
from proxy.outside.settings import OutsideSettings
from proxy.policy.settings import DestinationSettings, PolicySettings
from proxy.revocation.settings import RevocationSettings
from proxy.tls.settings import TlsSettings
from proxy.tokens.settings import TokenSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class SidecarSettings:
    """Frozen; a reload makes another one. At least one of ``inbound``, ``outbound`` and ``tcp`` is there."""

    service: str
    event_loop: EventLoop
    identity: IdentitySettings
    tls: TlsSettings
    tokens: TokenSettings
    policy: PolicySettings
    destinations: tuple[DestinationSettings, ...]
    inbound: InboundSettings | None
    outbound: OutboundSettings | None
    admin: AdminSettings
    access_log: AccessLogSettings
    lifetime: LifetimeSettings = field(default_factory=LifetimeSettings)
    authoriser: OutsideSettings = field(default_factory=OutsideSettings)
    audit: AuditSettings = field(default_factory=AuditSettings)
    federation: tuple[RelationSettings, ...] = ()
    tcp: tuple[TcpSettings, ...] = ()
    revocation: RevocationSettings = field(default_factory=RevocationSettings)
    sharing: SharingSettings | None = None  # one process for one app
    shutdown_grace_s: float = 30.0  # what Kubernetes gives a pod
    shutdown_quiet_s: float = 2.0  # outbound ends when the app has asked for nothing in this time
