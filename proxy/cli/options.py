"""What each verb is called, and what may be said with it."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from proxy.cli import verbs
from proxy.cli.parser import Parser

if TYPE_CHECKING:
    from urllib.parse import SplitResult

Verb: TypeAlias = Callable[[argparse.Namespace], int]
Verbs: TypeAlias = "argparse._SubParsersAction[Parser]"  # noqa: SLF001 - argparse gives it no name

_EPILOG = """\
exit codes:
  0  done: valid, ready, every case as expected
  1  refused or failed: an invalid configuration, not ready, a request that would be refused
  2  usage: an unknown verb or option, or a file that is not there (explain: also a YAML that is refused)

begin here:
  svidecar demo                                 three workloads with their sidecars, on this machine
  svidecar check --config config/minimal.yaml   what a sidecar with this file would do
"""

_AUDIT_EPILOG = """\
exit codes:
  0  whole, and fixed by checkpoints with a good signature
  1  something was changed, removed, put in or moved, or a signature does not hold
  2  usage, or a file that cannot be read
  3  whole, but nothing proves who wrote it: no key was given, or there is no checkpoint

It cannot see lines cut off behind the last checkpoint, unless --last says how many there were
(svidecar_audit_lines), nor lines that rotation has removed at the beginning: it says where a chain begins and ends.
"""


def parser() -> Parser:
    """Give the command line; what it reads has the verb to call as ``verb``."""
    whole = Parser(
        prog="svidecar",
        description="A service-mesh sidecar: SPIFFE mTLS, transaction tokens on every hop, default deny.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    among = whole.add_subparsers(title="verbs", metavar="VERB", required=True)
    _demo_entry(among)
    _config_option(_entry(among, "run", verbs.run, "run one sidecar"))
    check = _entry(among, "check", verbs.check, "validate a YAML, and say what a sidecar with it would do")
    _config_option(check)
    _json_option(check)
    _explain_entry(among)
    config = among.add_parser("config", help="about the YAML itself", description="About the YAML itself.")
    about = config.add_subparsers(title="verbs", metavar="VERB", required=True)
    _entry(about, "schema", verbs.config_schema, "print the JSON Schema (draft 2020-12) of the YAML")
    _authority_entry(among)
    _audit_entry(among)
    _policy_entry(among)
    _wait_entry(among)
    _drain_entry(among)
    _tap_entry(among)
    _identity_entry(among)
    _token_entries(among)
    _json_option(_entry(among, "version", verbs.version, "say which svidecar this is"))
    return whole


def _entry(among: Verbs, name: str, verb: Verb, about: str) -> argparse.ArgumentParser:
    entry = among.add_parser(name, help=about, description=f"{about[0].upper()}{about[1:]}.")
    entry.set_defaults(verb=verb)
    return entry


def _config_option(entry: argparse.ArgumentParser) -> None:
    entry.add_argument("--config", required=True, type=Path, metavar="F", help="the YAML of the sidecar")


def _json_option(entry: argparse.ArgumentParser) -> None:
    entry.add_argument("--json", action="store_true", help="print data instead of words")


def _explain_entry(among: Verbs) -> None:
    explain = _entry(among, "explain", verbs.explain, "say what would be decided on a request, by which rule, and why")
    _config_option(explain)
    explain.add_argument("--peer", metavar="ID", help="who calls: a SPIFFE ID")
    explain.add_argument("--method", metavar="M", help="(default: GET, or CONNECT where the app speaks raw TCP)")
    explain.add_argument("--host", metavar="H", help="what it is sent to, host or host:port; where a tunnel leads to")
    explain.add_argument("--path", metavar="P", help="the target, as on the wire")
    explain.add_argument("--claims", type=Path, metavar="F", help="claims of its token, as JSON; no signature is asked")
    explain.add_argument(
        "--revocations", metavar="F", help="what is revoked: a list, or what GET /revocations says; - is the input"
    )
    explain.add_argument("--header", action="append", default=[], metavar="'N: V'", help="a field of it; repeatable")
    explain.add_argument("--body", type=Path, metavar="F", help="its body, for facts in it")
    explain.add_argument("--source", metavar="IP", default="127.0.0.1", help="where it comes from (default: 127.0.0.1)")
    explain.add_argument("--at", metavar="TIME", help="when: seconds since 1970, or ISO 8601 (default: now)")
    explain.add_argument("--outbound", action="store_true", help="a call of our own app, to --host")
    _json_option(explain)


def _demo_entry(among: Verbs) -> None:
    demo = _entry(
        among, "demo", verbs.demo, "start three workloads with their sidecars here, and show good and bad calls"
    )
    demo.add_argument("--once", action="store_true", help="end after the table; 0 only if every case went as it should")
    _json_option(demo)


def _authority_entry(among: Verbs) -> None:
    authority = _entry(among, "authority", verbs.authority, "run a trust domain: CA, Workload API, token service")
    authority.add_argument("--trust-domain", required=True, metavar="D", help="such as example.org")
    authority.add_argument("--dir", required=True, type=Path, metavar="STATE", help="keys, and SVIDs for the workloads")
    authority.add_argument(
        "--listen", metavar="HOST:PORT", help="where the token service listens (default: 127.0.0.1:8443)"
    )
    authority.add_argument(
        "--workload", action="append", default=[], metavar="NAME", help="give it an SVID; repeatable"
    )
    authority.add_argument(
        "--socket", type=Path, metavar="PATH", help="of the Workload API (default: STATE/workload.sock)"
    )
    authority.add_argument("--config", type=Path, metavar="F", help="the YAML of the authority")


def _audit_entry(among: Verbs) -> None:
    audit = among.add_parser("audit", help="about audit files", description="About audit files.")
    about = audit.add_subparsers(title="verbs", metavar="VERB", required=True)
    verify = _entry(about, "verify", verbs.audit_verify, "find what was changed, removed, put in or moved")
    verify.epilog = _AUDIT_EPILOG
    verify.formatter_class = argparse.RawDescriptionHelpFormatter
    verify.add_argument("files", nargs="+", type=Path, metavar="FILE", help="in any order; also compressed by gzip")
    verify.add_argument("--key", action="append", default=[], type=Path, metavar="F", help="public key; repeatable")
    verify.add_argument("--bundle", type=Path, metavar="F", help="of the trust domain, where the SVID's key signs")
    verify.add_argument("--spiffe-id", metavar="ID", help="who must have signed; with --bundle")
    verify.add_argument("--last", type=int, metavar="N", help="the chain is known to have so many lines at least")
    _json_option(verify)


def _policy_entry(among: Verbs) -> None:
    policy = among.add_parser("policy", help="about two policies", description="About two policies.")
    about = policy.add_subparsers(title="verbs", metavar="VERB", required=True)
    diff = _entry(
        about, "diff", verbs.policy_diff, "say what another policy would have decided about recorded requests"
    )
    diff.epilog = "exit codes: 0 nothing would change, 1 something would, or a YAML is invalid, 2 usage"
    diff.add_argument("old", type=Path, metavar="OLD", help="the YAML of the sidecar as it is")
    diff.add_argument("new", type=Path, metavar="NEW", help="and as it would be")
    diff.add_argument("--log", action="append", required=True, type=Path, metavar="AUDIT", help="repeatable")
    _json_option(diff)


def _wait_entry(among: Verbs) -> None:
    wait = _entry(among, "wait", verbs.wait, "come back when a sidecar is ready")
    wait.add_argument("--url", metavar="URL", help="its readiness (default: http://127.0.0.1:15021/healthz/ready)")
    wait.add_argument("--timeout", metavar="SECONDS", help="how long to wait; 0 looks once (default: 60)")


def _drain_entry(among: Verbs) -> None:
    drain = _entry(among, "drain", verbs.drain, "let a sidecar on this machine end in good order")
    drain.add_argument("--url", type=_url, default=_ADMIN + "/drain", metavar="URL", help="(default: %(default)s)")
    drain.add_argument(
        "--timeout", type=_seconds, default=0.0, metavar="SECONDS", help="wait for its end for so long (default: not)"
    )


def _tap_entry(among: Verbs) -> None:
    tap = _entry(among, "tap", verbs.tap, "watch what a sidecar on this machine decides, as it decides it")
    tap.add_argument("--url", type=_url, default=_ADMIN + "/tap", metavar="URL", help="(default: %(default)s)")
    tap.add_argument("--direction", choices=("inbound", "outbound"), help="only these")
    tap.add_argument("--decision", choices=("allow", "deny", "error", "would_refuse"), help="only these")
    tap.add_argument("--reason", metavar="R", help="only those with this reason, as in the metrics")
    tap.add_argument("--rule", metavar="NAME", help="only those of this rule")
    tap.add_argument("--peer", metavar="ID", help="only those of this SPIFFE ID")
    tap.add_argument("--txn", metavar="T", help="only those of this transaction")
    tap.add_argument("--count", type=_count, metavar="N", help="end after so many (default: at Ctrl-C)")
    _json_option(tap)


_ADMIN = "http://127.0.0.1:15000"


def _url(raw: str) -> "SplitResult":
    from proxy.admin.ask import http_url  # noqa: PLC0415 - an HTTP client, for the verbs that ask

    return http_url(raw)


def _seconds(raw: str) -> float:
    from proxy.admin.ask import seconds  # noqa: PLC0415

    return seconds(raw)


def _count(raw: str) -> int:
    if not raw.isascii() or not raw.isdigit() or int(raw) == 0:
        raise argparse.ArgumentTypeError("must be a count, from 1 on")
    return int(raw)


def _identity_entry(among: Verbs) -> None:
    identity = among.add_parser("identity", help="about our SVID", description="About our SVID.")
    about = identity.add_subparsers(title="verbs", metavar="VERB", required=True)
    show = _entry(about, "show", verbs.identity_show, "say who we are, until when, and whom we trust")
    whence = show.add_mutually_exclusive_group()
    whence.add_argument("--config", type=Path, metavar="F", help="ask the sidecar of this YAML, or else its source")
    whence.add_argument("--socket", metavar="S", help="ask this agent (default: SPIFFE_ENDPOINT_SOCKET)")
    _json_option(show)


def _token_entries(among: Verbs) -> None:
    token = among.add_parser("token", help="about one transaction token", description="About one transaction token.")
    about = token.add_subparsers(title="verbs", metavar="VERB", required=True)
    _json_option(
        _entry(about, "decode", verbs.token_decode, "show the token on standard input, believing nothing of it")
    )
    verify = _entry(
        about, "verify", verbs.token_verify, "say whether the token on standard input holds, as a sidecar would"
    )
    verify.add_argument("--jwks", required=True, type=Path, metavar="F", help="the JWK Set of the issuer")
    verify.add_argument("--audience", required=True, metavar="A", help="the trust domain that aud must be")
    verify.add_argument("--issuer", metavar="I", help="what iss must be (default: not compared)")
    verify.add_argument("--at", metavar="TIME", help="judge it at this time: seconds since 1970, or ISO 8601")
    verify.add_argument(
        "--profile",
        choices=("strict", "older_drafts"),
        default="strict",
        help="how its issuer writes (default: strict)",
    )
    _json_option(verify)
    request = _entry(about, "request", verbs.token_request, "ask the token service of a sidecar for a token")
    _config_option(request)
    request.add_argument("--scope", required=True, metavar="S", help="what for; several with spaces between")
    request.add_argument("--subject-type", metavar="T", help="of the token on standard input, such as access_token")
    request.add_argument("--details", metavar="JSON", default="", help="request_details, a JSON object")
    request.add_argument("--context", metavar="JSON", default="", help="request_context, a JSON object")
    request.add_argument("--raw", action="store_true", help="print the token itself: whoever has it can use it")
    _json_option(request)
