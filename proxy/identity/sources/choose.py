"""Settings -> the source that they name."""

from collections.abc import Callable

from proxy.identity.settings import IdentitySettings
from proxy.identity.sources.files import FilesSource
from proxy.identity.sources.source import IdentitySource, Told
from proxy.identity.sources.workload_api import WorkloadApiSource
from proxy.identity.store import IdentityStore


def choose_source(
    settings: IdentitySettings,
    store: IdentityStore,
    now: Callable[[], float],
    jitter: Callable[[], float],
    told: Told,
) -> IdentitySource:
    """Make the one source that fills ``store``. Raises IdentityInvalid where none is configured."""
    if settings.workload_api is not None:
        return WorkloadApiSource(settings, store, now, jitter, told)
    return FilesSource(settings, store, now, told.loaded)
