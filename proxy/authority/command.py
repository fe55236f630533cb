"""``svidecar authority``: from the options to a clean end."""

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Mapping

from proxy.authority.read import SettingsInvalid, read_settings
from proxy.authority.service import Authority
from proxy.authority.settings import AuthoritySettings
from proxy.authority.state import State, StateUnusable
from proxy.net.accept import ListenFailed
from proxy.net.faults import on_fault
from proxy.net.transport import EventLoop, Transports, new_loop

OK, FAILED, USAGE = 0, 1, 2
"""Exit codes, as of every verb: ended when asked to; refused or failed; a file that is not there."""


def main(options: argparse.Namespace) -> int:
    """Run an authority until SIGTERM or SIGINT; ``options`` as the command line has them."""
    try:
        document = options.config.read_text("utf-8") if options.config else ""
    except (OSError, UnicodeDecodeError) as error:
        return _failed(f"{options.config} cannot be read: {getattr(error, 'strerror', None) or 'not UTF-8'}", USAGE)
    try:
        settings = read_settings(
            options.trust_domain,
            options.dir,
            listen=options.listen,
            socket=options.socket,
            workloads=options.workload,
            document=document,
        )
    except SettingsInvalid as invalid:
        for where, what in invalid.errors:
            _failed(f"{where}: {what}")
        return FAILED
    return _run(settings)


def _run(settings: AuthoritySettings) -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("aiofastnet").setLevel(logging.CRITICAL)  # our servers tell of each failed handshake themselves
    try:
        state = State.open(settings.state)
    except StateUnusable as error:
        return _failed(str(error))
    try:
        with asyncio.Runner(loop_factory=lambda: new_loop(EventLoop.FAST)) as runner:
            runner.run(_serve(settings, state))
    except (StateUnusable, ListenFailed) as error:
        return _failed(error.strerror or str(error) if isinstance(error, OSError) else str(error))
    finally:
        state.close()
    return OK


async def _serve(settings: AuthoritySettings, state: State) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(on_fault)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    authority = Authority(settings, state, Transports(loop, EventLoop.FAST))
    try:
        await authority.start()
        _say(settings, authority.facts)
        await stop.wait()
    finally:
        await authority.close()


def _say(settings: AuthoritySettings, facts: Mapping[str, object]) -> None:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    base, folder = f"https://{host}:{facts['port']}", settings.state
    sys.stdout.write(
        f"authority of {settings.trust_domain}: {base}/token, keys {base}/jwks (or {folder / 'jwks.json'}), "
        f"bundle {base}/bundle (or {folder / 'bundle.pem'}), workloads in {folder / 'workloads'}/\n"
    )
    if "workload_api" in facts:
        sys.stdout.write(f"Workload API: {facts['workload_api']}\n")
    if "bundle_endpoint" in facts:
        sys.stdout.write(f"bundle endpoint: port {facts['bundle_endpoint']}\n")
    sys.stdout.flush()


def _failed(message: str, code: int = FAILED) -> int:
    sys.stderr.write(f"svidecar authority: {message}\n")
    return code
