"""What each verb does: a small function that imports what it needs itself, so that ``version`` is quick."""
# ruff: noqa: PLC0415, D103 - a verb pays for its own imports alone; what it is for stands in options.py

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from proxy import __version__

if TYPE_CHECKING:
    from proxy.config.problem import ConfigInvalid

OK = 0
FAILED = 1
USAGE = 2
"""Exit codes; argparse ends with USAGE too."""


def run(options: argparse.Namespace) -> int:
    from proxy.config.load import load
    from proxy.config.problem import ConfigInvalid

    try:
        settings = load(options.config, os.environ)
    except ConfigInvalid as invalid:
        return _refused(options.config, invalid)
    from proxy.supervisor.worker import run

    return run(settings, options.config)


def check(options: argparse.Namespace) -> int:
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


def explain(options: argparse.Namespace) -> int:
    from proxy.config.explain import BadUse, answer, as_json, print_words
    from proxy.config.load import load
    from proxy.config.problem import ConfigInvalid

    needed = ("host",) if options.outbound else ("peer",) if options.host else ("peer", "path")
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


def config_schema(_: argparse.Namespace) -> int:
    from proxy.config.schema import json_schema

    _print_data(json_schema())
    return OK


def demo(options: argparse.Namespace) -> int:
    from proxy.demo import main

    return main(once=options.once, as_json=options.json)


def authority(options: argparse.Namespace) -> int:
    from proxy.authority import main

    return main(options)


def wait(options: argparse.Namespace) -> int:
    from proxy.admin.wait import main

    given = {"--url": options.url, "--timeout": options.timeout}
    return main([f"{name}={value}" for name, value in given.items() if value is not None])


def drain(options: argparse.Namespace) -> int:
    from proxy.admin.drain import main

    return main(options)


def tap(options: argparse.Namespace) -> int:
    from proxy.admin.tap import main

    return main(options)


def audit_verify(options: argparse.Namespace) -> int:
    from proxy.admin.audit import main

    return main(options)


def policy_diff(options: argparse.Namespace) -> int:
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


def identity_show(options: argparse.Namespace) -> int:
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


def token_decode(options: argparse.Namespace) -> int:
    from proxy.tokens.command import decode

    return decode(options)


def token_verify(options: argparse.Namespace) -> int:
    from proxy.tokens.command import judge

    return judge(options)


def token_request(options: argparse.Namespace) -> int:
    from proxy.config.load import load
    from proxy.config.problem import ConfigInvalid

    try:
        settings = load(options.config, os.environ)
    except ConfigInvalid as invalid:
        return _refused(options.config, invalid)
    from proxy.control.ask import main

    return main(options, settings.identity, settings.tls, settings.tokens)


def version(options: argparse.Namespace) -> int:
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
