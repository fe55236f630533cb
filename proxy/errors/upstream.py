"""Whom we called failed: the app, another workload, or the Transaction Token Service."""

from proxy.errors.reason import ProxyError, Side


class UpstreamFailure(ProxyError, group=True):
    """The one whom we called failed."""

    side = Side.UPSTREAM


class UpstreamDown(UpstreamFailure):
    """No connection could be made."""


class UpstreamTimeout(UpstreamFailure):
    """No answer in time."""


class UpstreamReset(UpstreamFailure):
    """The connection ended before the answer was whole."""


class UpstreamBadResponse(UpstreamFailure):
    """The answer breaks the grammar or framing of RFC 9112."""


class UpstreamRefusedUs(UpstreamFailure):
    """The upstream ended the TLS handshake: it does not accept our identity."""


class UpstreamUntrusted(UpstreamFailure):
    """The upstream is not the workload that the destination names."""


class UpstreamOverloaded(UpstreamFailure):
    """All connections to the upstream are in use."""


class TunnelRefused(UpstreamFailure):
    """The sidecar over there has refused the tunnel."""


class TtsUnavailable(UpstreamFailure):
    """The Transaction Token Service cannot be reached."""


class TtsRefused(UpstreamFailure):
    """The Transaction Token Service refused the request."""


class TtsRefusedUs(UpstreamFailure):
    """The Transaction Token Service does not take us as a client."""


class TtsBadAnswer(UpstreamFailure):
    """The answer of the Transaction Token Service breaks RFC 8693 or the draft."""
