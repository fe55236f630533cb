"""All relations of one process: begun together, told of in its log, ended together."""

import logging
import random
from collections.abc import Callable, Mapping, Sequence

from proxy.federation.relation import Outcome, Relation
from proxy.federation.settings import RelationSettings
from proxy.identity.store import IdentityStore
from proxy.net.tasks import Tasks
from proxy.net.transport import Transports

_log = logging.getLogger("svidecar")


class Relations:
    """``begin``, then ``close``; ``on_fetch`` is told of each fetch: trust domain, and why it failed or nothing."""

    def __init__(
        self,
        settings: Sequence[RelationSettings],
        transports: Transports,
        store: IdentityStore,
        now: Callable[[], float],
        on_fetch: Callable[[str, str], None],
    ) -> None:
        self._on_fetch = on_fetch
        self._relations = [Relation(one, transports, store, now, random.random, self._tell) for one in settings]

    def begin(self, tasks: Tasks) -> None:
        """Fetch each, for ever."""
        for relation in self._relations:
            tasks.spawn(relation.keep(), f"federation with {relation.settings.trust_domain}")

    def close(self) -> None:
        """End kept connections."""
        for relation in self._relations:
            relation.close()

    @property
    def jwt_keys(self) -> Mapping[str, bytes]:
        """The JWT authorities that were fetched, by trust domain."""
        return {one.settings.trust_domain: one.taken.jwt_keys for one in self._relations if one.taken is not None}

    def _tell(self, outcome: Outcome) -> None:
        if outcome.reason:
            _log.error("federation: the bundle of %s was not fetched: %s", outcome.trust_domain, outcome.detail)
        elif outcome.changed:
            _log.info("federation: took the bundle of %s: %s", outcome.trust_domain, outcome.detail)
        self._on_fetch(outcome.trust_domain, outcome.reason)
