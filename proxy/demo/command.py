"""``svidecar demo``: start, try, show, stay, and leave nothing behind."""

import asyncio
import json
import os
import signal
import sys
import tempfile
from pathlib import Path

from proxy.demo.cases import CASES
from proxy.demo.guide import guide
from proxy.demo.mesh import Mesh
from proxy.demo.outcome import Outcome
from proxy.demo.process import ProcessFailed
from proxy.demo.table import table
from proxy.demo.trial import try_all

OK, FAILED = 0, 1

LOOK_S = 0.5
"""How often it looks whether all of it still runs, while it stays up."""


def main(*, once: bool, as_json: bool) -> int:
    """Run the demo and give the exit code: 0 if every case ended as it should."""
    try:
        return asyncio.run(Demo(once=once, as_json=as_json).run())
    except ProcessFailed as failed:
        _say(f"svidecar demo: {failed}")
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        _say(f"svidecar demo: {error.strerror or error}{f': {error.filename}' if error.filename else ''}")
    return FAILED


class Demo:
    """One run. SIGINT, SIGTERM and SIGHUP end it at any moment, and everything that it has started."""

    def __init__(self, *, once: bool, as_json: bool) -> None:
        self._once = once
        self._as_json = as_json
        self._code: int | None = None
        self._signal = 0

    async def run(self) -> int:
        """Do it all and give the exit code."""
        self._obey_signals()
        with tempfile.TemporaryDirectory(prefix="svidecar-demo-", ignore_cleanup_errors=True) as folder:
            mesh = Mesh(Path(folder), _say)
            try:
                await self._show(mesh)
            except asyncio.CancelledError:
                _say("ending everything that was started")
            finally:
                mesh.end()
        return 128 + self._signal if self._code is None else self._code

    async def _show(self, mesh: Mesh) -> None:
        _say(f"svidecar demo: an authority, three apps and their sidecars, on loopback, in {mesh.folder}")
        await mesh.start()
        outcomes = await try_all(mesh, CASES)
        mesh.check()
        _say("")
        self._print(outcomes)
        self._code = FAILED if any(outcome.wrong for outcome in outcomes) else OK
        if self._once:
            return
        print(
            guide(mesh.folder, mesh.app_ports["edge"], mesh.ports),
            file=sys.stderr if self._as_json else sys.stdout,
            flush=True,
        )
        while True:
            await asyncio.sleep(LOOK_S)
            mesh.check()

    def _print(self, outcomes: list[Outcome]) -> None:
        if self._as_json:
            print(json.dumps([outcome.as_data() for outcome in outcomes], indent=2), flush=True)
            return
        colours = sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
        print(table(outcomes, colours=colours), flush=True)

    def _obey_signals(self) -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()

        def on_signal(number: int) -> None:
            if not self._signal and task is not None:  # one is enough: what follows is bounded, and must be whole
                self._signal = number
                task.cancel()

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup means it
                loop.add_signal_handler(number, on_signal, number)


def _say(line: str) -> None:
    """Tell how it goes on; standard output is for what was asked for."""
    print(line, file=sys.stderr, flush=True)
