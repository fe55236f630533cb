"""The address of the Workload API (Workload Endpoint 4)."""

import pytest

from proxy.workload_api.endpoint import Endpoint, InvalidEndpoint, parse_endpoint


@pytest.mark.parametrize(
    ("raw", "endpoint"),
    [
        ("unix:///run/spire/api.sock", Endpoint(path="/run/spire/api.sock")),
        ("unix:/run/spire/api.sock", Endpoint(path="/run/spire/api.sock")),
        ("tcp://127.0.0.1:8000", Endpoint(host="127.0.0.1", port=8000)),
        ("tcp://[::1]:65535", Endpoint(host="::1", port=65535)),
    ],
)
def test_it_is_read(raw: str, endpoint: Endpoint) -> None:
    """A socket by its absolute path, or an address and a port."""
    assert parse_endpoint(raw) == endpoint
    assert parse_endpoint(str(endpoint)) == endpoint


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        ("", "must begin"),
        ("/run/api.sock", "must begin"),
        ("http://127.0.0.1:80", "must begin"),
        ("UNIX:///run/api.sock", "must begin"),
        ("unix:run/api.sock", "absolute path"),
        ("unix://run/api.sock", "absolute path"),
        ("unix:////run/api.sock", "absolute path"),
        ("unix:///", "path alone"),
        ("unix:///run/api.sock?x", "path alone"),
        ("unix:///run/api.sock#x", "path alone"),
        ("unix:///run/\0", "path alone"),
        ("tcp:127.0.0.1:1", "IP address and a port"),
        ("tcp://localhost:1", "IP address and a port"),
        ("tcp://127.0.0.1", "IP address and a port"),
        ("tcp://127.0.0.1:1/", "IP address and a port"),
        ("tcp://user@127.0.0.1:1", "IP address and a port"),
        ("tcp://[127.0.0.1:1", "IP address and a port"),
        ("tcp://[127.0.0.1]:1", "brackets"),
        ("tcp://127.0.0.999:1", "no IP address"),
        ("tcp://127.0.0.1:0", "between 1 and 65535"),
        ("tcp://127.0.0.1:65536", "between 1 and 65535"),
    ],
)
def test_another_text_is_refused(raw: str, why: str) -> None:
    """With the rule that it breaks."""
    with pytest.raises(InvalidEndpoint, match=why):
        parse_endpoint(raw)
