"""One message of FetchX509SVID -> the SVID that we use and the bundles that we trust, or why not.

A message is the full state (Workload API 4.4): what is not in it is gone. One that breaks a rule about our own identity
is discarded whole. A foreign bundle that cannot be used costs its own trust domain alone: its peers are refused, and
our own identity, and all other domains, do not wait for whoever federates badly.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from cryptography import x509

from proxy.errors import ConnectionRefusal, IdentityInvalid
from proxy.identity.bundle import Bundle, Bundles
from proxy.identity.certificate import UNREADABLE
from proxy.identity.revocation import Waiting, names_issuer, read_crls_der
from proxy.identity.spiffe_id import InvalidSpiffeId, SpiffeId
from proxy.identity.svid import X509Svid
from proxy.workload_api.messages import X509SVID, X509SVIDResponse

NOBODY: Bundles = {}

_WAITS = "a CRL is of an authority that is in no bundle: it counts once a peer shows that authority in its chain"


class SvidTakenBack(Exception):
    """The identity that we are to use is not among those that the agent gives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What the agent gave. ``remarks``: what it gave besides that cannot be used, in words for a person."""

    svid: X509Svid
    bundles: Mapping[str, Bundle]
    remarks: tuple[str, ...] = ()


def read_response(
    response: X509SVIDResponse, trust_domain: str, hint: str, now: float, known: Bundles = NOBODY
) -> Given:
    """Take from the message what we use; a bundle that is the same as in ``known`` is not parsed again.

    Raises:
        SvidTakenBack: no SVID has the hint that we go by.
        IdentityInvalid: a mandatory field is missing, or something of our own cannot be used.

    """
    if not response.svids:
        raise IdentityInvalid("the agent's message holds no SVID: it breaks the standard, and is discarded")
    for number, one in enumerate(response.svids, 1):
        if not (one.spiffe_id and one.x509_svid and one.x509_svid_key and one.bundle):
            raise IdentityInvalid(f"SVID {number} of the agent's message lacks a mandatory field: it is discarded")
    chosen = _choose(response.svids, hint)
    svid = _read_svid(chosen, trust_domain)
    try:
        own = _read_bundle(trust_domain, chosen.bundle, known)
    except IdentityInvalid as error:
        raise IdentityInvalid(f"the bundle of {trust_domain} that the agent gives {error.detail}") from error
    federated, remarks = _read_federated(response.federated_bundles, trust_domain, known)
    bundles, strangers = _with_crls(response.crl, {trust_domain: own, **federated}, svid, now)
    return Given(svid=svid, bundles=bundles, remarks=(*remarks, *strangers))


def _choose(svids: tuple[X509SVID, ...], hint: str) -> X509SVID:
    """Without a hint the first is the default; of several with one hint the first counts (Workload API 5.2.1)."""
    if not hint:
        return svids[0]
    for one in svids:
        if one.hint == hint:
            return one
    raise SvidTakenBack(
        f"the agent gives {len(svids)} SVID(s), and none has the hint {hint!r} of identity.workload_api.hint: give the "
        "registration entry that hint, or remove it here"
    )


def _read_svid(chosen: X509SVID, trust_domain: str) -> X509Svid:
    try:
        svid = X509Svid.from_der(chosen.x509_svid, chosen.x509_svid_key)
    except IdentityInvalid as error:
        raise IdentityInvalid(
            f"the SVID that the agent gives cannot be used: its chain or key {error.detail}"
        ) from error
    except ConnectionRefusal as error:
        raise IdentityInvalid(f"the certificate that the agent gives is not an X509-SVID: {error.detail}") from error
    if str(svid.spiffe_id) != chosen.spiffe_id:
        raise IdentityInvalid("the SVID that the agent gives is of another SPIFFE ID than the agent says")
    if svid.spiffe_id.trust_domain != trust_domain:
        raise IdentityInvalid(
            f"the SVID that the agent gives is of trust domain {svid.spiffe_id.trust_domain}, but trust_domain is "
            f"{trust_domain}: one of the two must change"
        )
    return svid


def _read_bundle(trust_domain: str, raw: bytes, known: Bundles) -> Bundle:
    before = known.get(trust_domain)
    return before if before is not None and before.is_of(raw) else Bundle.from_der(trust_domain, raw)


def _read_federated(
    bundles: Mapping[str, bytes], trust_domain: str, known: Bundles
) -> tuple[dict[str, Bundle], list[str]]:
    found: dict[str, Bundle] = {}
    remarks = []
    for name, raw in bundles.items():
        try:
            spiffe_id = SpiffeId.parse(name)
        except InvalidSpiffeId:
            remarks.append("a federated bundle has a name that is not a trust domain's SPIFFE ID: it is left out")
            continue
        foreign = spiffe_id.trust_domain
        if spiffe_id.path or foreign == trust_domain:
            remarks.append("a federated bundle has the name of a workload or of our own domain: it is left out")
            continue
        try:
            found[foreign] = _read_bundle(foreign, raw, known)
        except IdentityInvalid as error:
            remarks.append(f"the federated bundle of {foreign} {error.detail}: its workloads are refused")
    return found, remarks


def _with_crls(
    crls: tuple[bytes, ...], bundles: dict[str, Bundle], svid: X509Svid, now: float
) -> tuple[dict[str, Bundle], list[str]]:
    """Give each CRL to the bundle whose authority has signed it; the message does not say whose it is.

    One that should be of an authority of ours and cannot be used discards the message: whom it names must not come in
    again by a mistake in it. One of nobody whom we know may be of an intermediate, so it waits in every domain (see
    ``revocation``); it may as well be of a domain that we do not federate with, so a bad one is only told.
    """
    found: dict[str, list[bytes]] = {}
    strangers: list[bytes] = []
    for raw in crls:
        homes = _possible_homes(raw, bundles, svid)
        if homes:
            found.setdefault(_home(raw, homes, svid, now), []).append(raw)
        else:
            strangers.append(raw)
    waiting, remarks = _waiting(strangers, now)
    for name in bundles if waiting else found:
        revocations = read_crls_der(found.get(name, ()), svid.signers(bundles[name]), now)
        bundles[name] = replace(bundles[name], revocations=replace(revocations, waiting=waiting))
    return bundles, remarks


def _waiting(strangers: list[bytes], now: float) -> tuple[tuple[Waiting, ...], list[str]]:
    if not strangers:
        return (), []
    try:
        return read_crls_der(strangers, (), now).waiting, [_WAITS]
    except IdentityInvalid as error:
        return (), [
            f"of the CRLs of authorities that are in no bundle none is used: what the agent gives {error.detail}"
        ]


def _possible_homes(raw: bytes, bundles: Mapping[str, Bundle], svid: X509Svid) -> list[Bundle]:
    try:
        crl = x509.load_der_x509_crl(raw)
        return [one for one in bundles.values() if any(names_issuer(crl, signer) for signer in svid.signers(one))]
    except UNREADABLE as error:
        raise IdentityInvalid("a CRL that the agent gives cannot be read: the message is discarded") from error


def _home(raw: bytes, homes: list[Bundle], svid: X509Svid, now: float) -> str:
    """Names repeat (every SPIRE root has the same), so the signature decides."""
    why = ""
    for bundle in homes:
        try:
            read_crls_der((raw,), svid.signers(bundle), now)
        except IdentityInvalid as error:
            why = error.detail
        else:
            return bundle.trust_domain
    raise IdentityInvalid(f"what the agent gives {why}: the message is discarded")
