"""h11, asked how it would read what we forward."""

from dataclasses import dataclass, field

import h11


@dataclass(slots=True)
class Judged:
    """One message, as a judge read it. Field names are in lower case."""

    first: tuple[bytes, ...] = ()
    fields: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)
    complete: bool = False


@dataclass(slots=True)
class Verdict:
    """What a judge made of some bytes."""

    messages: list[Judged] = field(default_factory=list)
    refused: bool = False
    left_over: bytes = b""


def h11_requests(wire: bytes) -> Verdict:
    """Read requests as h11 does, answering each so that the next may be read."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(wire)
    verdict = Verdict()
    try:
        while _h11_step(connection, verdict):
            pass
    except h11.RemoteProtocolError:
        verdict.refused = True
    verdict.left_over = connection.trailing_data[0]
    return verdict


def _h11_step(connection: h11.Connection, verdict: Verdict) -> bool:
    event = connection.next_event()
    if isinstance(event, h11.Request) and event.method == b"CONNECT":
        verdict.refused = True  # it would become a tunnel
        return False
    if isinstance(event, h11.Request):
        verdict.messages.append(Judged((event.method, event.target), list(event.headers)))
    elif isinstance(event, h11.Data):
        verdict.messages[-1].body += bytes(event.data)
    elif isinstance(event, h11.EndOfMessage):
        verdict.messages[-1].trailers = list(event.headers)
        verdict.messages[-1].complete = True
        connection.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
        connection.send(h11.EndOfMessage())
        if connection.our_state is h11.MUST_CLOSE:
            return False
        connection.start_next_cycle()
    else:
        return False
    return True


def h11_response(wire: bytes, method: bytes, *, eof: bool) -> Verdict:
    """Read the responses to one request: interim ones, then the final one."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    connection.send(h11.Request(method=method, target=b"/", headers=[(b"Host", b"app")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(wire)
    if eof:
        connection.receive_data(b"")
    verdict = Verdict()
    try:
        while not (verdict.messages and verdict.messages[-1].complete):
            event = connection.next_event()
            if isinstance(event, h11.InformationalResponse | h11.Response):
                verdict.messages.append(Judged((b"%d" % event.status_code,), list(event.headers)))
            elif isinstance(event, h11.Data):
                verdict.messages[-1].body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                verdict.messages[-1].trailers = list(event.headers)
                verdict.messages[-1].complete = True
            else:
                break
    except h11.RemoteProtocolError:
        verdict.refused = True
    verdict.left_over = connection.trailing_data[0]
    return verdict
