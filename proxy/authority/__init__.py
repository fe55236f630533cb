"""The embedded trust domain: a CA, the Workload API, a bundle endpoint, and a Transaction Token Service over mTLS.

For development, tests and small sites. It obeys the same standards as the rest, and issues only what its configuration
names. Begin with ``service``. What it does not do: rotate its root, revoke.
"""

from proxy.authority.command import main

__all__ = ["main"]
