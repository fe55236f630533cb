"""How much a transport reads at once.

aiofastnet takes 256 KiB from the C library for every read, and gives back what the read did not fill. That is more than
``memory.BLOCK_BYTES``, so each read of a small message would map memory and unmap it, and more than the caches of a
core hold. The size is a constant of the library without an option, so it is set before the library's own modules copy
it: import ``aiofastnet`` from here.
"""

import importlib.machinery
import importlib.util
import sys
from typing import Any

__all__ = ["READ_BYTES", "aiofastnet"]

READ_BYTES = 56 * 1024
"""Below ``memory.BLOCK_BYTES`` with the headers of ``bytes`` and ``malloc``; more than three TLS records."""


def _set_read_size() -> None:
    name = "aiofastnet.constants"
    package = importlib.util.find_spec("aiofastnet")
    if package is None or name in sys.modules:
        return
    spec = importlib.machinery.PathFinder.find_spec(name, package.submodule_search_locations)
    if spec is not None and spec.loader is not None:
        constants: Any = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(constants)
        constants.DATA_RECEIVED_MAX_SIZE = READ_BYTES
        sys.modules[name] = constants


_set_read_size()

import aiofastnet  # noqa: E402 - with the size that was just set
