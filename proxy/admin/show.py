"""``svidecar identity show``: what the running sidecar holds; or, where none runs, what its source would give now.

A source may judge this command otherwise than the sidecar: an agent tells processes apart, by user or by program.
"""

import asyncio
import http.client
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from proxy.errors import IdentityInvalid
from proxy.identity.bundle import Bundle
from proxy.identity.describe import as_lines, bundles_as_data, svid_as_data
from proxy.identity.settings import IdentitySettings, WorkloadApiSettings
from proxy.identity.sources.file_set import read_set
from proxy.identity.sources.x509_response import read_response
from proxy.identity.spiffe_id import InvalidSpiffeId, SpiffeId
from proxy.workload_api.endpoint import InvalidEndpoint, parse_endpoint
from proxy.workload_api.failure import CallFailed
from proxy.workload_api.messages import X509SVIDResponse

SHOWN: Final = 0
NOTHING: Final = 1
"""Exit codes."""

_ASK_S: Final = 2.0
"""A sidecar on loopback answers in milliseconds."""

_MAX_ANSWER: Final = 1 << 20


def show_held(settings: IdentitySettings, host: str, port: int, *, as_json: bool) -> int:
    """Show what the sidecar behind this admin port holds, or else what its source gives."""
    held = _held(host, port) if port else None
    if held is not None:
        return _tell(f"held by the sidecar at {host}:{port}", held, as_json=as_json)
    if settings.workload_api is not None:
        return show_agent(settings.workload_api, as_json=as_json)
    try:
        svid, bundles = read_set(settings, time.time())
    except IdentityInvalid as error:
        return _refuse(error.detail)
    data = {"identities": [svid_as_data(svid)], "bundles": bundles_as_data(bundles)}
    return _tell("in the files; no sidecar answers", data, as_json=as_json)


def show_agent(settings: WorkloadApiSettings, *, as_json: bool) -> int:
    """Show every identity that the agent gives to this command."""
    try:
        endpoint = parse_endpoint(settings.socket)
        response = asyncio.run(_first(settings.socket))
        data = _response_as_data(response)
    except InvalidEndpoint as error:
        return _refuse(f"the endpoint {error}")
    except (CallFailed, IdentityInvalid) as error:
        return _refuse(error.detail)
    return _tell(f"given to this command by the agent at {endpoint}", data, as_json=as_json)


async def _first(socket: str) -> X509SVIDResponse:
    """The first message of the stream."""
    from proxy.workload_api.client import WorkloadApiClient  # noqa: PLC0415 - gRPC is loaded where it is used

    client = WorkloadApiClient(parse_endpoint(socket))
    came: asyncio.Queue[X509SVIDResponse] = asyncio.Queue()
    try:
        await client.x509_svids(came.put_nowait, lambda: 0.0)  # no patience for a second one
    except CallFailed:
        if came.empty():
            raise
    finally:
        client.close()
    return came.get_nowait()


def _response_as_data(response: X509SVIDResponse) -> dict[str, Any]:
    identities: list[dict[str, Any]] = []
    bundles: dict[str, Bundle] = {}
    for one in response.svids:
        try:
            trust_domain = SpiffeId.parse(one.spiffe_id).trust_domain
        except InvalidSpiffeId as error:
            raise IdentityInvalid(f"the agent gives a name that is no SPIFFE ID: {error}") from error
        given = read_response(replace(response, svids=(one,)), trust_domain, "", time.time())
        identities.append(svid_as_data(given.svid, one.hint))
        bundles.update(given.bundles)
    return {"identities": identities, "bundles": bundles_as_data(bundles)}


def _held(host: str, port: int) -> Mapping[str, Any] | None:
    connection = http.client.HTTPConnection(host, port, timeout=_ASK_S)
    try:
        connection.request("GET", "/identity", headers={"Host": f"localhost:{port}"})
        answer = connection.getresponse()
        data = json.loads(answer.read(_MAX_ANSWER))
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
    whole = isinstance(data, dict) and isinstance(data.get("identities"), list) and "bundles" in data
    return data if answer.status == 200 and whole else None


def _tell(whence: str, data: Mapping[str, Any], *, as_json: bool) -> int:
    if as_json:
        print(json.dumps({"source": whence, **data}, indent=2))  # noqa: T201 - the verb's own output
    else:
        print(f"{whence}:", *as_lines(data, time.time()), sep="\n  ")  # noqa: T201
    return SHOWN if data["identities"] else NOTHING


def _refuse(detail: str) -> int:
    sys.stderr.write(f"no identity: {detail}\n")
    return NOTHING
