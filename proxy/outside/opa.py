"""Open Policy Agent's REST API: ``POST /v1/data/<path>`` with ``{"input": ...}``, answered by ``{"result": ...}``.

Allowed is the result ``true``, or an object whose ``allow`` is ``true``. All else refuses: ``false``, another value,
and no result at all, which is how OPA says that the document is not defined.
"""

import json
from typing import Any, Final

from proxy.errors import AuthoriserUnavailable, ProxyError
from proxy.identity.spiffe_id import SpiffeId
from proxy.outside.question import Question, as_json, token_of
from proxy.outside.settings import OpaSettings
from proxy.tokens.fetch import Fetch

_FIELDS: Final = {"Content-Type": "application/json", "Accept": "application/json"}


class Opa:
    """Asks one document of one OPA."""

    def __init__(self, settings: OpaSettings, fetch: Fetch, timeout_s: float) -> None:
        self._url = settings.url
        self._expect = SpiffeId.parse(settings.spiffe_id) if settings.spiffe_id is not None else None
        self._fetch = fetch
        self._timeout_s = timeout_s

    def encode(self, question: Question) -> bytes:
        """Write the body of the request."""
        path, _, query = question.target.partition("?")
        shown: dict[str, Any] = {
            "method": question.method,
            "path": path,
            "query": query,
            "host": question.host,
            "headers": {name: list(values) for name, values in question.headers},
            "peer": question.peer,
            "local": question.local,
            "source": question.source,
            "rule": question.rule,
            "route": question.route,
            "token": token_of(question.claims),
        }
        return as_json({"input": shown}).encode()

    async def ask(self, body: bytes) -> bool:
        """Ask whether it is allowed. Raises AuthoriserUnavailable."""
        try:
            answer = await self._fetch(
                "POST", self._url, fields=_FIELDS, body=body, timeout_s=self._timeout_s, expect=self._expect
            )
        except ProxyError as error:
            raise AuthoriserUnavailable(f"OPA cannot be asked: {error.detail}") from error
        if answer.status != 200:
            raise AuthoriserUnavailable(f"OPA answered with status {answer.status}")
        return _allows(answer.body)

    def close(self) -> None:
        """Nothing is kept here."""


def _allows(body: bytes) -> bool:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise AuthoriserUnavailable("OPA answered with what is not JSON") from error
    if not isinstance(answer, dict):
        raise AuthoriserUnavailable("OPA answered with what is no object")
    result = answer.get("result")
    return (result.get("allow") if isinstance(result, dict) else result) is True
