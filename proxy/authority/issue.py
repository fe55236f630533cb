"""What a Transaction Token Service decides (specs 1.7 to 1.11): a form, who sent it, the rules -> claims, or a refusal.

Pure: the time and the new transaction's id are arguments. The client is known by its SVID alone; what it says about
itself must agree. Everything that it may ask for stands in the authority's own configuration: unknown is never
unlimited.

Where the draft names no code: a workload that has no rules here is ``unauthorized_client``; a subject that it may not
name is ``invalid_request``, as RFC 8693 section 2.2.2 says of a subject token that is unacceptable by policy.
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from proxy.authority.refusal import TokenRefused
from proxy.authority.replace import replaced
from proxy.authority.subject import Brought
from proxy.identity.peer import Peer
from proxy.tokens.encoding import read_json_object

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
TXN_TOKEN = "urn:ietf:params:oauth:token-type:txn_token"  # noqa: S105 - a name, not a secret
UNSIGNED_JSON = "urn:ietf:params:oauth:token-type:unsigned_json"
REFRESH_TOKEN = "urn:ietf:params:oauth:token-type:refresh_token"  # noqa: S105 - a name, not a secret

MAX_SUBJECT_TOKEN_BYTES = 4096
MAX_CONTEXT_BYTES = 4096
"""Of request_context, and of request_details: they ride in every hop's head."""

MAX_SUBJECT_CHARS = 255
"""As OpenID Connect Core section 2 has for ``sub``."""

MAX_SCOPES = 64
"""Of one token: it names a purpose, not a job description."""

_SCOPE = re.compile(r"[!#-\[\]-~]+(?: [!#-\[\]-~]+)*")
"""``scope`` of RFC 6749 section 3.3."""

_OTHER_AUTHENTICATION = ("client_secret", "client_assertion", "client_assertion_type")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientRules:
    """What one workload may ask for; see ``settings.WorkloadSettings``."""

    scopes: frozenset[str] = frozenset()
    subjects: tuple[str, ...] = ()
    context: bool = False
    issuers: frozenset[str] = frozenset()
    replaces: bool = False
    svids: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The rules of the whole service; ``clients`` by SPIFFE ID."""

    trust_domain: str
    issuer: str
    lifetime_s: int
    clients: Mapping[str, ClientRules] = field(default_factory=dict)


def issue(
    form: Mapping[str, str], peer: Peer, rules: Rules, now: float, txn: str, brought: Brought | None = None
) -> dict[str, Any]:
    """Give the claims of the token that ``form`` asks for; ``brought``: its subject token, where that was verified.

    Raises:
        TokenRefused: it is malformed, or beyond what this client may have.

    """
    client = _client(form, peer, rules)
    _check_kind(form, rules)
    scope = _scope(form, client, brought)
    subject, subject_exp = _subject(form, peer, client, now) if brought is None else _told(brought, peer, client)
    iat = int(now)
    claims: dict[str, Any] = {
        "iss": rules.issuer,
        "aud": rules.trust_domain,
        "iat": iat,
        "exp": min(iat + rules.lifetime_s, subject_exp),
        "txn": txn,
        "sub": subject,
        "scope": scope,
        "req_wl": peer.uri,
    }
    if claims["exp"] <= iat:
        raise TokenRefused("invalid_request", "the subject token ends within this second")
    contexts: dict[str, dict[str, Any]] = {}
    for parameter, claim in (("request_details", "tctx"), ("request_context", "rctx")):
        context = _context(form, parameter)
        if context is not None and client.context:
            contexts[claim] = context
    if "req_wl" in contexts.get("rctx", {}):
        raise TokenRefused("invalid_request", "req_wl in request_context: who has asked is for us to say")
    if brought is not None and brought.kept is not None:
        return claims | replaced(brought.kept, peer.uri, contexts)
    if brought is not None and brought.act is not None:
        claims["act"] = brought.act
    return claims | contexts


def _told(brought: Brought, peer: Peer, client: ClientRules) -> tuple[str, int]:
    if brought.is_own_word and not _may_name(brought.sub, peer, client):
        raise TokenRefused("invalid_request", "this workload may not name that subject")
    if brought.kept is None and not _is_presentable(brought.sub):
        raise TokenRefused("invalid_request", f"sub must be 1 to {MAX_SUBJECT_CHARS} printable characters")
    return brought.sub, int(brought.exp)


def answer(token: str, lifetime_s: int) -> dict[str, Any]:
    """Give the successful response (specs 1.10)."""
    return {
        "access_token": token,
        "issued_token_type": TXN_TOKEN,
        "token_type": "N_A",
        "expires_in": lifetime_s,
    }


def _client(form: Mapping[str, str], peer: Peer, rules: Rules) -> ClientRules:
    if any(name in form for name in _OTHER_AUTHENTICATION):
        raise TokenRefused("invalid_request", "authenticate by the client certificate alone")
    if form.get("client_id", peer.uri) != peer.uri:
        raise TokenRefused("invalid_client", "client_id is not the SPIFFE ID of the client certificate")
    client = rules.clients.get(peer.uri)
    if client is None:
        raise TokenRefused("unauthorized_client", "this workload is not one that the authority issues tokens to")
    return client


def _required(form: Mapping[str, str], name: str) -> str:
    value = form.get(name)
    if value is None:
        raise TokenRefused("invalid_request", f"{name} is required")
    return value


def _check_kind(form: Mapping[str, str], rules: Rules) -> None:
    if _required(form, "grant_type") != EXCHANGE:
        raise TokenRefused("unsupported_grant_type", f"grant_type must be {EXCHANGE}")
    if _required(form, "requested_token_type") != TXN_TOKEN:
        raise TokenRefused("invalid_request", f"requested_token_type must be {TXN_TOKEN}")
    if "resource" in form:
        raise TokenRefused("invalid_target", "resource is not served: a transaction token is for the trust domain")
    if _required(form, "audience") != rules.trust_domain:
        raise TokenRefused("invalid_target", "audience is not this trust domain")
    if "actor_token" in form or "actor_token_type" in form:
        raise TokenRefused("invalid_request", "actor_token is not served: a token without it would hide the actor")


def _scope(form: Mapping[str, str], client: ClientRules, brought: Brought | None) -> str:
    scope = _required(form, "scope")
    if not _SCOPE.fullmatch(scope):
        raise TokenRefused("invalid_scope", "scope is not a list of scope tokens with one space between")
    scopes = scope.split(" ")
    if len(scopes) > MAX_SCOPES or len(set(scopes)) != len(scopes):
        raise TokenRefused("invalid_scope", f"more than {MAX_SCOPES} scopes, or one of them twice")
    if not client.scopes.issuperset(scopes):
        raise TokenRefused("invalid_scope", "beyond what this workload may ask for")
    if brought is not None and not brought.scopes.issuperset(scopes):
        raise TokenRefused("invalid_scope", "beyond what the subject token carries")
    return scope


def _subject(form: Mapping[str, str], peer: Peer, client: ClientRules, now: float) -> tuple[str, int]:
    """Give ``sub``, and the time after which the token may not be valid because its subject token is not."""
    kind = _required(form, "subject_token_type")
    raw = _required(form, "subject_token")
    if kind == REFRESH_TOKEN:
        raise TokenRefused("invalid_request", "a refresh token must not be used as a subject token")
    if kind != UNSIGNED_JSON:
        raise TokenRefused("invalid_request", f"subject_token_type must be {UNSIGNED_JSON}")
    token = _object(raw, "subject_token", MAX_SUBJECT_TOKEN_BYTES)
    subject = token.get("sub")
    if not isinstance(subject, str) or not _is_presentable(subject):
        raise TokenRefused("invalid_request", f"sub must be 1 to {MAX_SUBJECT_CHARS} printable characters")
    if not _may_name(subject, peer, client):
        raise TokenRefused("invalid_request", "this workload may not name that subject")
    return subject, _end(token, now)


def _end(token: Mapping[str, Any], now: float) -> int:
    exp = token.get("exp", now + 2**31)
    if type(exp) not in {int, float} or exp < 0:
        raise TokenRefused("invalid_request", "exp of the subject token is not a date")
    if int(exp) <= int(now):
        raise TokenRefused("invalid_request", "the subject token has expired")
    return int(exp)


def _is_presentable(subject: str) -> bool:
    return 0 < len(subject) <= MAX_SUBJECT_CHARS and subject.isprintable() and subject == subject.strip()


def _may_name(subject: str, peer: Peer, client: ClientRules) -> bool:
    if subject == peer.uri or subject in client.subjects:
        return True
    # however it is spelled: some reader downstream folds case, or takes full-width letters for letters
    is_workload = unicodedata.normalize("NFKC", subject).casefold().startswith("spiffe:")
    for pattern in client.subjects:
        prefix = pattern.removesuffix("*")
        if prefix != pattern and subject.startswith(prefix) and (not is_workload or prefix.startswith("spiffe://")):
            return True
    return False


def _context(form: Mapping[str, str], name: str) -> dict[str, Any] | None:
    raw = form.get(name)
    return None if raw is None else _object(raw, name, MAX_CONTEXT_BYTES)


def _object(raw: str, name: str, max_bytes: int) -> dict[str, Any]:
    encoded = raw.encode("utf-8")
    if len(encoded) > max_bytes:
        raise TokenRefused("invalid_request", f"{name} is larger than {max_bytes} bytes")
    try:
        return read_json_object(encoded)
    except ValueError as error:
        raise TokenRefused("invalid_request", f"{name} is not a JSON object, or can be read in two ways") from error
