"""What a caller of the Workload API may have; the rest is tested whole, in tests/e2e."""

import json
import os
import subprocess
import sys
import time

import pytest

from proxy.authority.attest import Caller
from proxy.authority.ca import make_root
from proxy.authority.entries import Entry, Selectors
from proxy.authority.grpc import Code, Refused
from proxy.authority.jwt_svid import issue_jwt_svid, jwt_authorities
from proxy.authority.keys import make_key
from proxy.authority.workload_api import Material, WorkloadApi
from proxy.identity.bundle import Bundle
from proxy.identity.spiffe_id import SpiffeId
from proxy.workload_api import messages as m

NOW = time.time()
ROOT = make_root("example.org", NOW)
HEADER = [m.SECURITY_HEADER]


FOREIGN = {name: make_root(name, NOW) for name in ("one.org", "two.org")}
FOREIGN_KEYS = {name: make_key(NOW) for name in FOREIGN}


def api(*federates_with: frozenset[str] | None) -> WorkloadApi:
    """Entries for our own user, one for each set of federated domains."""
    names = [f"orders{number}" for number in range(len(federates_with) or 1)]
    material = Material(
        root=ROOT,
        issued={name: ROOT.issue(SpiffeId.parse(f"spiffe://example.org/{name}"), NOW, 3600.0) for name in names},
        foreign={name: Bundle.from_pem(name, root.bundle_pem) for name, root in FOREIGN.items()},
        foreign_jwt_keys={
            name: json.dumps({"keys": jwt_authorities([key])}).encode() for name, key in FOREIGN_KEYS.items()
        },
        jwt_keys=[make_key(NOW)],
    )
    mine = Selectors(uid=os.getuid())
    entries = [
        Entry(name=name, selectors=mine, federates_with=wanted)
        for name, wanted in zip(names, federates_with or (None,), strict=True)
    ]
    return WorkloadApi(entries, lambda: material, lambda: NOW, 300)


@pytest.mark.parametrize(
    ("wanted", "given"),
    [
        ((None,), {"one.org", "two.org"}),
        ((frozenset(),), set()),
        ((frozenset({"one.org"}),), {"one.org"}),
        ((frozenset({"one.org"}), frozenset({"two.org"})), {"one.org", "two.org"}),
        ((frozenset(), None), {"one.org", "two.org"}),
    ],
)
def test_each_gets_the_foreign_bundles_of_its_entries(
    wanted: tuple[frozenset[str] | None, ...], given: set[str]
) -> None:
    """As SPIRE does: of a caller with several entries all of them; for X.509, for JWT, and for what is validated."""
    service, caller = api(*wanted), Caller(os.getpid(), os.getuid(), os.getgid(), os.pidfd_open(os.getpid()))

    def ask(path: str, message: m.Message) -> bytes:
        return service.answer(caller, path, HEADER, m.encode(message))

    ids = {f"spiffe://{name}" for name in given}
    own = {"spiffe://example.org"}
    try:
        svids = m.decode(m.X509SVIDResponse, ask(m.FETCH_X509_SVID, m.X509SVIDRequest()))
        assert set(svids.federated_bundles) == ids
        bundles = m.decode(m.X509BundlesResponse, ask(m.FETCH_X509_BUNDLES, m.X509BundlesRequest()))
        assert set(bundles.bundles) == ids | own
        keys = m.decode(m.JWTBundlesResponse, ask(m.FETCH_JWT_BUNDLES, m.JWTBundlesRequest()))
        assert set(keys.bundles) == ids | own
        for name, key in FOREIGN_KEYS.items():
            svid = issue_jwt_svid(key, SpiffeId.parse(f"spiffe://{name}/x"), ["a"], NOW, 300)
            validate = m.ValidateJWTSVIDRequest(audience="a", svid=svid)
            if name in given:
                assert ask(m.VALIDATE_JWT_SVID, validate)
            else:
                with pytest.raises(Refused, match="unknown_trust_domain"):
                    ask(m.VALIDATE_JWT_SVID, validate)
    finally:
        caller.close()


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
