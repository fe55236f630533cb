"""What a caller of the Workload API may have; the rest is tested whole, in tests/e2e."""

import os
import subprocess
import sys
import time

import pytest

from proxy.authority.attest import Caller
from proxy.authority.ca import make_root
from proxy.authority.entries import Entry, Selectors
from proxy.authority.grpc import Code, Refused
from proxy.authority.keys import make_key
from proxy.authority.workload_api import Material, WorkloadApi
from proxy.identity.spiffe_id import SpiffeId
from proxy.workload_api import messages as m

NOW = time.time()
ROOT = make_root("example.org", NOW)
HEADER = [m.SECURITY_HEADER]


def api() -> WorkloadApi:
    """One entry, for our own user."""
    issued = {"orders": ROOT.issue(SpiffeId.parse("spiffe://example.org/orders"), NOW, 3600.0)}
    material = Material(root=ROOT, issued=issued, foreign={}, foreign_jwt_keys={}, jwt_keys=[make_key(NOW)])
    return WorkloadApi([Entry(name="orders", selectors=Selectors(uid=os.getuid()))], lambda: material, lambda: NOW, 300)


@pytest.mark.parametrize(
    ("path", "request_"),
    [
        (m.FETCH_X509_SVID, m.X509SVIDRequest()),
        (m.FETCH_X509_BUNDLES, m.X509BundlesRequest()),
        (m.FETCH_JWT_SVID, m.JWTSVIDRequest(audience=("a",))),
        (m.FETCH_JWT_BUNDLES, m.JWTBundlesRequest()),
        (m.VALIDATE_JWT_SVID, m.ValidateJWTSVIDRequest(audience="a", svid="a.b.c")),
    ],
)
def test_who_has_ended_gets_nothing(path: str, request_: m.Message) -> None:
    """Whoever holds its connection now: its user alone would still fit the entry."""
    process = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    caller = Caller(process.pid, os.getuid(), os.getgid(), os.pidfd_open(process.pid))
    try:
        if path != m.VALIDATE_JWT_SVID:
            assert api().answer(caller, path, HEADER, m.encode(request_))
        process.communicate(b"")
        with pytest.raises(Refused) as refused:
            api().answer(caller, path, HEADER, m.encode(request_))
        assert refused.value.code is Code.PERMISSION_DENIED
    finally:
        caller.close()
