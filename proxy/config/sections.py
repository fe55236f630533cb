"""What most people write: who we are, from where to where, which tokens, and who may do what."""

from proxy.config.address import HostPort
from proxy.config.federation import FEDERATION
from proxy.config.number import DAY, HOUR, KIB, MINUTE, count, duration, size
from proxy.config.shape import Key, Record, Section, TableOf
from proxy.config.value import choice, text
from proxy.config.word import (
    app_url,
    endpoint,
    file_path,
    https_url,
    keys_location,
    listen_address,
    spiffe_id,
    trust_domain,
)
from proxy.identity.settings import FilesSettings
from proxy.policy.settings import Mode, PolicySettings
from proxy.tokens.profile import Profile
from proxy.tokens.settings import ServiceSettings, TokenSettings

INBOUND_LISTEN = HostPort("0.0.0.0", 15006)  # noqa: S104 - the mesh comes from outside the pod
"""The port by which a mesh's operators know the way in."""

FILES = Section(
    (
        Key("svid", file_path(), "The certificate chain of this workload, PEM, leaf first.", required="svid: svid.pem"),
        Key("key", file_path(), "The private key of the leaf, PEM.", required="key: svid_key.pem"),
        Key("bundle", file_path(), "The CAs of the own trust domain, PEM.", required="bundle: svid_bundle.pem"),
        Key(
            "federated",
            TableOf(key=trust_domain(), item=file_path(), example="{other.org: other.pem}"),
            "The bundle of each foreign trust domain, under its name. Their roots are never pooled.",
            fallback="none",
        ),
        Key(
            "crl",
            file_path(),
            "CRLs of the own trust domain, PEM, of its CAs or intermediates; who stands there is refused and cut off.",
            fallback="none",
        ),
        Key(
            "federated_crls",
            TableOf(key=trust_domain(), item=file_path(), example="{other.org: other_crl.pem}"),
            "CRLs of foreign trust domains, under their names; also of fetched ones.",
            fallback="none",
        ),
        Key(
            "stale_crl",
            choice(of=("refuse", "accept")),
            "New connections once a CRL has passed its nextUpdate; open ones stay.",
            into=(FilesSettings, "stale_crl"),
        ),
        Key(
            "poll",
            duration(0.05, HOUR),
            "How often the folders are looked at for a rotation.",
            into=(FilesSettings, "poll_s"),
        ),
    )
)

FILES_EXAMPLE = "files: {svid: svid.pem, key: svid_key.pem, bundle: svid_bundle.pem}"

WORKLOAD_API = Section(
    (
        Key(
            "socket",
            endpoint(),
            "Where the agent listens: unix:///path or tcp://IP:port.",
            fallback="SPIFFE_ENDPOINT_SOCKET",
        ),
        Key(
            "hint",
            text("a hint", "internal", longest=1024),
            "Of several SVIDs, use the one that has this hint.",
            fallback="the first one",
        ),
    )
)

WORKLOAD_API_EXAMPLE = "workload_api: {socket: unix:///run/spire/agent/public/api.sock}"

IDENTITY = Section(
    (
        Key(
            "source",
            choice(of=("files", "workload_api")),
            "Where the identity comes from.",
            fallback="the section that is written, or the agent of `SPIFFE_ENDPOINT_SOCKET`",
        ),
        Key(
            "files",
            FILES,
            "PEM files as spiffe-helper writes them; a rotation is taken when the set is whole.",
            fallback="not used",
        ),
        Key(
            "federation",
            FEDERATION,
            "Foreign trust domains whose bundles are fetched from where they publish them.",
            fallback="none",
        ),
        Key("workload_api", WORKLOAD_API, "A SPIFFE agent, followed by its stream.", fallback="not used"),
    )
)

INBOUND = Section(
    (
        Key(
            "listen",
            listen_address(),
            "Where the mesh reaches this workload, mTLS.",
            fallback=str(INBOUND_LISTEN),
        ),
        Key(
            "app",
            app_url(),
            "The app behind this sidecar, on loopback: plain HTTP, or tcp://127.0.0.1:5432 for anything else.",
            required="app: http://127.0.0.1:8080",
        ),
        Key(
            "mode",
            choice(of=tuple(Mode)),
            "audit: what the policy would refuse here is told and counted, and let pass; never in production for long.",
            into=(PolicySettings, "mode"),
        ),
    )
)

_SERVICE = Record(
    ServiceSettings,
    (
        Key(
            "url",
            https_url(),
            "The RFC 8693 endpoint, over mTLS.",
            required="url: https://tts.default.svc/token",
        ),
        Key("spiffe_id", spiffe_id(), "Who must answer there.", required="spiffe_id: spiffe://example.org/tts"),
        Key("timeout", duration(0.1, MINUTE), "For one exchange.", into=(ServiceSettings, "timeout_s")),
        Key(
            "jwt_svid_audience",
            text("an audience", "https://tts.example.org"),
            "Show a JWT-SVID too, for this audience: the service's issuer identifier. Needs the Workload API.",
            into=(ServiceSettings, "jwt_svid_audience"),
            fallback="the X509-SVID alone",
        ),
        Key(
            "cache_entries",
            count(1, 1_000_000),
            "Tokens from it that are held.",
            into=(ServiceSettings, "cache_entries"),
        ),
    ),
)

TOKENS = Section(
    (
        Key(
            "audience",
            text("an audience", "example.org"),
            "What aud must be.",
            fallback="the trust domain",
            into=(TokenSettings, "audience"),
        ),
        Key(
            "keys",
            keys_location(),
            "The JWK Set that tokens are verified with: a file, or a URL.",
            into=(TokenSettings, "keys"),
            required="keys: https://tts.default.svc/jwks (or the path of a JWK Set)",
        ),
        Key(
            "keys_spiffe_id",
            spiffe_id(),
            "Who must serve the keys.",
            fallback="service.spiffe_id at the same host",
            into=(TokenSettings, "keys_spiffe_id"),
        ),
        Key(
            "issuer",
            text("an issuer", "https://tts.example.org"),
            "What iss must be.",
            fallback="not compared",
            into=(TokenSettings, "issuer"),
        ),
        Key(
            "profile",
            choice(of=tuple(Profile)),
            "How this issuer writes tokens: as the newest draft, or as older ones and Tokenetes.",
            into=(TokenSettings, "profile"),
        ),
        Key("refresh", duration(1, DAY), "How often the keys are read again.", into=(TokenSettings, "refresh_s")),
        Key(
            "keys_copy",
            file_path(),
            "A file in which the last good keys are kept, for a start while their URL is down.",
            fallback="none",
            into=(TokenSettings, "keys_copy"),
        ),
        Key(
            "keys_max_age",
            duration(MINUTE, 30 * DAY),
            "Keys that their source has not confirmed for so long are given up.",
            into=(TokenSettings, "keys_max_age_s"),
        ),
        Key(
            "learn_interval",
            duration(0.1, HOUR),
            "At most one fetch for unknown keys in this time.",
            into=(TokenSettings, "learn_interval_s"),
        ),
        Key("skew", duration(0, MINUTE), "How far clocks may differ.", into=(TokenSettings, "skew_s")),
        Key(
            "max_lifetime",
            duration(1, DAY),
            "A token that lives longer is refused.",
            into=(TokenSettings, "max_lifetime_s"),
        ),
        Key("max_size", size(512, 64 * KIB), "A larger token is refused.", into=(TokenSettings, "max_bytes")),
        Key(
            "cache_entries",
            count(1, 1_000_000),
            "Verified tokens that are remembered.",
            into=(TokenSettings, "cache_entries"),
        ),
        Key("service", _SERVICE, "The Transaction Token Service.", into=(TokenSettings, "service"), fallback="none"),
    )
)
