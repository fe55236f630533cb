"""Why a call of the Workload API failed: one word for metrics, and one sentence for a person."""

from enum import StrEnum


class Failure(StrEnum):
    """The kinds of failure, which are also the values of a metric's label."""

    UNREACHABLE = "unreachable"  # nobody listens there, or the connection was lost
    UNAVAILABLE = "unavailable"
    PERMISSION_DENIED = "permission_denied"
    INVALID_ARGUMENT = "invalid_argument"
    UNIMPLEMENTED = "unimplemented"
    BAD_ANSWER = "bad_answer"  # what came is no message of the API, or breaks its rules
    OTHER = "other"  # any other gRPC status

    @property
    def is_final(self) -> bool:
        """Whether the standard forbids to try again (Workload Endpoint, appendix A)."""
        return self in {Failure.INVALID_ARGUMENT, Failure.UNIMPLEMENTED}


class CallFailed(Exception):
    """A call, or a stream that worked until now, has ended with this failure."""

    def __init__(self, kind: Failure, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
