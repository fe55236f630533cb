"""What every part of a sidecar stands on: its loop and tasks, its identity, and where it is written what it does."""

import asyncio
import os
import secrets
import time

from proxy import __version__
from proxy.config.settings import SidecarSettings
from proxy.flow.runtime import Runtime
from proxy.identity.signer import SvidSigner
from proxy.identity.store import IdentityStore
from proxy.net.deadlines import Deadlines
from proxy.net.tasks import Tasks
from proxy.net.transport import Transports
from proxy.observe.access_log import AccessLog
from proxy.observe.audit.trail import open_audit
from proxy.observe.catalog import Metrics
from proxy.observe.trace import TraceIds
from proxy.tls.contexts import TlsContexts


class Foundation:
    """See the module. Made first and closed last."""

    def __init__(self, settings: SidecarSettings, loop: asyncio.AbstractEventLoop) -> None:
        """Open what is written to.

        Raises:
            ConfigInvalid: the audit's file or key cannot be used.

        """
        self.transports = Transports(loop, settings.event_loop)
        self.tasks = Tasks("sidecar")
        self.deadlines = Deadlines(loop)
        self.metrics = Metrics(__version__, settings.service, event_loop=settings.event_loop.value)
        self.access_log = AccessLog(settings.access_log, settings.service, loop, self.metrics.access_log_dropped)
        self.store = IdentityStore()
        self.audit = open_audit(settings.audit, SvidSigner(self.store), self.metrics)
        self.contexts = TlsContexts(self.store, settings.tls)
        self.metrics.tls_context_generations.read = self.contexts.generations

    def runtime(self, direction: str) -> Runtime:
        """Make what the exchanges of one direction share; it has a pseudonym of its own, for ``Via``."""
        return Runtime(
            transports=self.transports,
            deadlines=self.deadlines,
            tasks=self.tasks,
            clock=time.monotonic,
            now=time.time,
            metrics=self.metrics,
            access_log=self.access_log,
            trace_ids=TraceIds(os.urandom),
            pseudonym=f"svidecar-{direction}-{secrets.token_hex(4)}".encode(),
            audit=self.audit,
        )

    def close(self) -> None:
        """End the deadlines, and write what waits to be written."""
        self.deadlines.close()
        self.access_log.close()
        if self.audit is not None:
            self.audit.close()
