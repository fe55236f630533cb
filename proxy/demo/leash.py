"""Run a module that ends when the process that started it ends, however that was: nothing of a demo may stay behind.

    python -P leash.py PARENT ROOT MODULE ARGUMENT...

It is started by its path: so it needs no import path, and sets the one under which its parent found this package.
"""

import contextlib
import ctypes
import os
import runpy
import signal
import sys

PR_SET_PDEATHSIG = 1
"""From linux/prctl.h. It holds across what follows, for the module runs in this very process."""


def main() -> None:
    """Tie this process to its parent, then become the module."""
    parent, root, module, *arguments = sys.argv[1:]
    # SIGKILL: who would wait for an orderly end is gone
    with contextlib.suppress(OSError, AttributeError):  # a libc without it: the parent ends us by itself, if it can
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):  # it ended before we were tied to it
        sys.exit(1)
    if root not in sys.path:
        sys.path.insert(0, root)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
