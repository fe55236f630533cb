"""``/tap`` of the admin port: what was decided just now, for ``svidecar tap``.

Each question waits for the next record (long polling), so that any HTTP client can look on. What is shown is what the
access log would hold: no token, no path, no subject.
"""

import re
from typing import Final
from urllib.parse import parse_qsl

from proxy.control.added import Added
from proxy.control.message import NO_STORE, Request, Response, problem
from proxy.observe.access_log import AccessRecord, line
from proxy.observe.tap import Tap

WAIT_S: Final = 10.0
"""A question without an answer; less than what clients and servers wait."""

_NUMBER: Final = re.compile(r"[0-9]{1,15}", re.ASCII)


def tap_path(tap: Tap[AccessRecord], service: str) -> dict[str, Added]:
    """Give the path with its handler."""

    async def on_tap(request: Request) -> Response:
        if request.method != "GET":
            return problem(405, "only GET is served here", fields=(("Allow", "GET"),))
        try:
            number = _after(request.query)
        except ValueError as error:
            return problem(400, str(error))
        seen = await tap.after(number, WAIT_S)
        records = b",".join(line(record, service).rstrip() for record in seen.records)
        body = b'{"next":%d,"missed":%d,"records":[%b]}\n' % (seen.number, seen.missed, records)
        return Response(200, body, "application/json", (NO_STORE,))

    return {"/tap": Added("what is decided from now on: svidecar tap", on_tap)}


def _after(query: str) -> int | None:
    """Read ``after=N``. Raises ValueError."""
    asked = parse_qsl(query, keep_blank_values=True, max_num_fields=2)
    if not asked:
        return None
    (name, value), *more = asked
    if more or name != "after" or not _NUMBER.fullmatch(value):
        raise ValueError("the query here is after=N, where N is next of the answer before, or nothing")
    return int(value)
