"""``identity.federation``: which foreign trust domains publish their bundles where."""

from proxy.config.shape import Key, ListOf, Record
from proxy.config.value import choice
from proxy.config.word import file_path, https_url, spiffe_id, trust_domain
from proxy.federation.settings import Profile, RelationSettings

FEDERATION = ListOf(
    item=Record(
        RelationSettings,
        (
            Key("trust_domain", trust_domain(), "The foreign trust domain.", required="trust_domain: other.org"),
            Key(
                "url",
                https_url(),
                "Its bundle endpoint.",
                required="url: https://spire.other.org/bundle",
            ),
            Key(
                "profile",
                choice(of=tuple(Profile)),
                "How the endpoint proves who it is: by its host name, or by an SVID.",
                into=(RelationSettings, "profile"),
            ),
            Key(
                "spiffe_id",
                spiffe_id(),
                "Who must answer there; with https_spiffe.",
                into=(RelationSettings, "spiffe_id"),
                fallback="none",
            ),
            Key(
                "bundle",
                file_path(),
                "The bundle (PEM or SPIFFE bundle) by which that one is known at first; with https_spiffe.",
                into=(RelationSettings, "bundle"),
                fallback="none",
            ),
        ),
    ),
    example="- {trust_domain: other.org, url: https://spire.other.org/bundle}",
    partial=True,
)
