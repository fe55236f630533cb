"""The words of a Transaction Token Request and its answer (RFC 8693 as profiled by specs 1.7 and 1.10): pure."""

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from proxy.errors import ProxyError, TtsBadAnswer, TtsRefused, TtsRefusedUs, TtsUnavailable
from proxy.tokens.encoding import encode_base64url, read_json_object
from proxy.tokens.fetch import Answer
from proxy.tokens.profile import Profile
from proxy.tokens.subject import TXN_TOKEN, UNSIGNED_JSON, Subject, unsigned

EXCHANGE_GRANT: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT_SPIFFE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe"

MAX_ANSWER_BYTES: Final = 64 * 1024
"""Four times the largest token that we take by default, and the few words around it."""

ERROR_CODES: Final = frozenset(
    {
        # RFC 6749 section 5.2
        "invalid_request",
        "invalid_client",
        "invalid_grant",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_scope",
        # RFC 8693 section 2.2.2
        "invalid_target",
    }
)
"""The codes that a token exchange may answer with; any other text is not repeated."""

SUBJECT_CODES: Final = frozenset({"invalid_request", "invalid_grant"})
"""With a subject token that came from outside, that one is bad (RFC 8693 section 2.2.2; some say the second)."""

_OF_THE_CLIENT: Final = frozenset({"invalid_client", "unauthorized_client"})


@dataclass(frozen=True, slots=True)
class Want:
    """A token that is wanted: by whom (our own SPIFFE ID), to do what, and for whom.

    ``subject`` None is the client itself. ``details`` and ``context`` are JSON text, or empty. Equal wants get the same
    token: the client, the hash of the subject, the scopes and both texts are what it is bound to.
    """

    client: str
    scopes: tuple[str, ...]
    subject: Subject | None = None
    details: str = ""
    context: str = ""


def request_body(want: Want, audience: str, profile: Profile = Profile.STRICT, assertion: str = "") -> bytes:
    """Return the form of the request.

    Who asks is proved by the TLS client certificate, whose SPIFFE ID ``client_id`` repeats, as RFC 8705 section 2
    demands; or, where there is one, by ``assertion``, a JWT-SVID (specs 5.9), which says itself who it is of.
    """
    subject = want.subject or unsigned(want.client)
    encoded = _plain if profile is Profile.STRICT else _base64  # specs 1.18: older drafts encode JSON twice
    form = {
        "grant_type": EXCHANGE_GRANT,
        "requested_token_type": TXN_TOKEN,
        "audience": audience,
        "scope": " ".join(want.scopes),
        "subject_token": encoded(subject.token) if subject.kind == UNSIGNED_JSON else subject.token,
        "subject_token_type": subject.kind,
    }
    for name, text in (("request_details", want.details), ("request_context", want.context)):
        if text:
            form[name] = encoded(text)
    if assertion:
        form |= {"client_assertion_type": JWT_SPIFFE, "client_assertion": assertion}
    else:
        form["client_id"] = want.client
    return urlencode(form).encode()


def _plain(text: str) -> str:
    return text


def _base64(text: str) -> str:
    return encode_base64url(text.encode()).decode()


def read_answer(answer: Answer) -> bytes:
    """Return the access_token of an answer, of which nothing is verified yet.

    Raises:
        TtsUnavailable, TtsRefused, TtsBadAnswer: as their docstrings say.

    """
    if answer.status >= 500 or answer.status == 429:  # 429: it would serve us at another time (RFC 6585)
        raise TtsUnavailable(f"the token service answered with status {answer.status}")
    fields = _read_json(answer)
    if answer.status != 200:
        raise _refusal(answer.status, fields)
    _check_kind(fields)
    token = fields.get("access_token")
    if not isinstance(token, str) or not token.isascii():
        raise TtsBadAnswer("access_token is missing or not a JWS")
    return token.encode()


def _read_json(answer: Answer) -> dict[str, Any]:
    media_type = answer.fields.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise TtsBadAnswer(f"status {answer.status} without application/json")
    if len(answer.body) > MAX_ANSWER_BYTES:
        raise TtsBadAnswer(f"the answer is larger than {MAX_ANSWER_BYTES} bytes")
    try:
        return read_json_object(answer.body)
    except ValueError as error:
        raise TtsBadAnswer("the answer is not a JSON object, or can be read in two ways") from error


def _refusal(status: int, fields: dict[str, Any]) -> ProxyError:
    code = fields.get("error")
    if not 400 <= status < 500 or not isinstance(code, str):
        return TtsBadAnswer(f"status {status} is neither a token nor an error of RFC 6749")
    if code in _OF_THE_CLIENT:
        return TtsRefusedUs(code)
    return TtsRefused(code if code in ERROR_CODES else "the token service gave a code that RFC 6749 does not have")


def _check_kind(fields: dict[str, Any]) -> None:
    kind = fields.get("token_type")
    if not isinstance(kind, str) or kind.lower() != "n_a":  # RFC 8693 section 2.2.1: case does not matter
        raise TtsBadAnswer("token_type is not N_A")
    if fields.get("issued_token_type") != TXN_TOKEN:
        raise TtsBadAnswer("issued_token_type is not a transaction token")
    if "refresh_token" in fields:
        raise TtsBadAnswer("a refresh_token came with it")
