"""The embedded trust domain: a CA that hands out SVIDs as files, and a Transaction Token Service over mTLS.

For development, tests and small sites. It obeys the same standards as the rest, and issues only what its configuration
names. What it does not do: rotate its root, attest workloads (whoever can read a folder has its identity), revoke.
"""

from proxy.authority.command import main

__all__ = ["main"]
