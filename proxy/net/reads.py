"""How much a transport reads at once.

aiofastnet takes 256 KiB from the C library for every read, and gives back what the read did not fill. glibc maps blocks
of 128 KiB and more, so each read of a small message could map memory and unmap it (and did: a fifth of the CPU of
an ingress, until by luck something larger was freed). The size is a constant of the library without an option, so it is
set before the library's own modules copy it: import ``aiofastnet`` from here.

Mapping the buffers of TLS connections on their own (``M_MMAP_THRESHOLD``) was tried as well: they go back to the kernel
when a connection ends, but 1000 idle ones hold 4 MB more, since each buffer has pages of its own.
"""

import importlib.machinery
import importlib.util
import sys
from typing import Any

__all__ = ["READ_BYTES", "aiofastnet"]

READ_BYTES = 120 * 1024
"""Just below what glibc maps. With 56 KiB, 10 MB streams cost 1.11 x Envoy instead of 1.02."""


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
