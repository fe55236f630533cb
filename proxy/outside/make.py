"""Settings -> the authoriser; what is not configured is not imported."""

from collections.abc import Callable

from proxy.observe.catalog import Metrics
from proxy.outside.authoriser import Authoriser
from proxy.outside.opa import Opa
from proxy.outside.settings import OutsideSettings
from proxy.tokens.fetch import Fetch


def make_authoriser(
    settings: OutsideSettings, fetch: Fetch, clock: Callable[[], float], metrics: Metrics
) -> Authoriser | None:
    """Make it; None where nobody is to be asked. Call it where the loop runs."""
    if settings.ext_authz is not None:
        from proxy.outside.ext_authz import ExtAuthz  # noqa: PLC0415 - grpclib and h2 cost 1.5 MB

        return Authoriser(settings, ExtAuthz(settings.ext_authz, settings.timeout_s), clock, metrics)
    if settings.opa is not None:
        return Authoriser(settings, Opa(settings.opa, fetch, settings.timeout_s), clock, metrics)
    return None
