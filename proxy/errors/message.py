"""What is refused as HTTP (specs 6)."""

from proxy.errors.reason import ProxyError


class BadMessage(ProxyError, group=True):
    """The message is refused as HTTP (specs 6)."""


class BadRequest(BadMessage):
    """The head breaks the grammar of RFC 9112."""


class BadFraming(BadMessage):
    """Two parsers could read the length of this message differently."""


class BadHost(BadMessage):
    """Host is missing, repeated or malformed."""


class BadVersion(BadMessage):
    """Not HTTP/1.0 or HTTP/1.1."""


class HeadTooLarge(BadMessage):
    """The head is larger than the limit."""


class TooManyFields(BadMessage):
    """The head has more fields than the limit."""


class TargetTooLong(BadMessage):
    """The request target is longer than the limit."""


class HeadTimeout(BadMessage):
    """The head did not come in time."""


class BodyTimeout(BadMessage):
    """The body did not come in time."""


class MethodRefused(BadMessage):
    """This method is not served here."""


class CodingUnknown(BadMessage):
    """A transfer coding other than chunked."""


class ExpectationUnknown(BadMessage):
    """An expectation other than 100-continue."""


class AmbiguousPath(BadMessage):
    """The path can be read in two ways."""


class OwnedField(BadMessage):
    """A field that only the sidecar may set or drop."""


class LoopDetected(BadMessage):
    """The request has passed here before."""


class ClientClosed(BadMessage):
    """The caller went away before the answer."""


class BodyTooLarge(BadMessage):
    """The body is larger than what may be read of it before it is forwarded."""


class FactUnusable(BadMessage):
    """A fact that a token is asked for with, or held against, is missing, or can be read in two ways."""
