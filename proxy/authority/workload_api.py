"""What each caller of the Workload API may have: his own identities, the bundles that he needs, and nothing else.

A call in, a message out; streams are told again when something has changed. Who calls is asked anew each time: a
process that has ended has no identity, whoever holds its connection.
"""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from proxy.authority.attest import Caller
from proxy.authority.ca import IssuedSvid, Root
from proxy.authority.entries import Entry, federated, matching
from proxy.authority.grpc import Code, Refused
from proxy.authority.jwt_svid import issue_jwt_svid, jwt_authorities
from proxy.authority.keys import SigningKey, signer
from proxy.errors import TokenRefusal, UnknownTrustDomain
from proxy.identity.bundle import Bundles
from proxy.identity.spiffe_id import SpiffeId
from proxy.tokens.jwt_svid import read_bundles, verify_jwt_svid
from proxy.workload_api import messages as m
from proxy.workload_api.wire import WireInvalid

MAX_AUDIENCES = 64
"""Of one JWT-SVID; one is advised (JWT-SVID 3)."""

MAX_AUDIENCE_CHARS = 1024
"""A URL or a SPIFFE ID."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What is given out, as it is now. ``foreign_jwt_keys``: JWK Sets by trust domain."""

    root: Root
    issued: Mapping[str, IssuedSvid]
    foreign: Bundles
    foreign_jwt_keys: Mapping[str, bytes]
    jwt_keys: Sequence[SigningKey]


class WorkloadApi:
    """See the module. ``material`` gives the newest."""

    def __init__(
        self,
        entries: Sequence[Entry],
        material: Callable[[], Material],
        now: Callable[[], float],
        jwt_svid_lifetime_s: float,
    ) -> None:
        self._entries = entries
        self._material = material
        self._now = now
        self._jwt_svid_lifetime_s = jwt_svid_lifetime_s
        self._calls: dict[str, tuple[bool, Callable[[Caller, bytes], m.Message]]] = {
            m.FETCH_X509_SVID: (True, self._x509_svids),
            m.FETCH_X509_BUNDLES: (True, self._x509_bundles),
            m.FETCH_JWT_SVID: (False, self._jwt_svids),
            m.FETCH_JWT_BUNDLES: (True, self._jwt_bundles),
            m.VALIDATE_JWT_SVID: (False, self._validate),
        }

    def is_stream(self, path: str) -> bool:
        """Whether the call has further answers. Raises Refused where there is no such call."""
        if path not in self._calls:
            raise Refused(Code.UNIMPLEMENTED, "this server has the calls of SpiffeWorkloadAPI but FetchWIT*")
        return self._calls[path][0]

    def answer(self, caller: Caller, path: str, metadata: Sequence[tuple[str, str]], request: bytes) -> bytes:
        """Give the answer as of now. Raises Refused."""
        name, value = m.SECURITY_HEADER
        if [found for key, found in metadata if key == name] != [value]:
            raise Refused(Code.INVALID_ARGUMENT, f"the metadata must have {name}: {value}, once")
        try:
            return m.encode(self._calls[path][1](caller, request))
        except WireInvalid as error:
            raise Refused(Code.INVALID_ARGUMENT, f"the request cannot be read: {error}") from error

    def _own(self, caller: Caller) -> list[Entry]:
        found = matching(self._entries, caller) if caller.is_alive else []
        if not found:
            raise Refused(Code.PERMISSION_DENIED, "no identity issued: no entry has selectors that hold of the caller")
        return found

    def _x509_svids(self, caller: Caller, request: bytes) -> m.Message:
        m.decode(m.X509SVIDRequest, request)
        material, own, svids = self._material(), self._own(caller), []
        for entry in own:
            issued = material.issued.get(entry.name)
            if issued is None:
                raise Refused(Code.UNAVAILABLE, "the SVID is not issued yet")
            svids.append(
                m.X509SVID(
                    spiffe_id=str(self._id(entry)),
                    x509_svid=_der(issued.chain_pem),
                    x509_svid_key=_der(issued.key_pem),
                    bundle=_der(material.root.bundle_pem),
                    hint=entry.name,
                )
            )
        return m.X509SVIDResponse(svids=tuple(svids), federated_bundles=_concatenated(federated(own, material.foreign)))

    def _x509_bundles(self, caller: Caller, request: bytes) -> m.Message:
        m.decode(m.X509BundlesRequest, request)
        foreign = federated(self._own(caller), self._material().foreign)
        root = self._material().root
        own = {f"spiffe://{root.trust_domain}": _der(root.bundle_pem)}
        return m.X509BundlesResponse(bundles={**_concatenated(foreign), **own})

    def _jwt_svids(self, caller: Caller, raw: bytes) -> m.Message:
        request = m.decode(m.JWTSVIDRequest, raw)
        audience = tuple(dict.fromkeys(request.audience))
        if not 1 <= len(audience) <= MAX_AUDIENCES or not all(0 < len(one) <= MAX_AUDIENCE_CHARS for one in audience):
            raise Refused(
                Code.INVALID_ARGUMENT, f"audience must be 1 to {MAX_AUDIENCES} texts of 1 to {MAX_AUDIENCE_CHARS}"
            )
        own = [entry for entry in self._own(caller) if request.spiffe_id in {"", str(self._id(entry))}]
        if not own:
            raise Refused(Code.PERMISSION_DENIED, "the caller does not have this SPIFFE ID")
        now = self._now()
        key = signer(self._material().jwt_keys, now)
        lifetime = self._jwt_svid_lifetime_s
        return m.JWTSVIDResponse(
            svids=tuple(
                m.JWTSVID(
                    spiffe_id=str(self._id(entry)),
                    svid=issue_jwt_svid(key, self._id(entry), audience, now, lifetime),
                    hint=entry.name,
                )
                for entry in own
            )
        )

    def _jwt_bundles(self, caller: Caller, request: bytes) -> m.Message:
        m.decode(m.JWTBundlesRequest, request)
        keys = self._jwt_keys(self._own(caller))
        return m.JWTBundlesResponse(bundles={f"spiffe://{name}": jwk_set for name, jwk_set in keys.items()})

    def _validate(self, caller: Caller, raw: bytes) -> m.Message:
        request = m.decode(m.ValidateJWTSVIDRequest, raw)
        own = self._own(caller)
        if not request.audience or not request.svid:
            raise Refused(Code.INVALID_ARGUMENT, "audience and svid are required")
        try:
            bundles, _ = read_bundles(self._jwt_keys(own))
            svid = verify_jwt_svid(request.svid.encode(), bundles, request.audience, self._now())
        except (TokenRefusal, UnknownTrustDomain) as refusal:
            raise Refused(Code.INVALID_ARGUMENT, f"{refusal.reason}: {refusal.detail}") from refusal
        return m.ValidateJWTSVIDResponse(spiffe_id=str(svid.spiffe_id), claims=svid.claims)

    def _jwt_keys(self, entries: Sequence[Entry]) -> dict[str, bytes]:
        material = self._material()
        own: dict[str, Any] = {"keys": jwt_authorities(material.jwt_keys)}
        return {**federated(entries, material.foreign_jwt_keys), material.root.trust_domain: json.dumps(own).encode()}

    def _id(self, entry: Entry) -> SpiffeId:
        return SpiffeId(trust_domain=self._material().root.trust_domain, path=f"/{entry.name}")


def _concatenated(bundles: Bundles) -> dict[str, bytes]:
    """As the Workload API sends bundles; an empty one trusts nobody, and is left out like one that is not there."""
    return {f"spiffe://{name}": b"".join(bundle.by_der) for name, bundle in bundles.items() if bundle.by_der}


def _der(pem: bytes) -> bytes:
    """Of one block: the root issues without intermediates."""
    return base64.b64decode(b"".join(line for line in pem.splitlines() if not line.startswith(b"-----")))
