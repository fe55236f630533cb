"""Every key of the YAML: its kind, its bounds, what it is for, and which setting it becomes.

The one description: the reader walks it, and the JSON Schema is printed from it, so the two cannot differ. Defaults are
not repeated here; they stand in the Settings of the rooms, beside their reasons.
"""

from collections import defaultdict

from proxy.config.allowed import OUTBOUND, POLICY
from proxy.config.auditing import AUDIT
from proxy.config.authorising import AUTHORISER
from proxy.config.conditions import ENVIRONMENT
from proxy.config.revocation import REVOCATION
from proxy.config.sections import IDENTITY, INBOUND, TOKENS
from proxy.config.settings import SidecarSettings
from proxy.config.shape import Key, ListOf, Record, Section
from proxy.config.sharing import TRANSACTIONS
from proxy.config.tuning import ADMIN, HEALTH, LIMITS, METRICS, SHUTDOWN, TIMEOUTS, TLS
from proxy.config.value import JsonSchema, Unfit, Value, choice, text
from proxy.config.word import file_path, trust_domain
from proxy.net.transport import EventLoop
from proxy.observe.settings import AccessLogSettings
from proxy.policy.settings import Ambiguity


def _access_log(raw: str) -> str:
    match raw.lower():
        case "false" | "no":
            return "off"
        case "true" | "yes" | "on":  # it says that there is one, and not where
            raise Unfit
        case _:
            return file_path().parse(raw)


_ACCESS_LOG = Value(
    expected="stdout, stderr, off, or a path",
    example="stdout",
    parse=_access_log,
    json={"anyOf": [{"type": "string"}, {"const": False}]},
    bare=frozenset({"str", "bool"}),  # a YAML 1.1 reader takes an unquoted off for false
)

SIDECAR = Section(
    (
        Key(
            "service",
            text("a name of letters, digits, '.', '-' and '_'", "orders", r"[A-Za-z0-9._-]+", longest=253),
            "The name of this workload, in logs and metrics.",
            required="service: orders",
        ),
        Key("trust_domain", trust_domain(), "The own trust domain.", required="trust_domain: example.org"),
        Key("identity", IDENTITY, "Where the SVID comes from.", fallback="the agent of `SPIFFE_ENDPOINT_SOCKET`"),
        Key("inbound", INBOUND, "From the mesh to the app.", fallback="not there"),
        Key("outbound", OUTBOUND, "From the app to the mesh.", fallback="not there"),
        Key("tokens", TOKENS, "Which transaction tokens are believed; required with inbound.", fallback="none"),
        Key("policy", POLICY, "Who may do what; all else is refused. Required with inbound.", fallback="nothing"),
        Key(
            "allow_ambiguous",
            ListOf(item=choice(of=tuple(Ambiguity)), example="[encoded_slash]"),
            "Paths that can be read in two ways, allowed by the name of the ambiguity.",
            fallback="none",
        ),
        ENVIRONMENT,
        Key(
            "revocation", REVOCATION, "Who is told to be revoked, and what happens when nobody tells.", fallback="none"
        ),
        Key("tls", TLS, "Of both listeners and of every connection that we make."),
        Key("limits", LIMITS, "Of both listeners."),
        Key("timeouts", TIMEOUTS, "Of both listeners."),
        Key("transactions", TRANSACTIONS, "Of an app that has several sidecar processes."),
        Key("metrics", METRICS, "The port of Prometheus."),
        Key("health", HEALTH, "The port of the probes."),
        Key("admin", ADMIN, "The port of the operator."),
        Key(
            "access_log",
            _ACCESS_LOG,
            "stdout, stderr, off, or the path of a file that is appended to.",
            into=(AccessLogSettings, "path"),
        ),
        Key("authoriser", AUTHORISER, "Who else has to agree to what the policy allows inbound.", fallback="nobody"),
        Key("audit", AUDIT, "Every decision, in a file that shows what was done to it.", fallback="off"),
        Key("shutdown", SHUTDOWN, "How it ends."),
        Key(
            "event_loop",
            choice(of=tuple(EventLoop)),
            "The loop under everything.",
            into=(SidecarSettings, "event_loop"),
            fallback=EventLoop.FAST,
        ),
    )
)

REFERENCE = {"type": "string", "pattern": r"\$\{"}
"""A text with a reference to the environment; what it expands to is checked when it is read."""


def json_schema() -> JsonSchema:
    """The whole description as JSON Schema, draft 2020-12."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "svidecar",
        "description": "The configuration of one svidecar sidecar.",
        **SIDECAR.schema(),
        "anyOf": [{"required": ["inbound"]}, {"required": ["outbound"]}],
        "$defs": {"environment": REFERENCE},
    }


def homes() -> dict[str, str]:
    """Each key -> where it belongs, for a person whose indentation is wrong."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for key in SIDECAR.keys:
        _walk(key, "at the top level", found)
    return {name: " or ".join(dict.fromkeys(places)) for name, places in found.items()}


def _walk(key: Key, where: str, found: defaultdict[str, list[str]]) -> None:
    found[key.name].append(where)
    kind = key.kind.item if isinstance(key.kind, ListOf) else key.kind
    if isinstance(kind, Section | Record):
        for below in kind.keys:
            _walk(below, f"under {key.name}", found)
