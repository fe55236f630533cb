"""The verbs of ``svidecar``: a small function each that imports what it needs itself, so that ``version`` is quick."""
# ruff: noqa: PLC0415 - a verb pays for its own imports alone

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from proxy import __version__
from proxy.command_line import Parser, read

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.config.problem import ConfigInvalid

    Verb: TypeAlias = Callable[[argparse.Namespace], int]
    Verbs: TypeAlias = argparse._SubParsersAction[Parser]  # noqa: SLF001 - argparse gives it no name

OK = 0
FAILED = 1
USAGE = 2
INTERRUPTED = 130
"""Exit codes; argparse ends with USAGE too."""

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


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says and give the exit code."""
    options = read(_parser(), argv)
    try:
        code: int = options.verb(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader (head, less) has seen enough. Python flushes once more at its end: give it somewhere to write.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    return code


def _parser() -> Parser:
    parser = Parser(
        prog="svidecar",
        description="A service-mesh sidecar: SPIFFE mTLS, transaction tokens on every hop, default deny.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    _demo_entry(verbs)
    _config_option(_entry(verbs, "run", _run, "run one sidecar"))
    check = _entry(verbs, "check", _check, "validate a YAML, and say what a sidecar with it would do")
    _config_option(check)
    _json_option(check)
    _explain_entry(verbs)
    config = verbs.add_parser("config", help="about the YAML itself", description="About the YAML itself.")
    about = config.add_subparsers(title="verbs", metavar="VERB", required=True)
    _entry(about, "schema", _config_schema, "print the JSON Schema (draft 2020-12) of the YAML")
    _authority_entry(verbs)
    _audit_entry(verbs)
    _policy_entry(verbs)
    _wait_entry(verbs)
    _identity_entry(verbs)
    _token_entries(verbs)
    _json_option(_entry(verbs, "version", _version, "say which svidecar this is"))
    return parser


def _entry(verbs: "Verbs", name: str, verb: "Verb", about: str) -> argparse.ArgumentParser:
    entry = verbs.add_parser(name, help=about, description=f"{about[0].upper()}{about[1:]}.")
    entry.set_defaults(verb=verb)
    return entry


def _config_option(entry: argparse.ArgumentParser) -> None:
    entry.add_argument("--config", required=True, type=Path, metavar="F", help="the YAML of the sidecar")


def _json_option(entry: argparse.ArgumentParser) -> None:
    entry.add_argument("--json", action="store_true", help="print data instead of words")


def _explain_entry(verbs: "Verbs") -> None:
    explain = _entry(verbs, "explain", _explain, "say what would be decided on a request, by which rule, and why")
    _config_option(explain)
    explain.add_argument("--peer", metavar="ID", help="who calls: a SPIFFE ID")
    explain.add_argument("--method", metavar="M", default="GET", help="(default: GET)")
    explain.add_argument("--host", metavar="H", help="what it is sent to, host or host:port")
    explain.add_argument("--path", metavar="P", help="the target, as on the wire")
    explain.add_argument("--claims", type=Path, metavar="F", help="claims of its token, as JSON; no signature is asked")
    explain.add_argument("--header", action="append", default=[], metavar="'N: V'", help="a field of it; repeatable")
    explain.add_argument("--body", type=Path, metavar="F", help="its body, for facts in it")
    explain.add_argument("--source", metavar="IP", default="127.0.0.1", help="where it comes from (default: 127.0.0.1)")
    explain.add_argument("--at", metavar="TIME", help="when: seconds since 1970, or ISO 8601 (default: now)")
    explain.add_argument("--outbound", action="store_true", help="a call of our own app, to --host")
    _json_option(explain)


def _demo_entry(verbs: "Verbs") -> None:
    demo = _entry(verbs, "demo", _demo, "start three workloads with their sidecars here, and show good and bad calls")
    demo.add_argument("--once", action="store_true", help="end after the table; 0 only if every case went as it should")
    _json_option(demo)


def _authority_entry(verbs: "Verbs") -> None:
    authority = _entry(verbs, "authority", _authority, "run a trust domain: CA, Workload API, token service")
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


def _audit_entry(verbs: "Verbs") -> None:
    audit = verbs.add_parser("audit", help="about audit files", description="About audit files.")
    about = audit.add_subparsers(title="verbs", metavar="VERB", required=True)
    verify = _entry(about, "verify", _audit_verify, "find what was changed, removed, put in or moved")
    verify.epilog = _AUDIT_EPILOG
    verify.formatter_class = argparse.RawDescriptionHelpFormatter
    verify.add_argument("files", nargs="+", type=Path, metavar="FILE", help="in any order; also compressed by gzip")
    verify.add_argument("--key", action="append", default=[], type=Path, metavar="F", help="public key; repeatable")
    verify.add_argument("--bundle", type=Path, metavar="F", help="of the trust domain, where the SVID's key signs")
    verify.add_argument("--spiffe-id", metavar="ID", help="who must have signed; with --bundle")
    verify.add_argument("--last", type=int, metavar="N", help="the chain is known to have so many lines at least")
    _json_option(verify)


def _policy_entry(verbs: "Verbs") -> None:
    policy = verbs.add_parser("policy", help="about two policies", description="About two policies.")
    about = policy.add_subparsers(title="verbs", metavar="VERB", required=True)
    diff = _entry(about, "diff", _policy_diff, "say what another policy would have decided about recorded requests")
    diff.epilog = "exit codes: 0 nothing would change, 1 something would, or a YAML is invalid, 2 usage"
    diff.add_argument("old", type=Path, metavar="OLD", help="the YAML of the sidecar as it is")
    diff.add_argument("new", type=Path, metavar="NEW", help="and as it would be")
    diff.add_argument("--log", action="append", required=True, type=Path, metavar="AUDIT", help="repeatable")
    _json_option(diff)


def _wait_entry(verbs: "Verbs") -> None:
    wait = _entry(verbs, "wait", _wait, "come back when a sidecar is ready")
    wait.add_argument("--url", metavar="URL", help="its readiness (default: http://127.0.0.1:15021/healthz/ready)")
    wait.add_argument("--timeout", metavar="SECONDS", help="how long to wait; 0 looks once (default: 60)")


def _identity_entry(verbs: "Verbs") -> None:
    identity = verbs.add_parser("identity", help="about our SVID", description="About our SVID.")
    about = identity.add_subparsers(title="verbs", metavar="VERB", required=True)
    show = _entry(about, "show", _identity_show, "say who we are, until when, and whom we trust")
    whence = show.add_mutually_exclusive_group()
    whence.add_argument("--config", type=Path, metavar="F", help="ask the sidecar of this YAML, or else its source")
    whence.add_argument("--socket", metavar="S", help="ask this agent (default: SPIFFE_ENDPOINT_SOCKET)")
    _json_option(show)


def _token_entries(verbs: "Verbs") -> None:
    token = verbs.add_parser("token", help="about one transaction token", description="About one transaction token.")
    about = token.add_subparsers(title="verbs", metavar="VERB", required=True)
    _json_option(_entry(about, "decode", _token_decode, "show the token on standard input, believing nothing of it"))
    verify = _entry(about, "verify", _token_verify, "say whether the token on standard input holds, as a sidecar would")
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
    request = _entry(about, "request", _token_request, "ask the token service of a sidecar for a token")
    _config_option(request)
    request.add_argument("--scope", required=True, metavar="S", help="what for; several with spaces between")
    request.add_argument("--subject-type", metavar="T", help="of the token on standard input, such as access_token")
    request.add_argument("--details", metavar="JSON", default="", help="request_details, a JSON object")
    request.add_argument("--context", metavar="JSON", default="", help="request_context, a JSON object")
    request.add_argument("--raw", action="store_true", help="print the token itself: whoever has it can use it")
    _json_option(request)


def _run(options: argparse.Namespace) -> int:
    from proxy.config.load import load
    from proxy.config.problem import ConfigInvalid

    try:
        settings = load(options.config, os.environ)
    except ConfigInvalid as invalid:
        return _refused(options.config, invalid)
    from proxy.supervisor.worker import run

    return run(settings, options.config)


def _check(options: argparse.Namespace) -> int:
    from proxy.config.check import check, refusal
    from proxy.config.problem import ConfigInvalid

    try:
        report = check(options.config, os.environ, time.time())
    except ConfigInvalid as invalid:
        if options.json:
            _print_data(refusal(invalid).as_data())
        return _refused(options.config, invalid)
    if options.json:
        _print_data(report.as_data())
        return OK
    print(f"{options.config} is valid. A sidecar with it:")
    for line in report.summary:
        print(f"  {line}")
    sys.stdout.flush()
    for warning in report.warnings:
        print(warning.told(str(options.config), degree="warning"), file=sys.stderr)
    return OK


def _explain(options: argparse.Namespace) -> int:
    from proxy.config.explain import BadUse, answer, as_json, print_words
    from proxy.config.load import load
    from proxy.config.problem import ConfigInvalid

    needed = ("host",) if options.outbound else ("peer", "path")
    missing = [f"--{name}" for name in needed if getattr(options, name) is None]
    if missing:
        print(f"name {' and '.join(missing)} too", file=sys.stderr)
        return USAGE
    try:
        explanation, assumed = answer(load(options.config, os.environ), options, time.time())
    except ConfigInvalid as invalid:
        _refused(options.config, invalid)
        return USAGE
    except BadUse as error:
        print(error, file=sys.stderr)
        return USAGE
    if options.json:
        print(as_json(explanation, assumed))
    else:
        print("\n".join(print_words(explanation, assumed, outbound=options.outbound)))
    return OK if explanation.allowed else FAILED


def _refused(config: Path, invalid: "ConfigInvalid") -> int:
    """Tell every problem, a line each."""
    from proxy.config.problem import ConfigUnreadable

    unreadable = isinstance(invalid, ConfigUnreadable)
    name = str(config.absolute() if unreadable else config)
    for problem in invalid.problems:
        print(problem.told(name), file=sys.stderr)
    return USAGE if unreadable else FAILED


def _config_schema(_: argparse.Namespace) -> int:
    from proxy.config.schema import json_schema

    _print_data(json_schema())
    return OK


def _demo(options: argparse.Namespace) -> int:
    from proxy.demo import main as demo

    return demo(once=options.once, as_json=options.json)


def _authority(options: argparse.Namespace) -> int:
    from proxy.authority import main as authority

    return authority(options)


def _wait(options: argparse.Namespace) -> int:
    from proxy.admin.wait import main as wait

    given = {"--url": options.url, "--timeout": options.timeout}
    return wait([f"{name}={value}" for name, value in given.items() if value is not None])


def _audit_verify(options: argparse.Namespace) -> int:
    from proxy.admin.audit import main as audit

    return audit(options)


def _policy_diff(options: argparse.Namespace) -> int:
    from proxy.config.policy_diff import CHANGED, SAME, diff
    from proxy.config.problem import ConfigInvalid

    try:
        found = diff(options.old, options.new, options.log, os.environ)
    except ConfigInvalid as invalid:
        for problem in invalid.problems:
            print(problem.told(f"{options.old} or {options.new}"), file=sys.stderr)
        return FAILED
    except (OSError, EOFError) as error:
        print(f"a log cannot be read: {error}", file=sys.stderr)
        return USAGE
    if options.json:
        _print_data(found.as_data())
    else:
        print("\n".join(found.words()))
    return CHANGED if found.changed else SAME


def _identity_show(options: argparse.Namespace) -> int:
    from proxy.admin.show import show_agent, show_held
    from proxy.config.load import load
    from proxy.config.problem import ConfigInvalid
    from proxy.identity.settings import WorkloadApiSettings
    from proxy.workload_api.endpoint import ENDPOINT_VARIABLE

    if options.config is None:
        socket = options.socket or os.environ.get(ENDPOINT_VARIABLE, "")
        if not socket:
            print(f"name a YAML by --config or an agent by --socket, or set {ENDPOINT_VARIABLE}", file=sys.stderr)
            return USAGE
        return show_agent(WorkloadApiSettings(socket=socket), as_json=options.json)
    try:
        settings = load(options.config, os.environ)
    except ConfigInvalid as invalid:
        return _refused(options.config, invalid)
    admin = settings.admin
    return show_held(settings.identity, admin.admin_host, admin.admin_port, as_json=options.json)


def _token_decode(options: argparse.Namespace) -> int:
    from proxy.tokens.command import decode

    return decode(options)


def _token_verify(options: argparse.Namespace) -> int:
    from proxy.tokens.command import judge

    return judge(options)


def _token_request(options: argparse.Namespace) -> int:
    from proxy.config.load import load
    from proxy.config.problem import ConfigInvalid

    try:
        settings = load(options.config, os.environ)
    except ConfigInvalid as invalid:
        return _refused(options.config, invalid)
    from proxy.control.ask import main as ask

    return ask(options, settings.identity, settings.tls, settings.tokens)


def _version(options: argparse.Namespace) -> int:
    if options.json:
        import platform
        import ssl

        data = {"svidecar": __version__, "python": platform.python_version(), "openssl": ssl.OPENSSL_VERSION}
        _print_data(data)
    else:
        print(f"svidecar {__version__}")
    return OK


def _print_data(data: object) -> None:
    print(json.dumps(data, indent=2))
