"""What no key can see alone. Each rule looks at what is good, so that one bad key does not hide another mistake."""

import re
from collections.abc import Iterator, Sequence

from proxy.admin.settings import AdminSettings
from proxy.config.address import ANY_HOSTS, HostPort, is_loopback
from proxy.config.authorising import check_authoriser
from proxy.config.draft import Draft
from proxy.config.foreign import PATH, check_federation
from proxy.config.foreign import federated as fetched
from proxy.config.identity import check_identity, from_agent
from proxy.config.revocation import check_revocation
from proxy.config.tcp import TCP
from proxy.config.tcp_check import check_service, check_tcp, needs_no_token
from proxy.policy.compile import PolicyErrors, compile_destinations, compile_policy
from proxy.policy.settings import Effect, PolicySettings, Propagation
from proxy.tokens.subject import JWT_SVID

_FILES = "identity.files"
_NO_SERVICE = "needs a token service to ask; write tokens: {service: {url: https://..., spiffe_id: spiffe://...}}"
_NOTHING_COMES_IN = (
    "is about requests that came in by this sidecar; write inbound: too, or transactions.share where another "
    "process of the app has it, or leave it out"
)
_A_ROUTE = "routes: [{match: 'GET /orders/{id}', scopes: [orders.read]}]"
_NUMBERED = re.compile(r"\b(policy|outbound\.destinations|outbound\.tcp)\[([0-9]{1,5})\]")


def crosscheck(draft: Draft) -> None:
    """Note in ``draft`` everything that does not fit together."""
    for rule in (
        check_identity,
        _directions,
        _inbound_needs,
        _tokens,
        _token_service,
        _jwt_svids,
        _trust_domains,
        check_federation,
        check_tcp,
        check_revocation,
        _ports,
        _loops,
    ):
        rule(draft)
    check_authoriser(draft)
    _policy(draft)
    _destinations(draft)


def _directions(draft: Draft) -> None:
    if not draft.is_written("inbound") and not draft.is_written("outbound"):
        draft.refuse("", "there is nothing to do: write inbound:, outbound: or both")
    if not draft.is_written("inbound"):
        for index, destination in draft.items("outbound.destinations"):
            if destination.propagate is not Propagation.NEVER:
                _propagates(draft, f"outbound.destinations[{index}].propagate")


def _propagates(draft: Draft, path: str) -> None:
    """A destination gets what came in by another process."""
    if not draft.is_written("transactions.share"):
        draft.refuse(path, _NOTHING_COMES_IN)
    elif not draft.is_written("tokens"):
        draft.refuse(path, "needs tokens: {keys: ...}: what the app puts in is held against what came in")


def _inbound_needs(draft: Draft) -> None:
    if not draft.is_written("inbound"):
        return
    if not draft.is_written("policy") or draft.get("policy") == ():
        draft.refuse(
            "policy",
            "nothing would be allowed; write at least one rule: "
            '- {name: ..., peers: [spiffe://...], scopes: [...], routes: [{match: "GET /...", scopes: [...]}]}',
            near="policy" if draft.is_written("policy") else "inbound",
        )
    if not draft.is_written("tokens") and not needs_no_token(draft):
        draft.refuse(
            "tokens",
            "is missing: without keys no token could be verified, and nothing would be allowed; "
            "write tokens: {keys: https://tts.default.svc/jwks}",
            near="inbound",
        )


def _tokens(draft: Draft) -> None:
    keys = draft.get("tokens.keys")
    if draft.get("tokens.keys_copy") and keys and "://" not in keys:
        draft.refuse("tokens.keys_copy", "applies to a URL in tokens.keys: a file is its own copy; remove it")
    if draft.get("tokens.keys_spiffe_id") and keys and not keys.startswith("https://"):
        draft.refuse("tokens.keys_spiffe_id", "applies to an https URL in tokens.keys; remove it")


def _token_service(draft: Draft) -> None:
    service = draft.get("tokens.service")
    if service and service.jwt_svid_audience and not from_agent(draft):
        draft.refuse("tokens.service.jwt_svid_audience", "needs the Workload API: files hold no JWT-SVID")
    if draft.is_written("tokens.service"):
        return
    for index, destination in draft.items("outbound.destinations"):
        if destination.token is not None:
            draft.refuse(f"outbound.destinations[{index}].token", _NO_SERVICE)
        if destination.narrow is not None:
            draft.refuse(f"outbound.destinations[{index}].narrow", _NO_SERVICE)
    check_service(draft, _NO_SERVICE)
    for index, rule in draft.items("policy"):
        for number, route in enumerate(rule.routes):
            if route.exchange is not None:
                draft.refuse(f"policy[{index}].routes[{number}].exchange", _NO_SERVICE)


def _jwt_svids(draft: Draft) -> None:
    for path in _asks_with_svid(draft) if not from_agent(draft) else ():
        draft.refuse(
            path, "needs the Workload API, for the keys come from the agent; jwt is judged by the service alone"
        )


def _asks_with_svid(draft: Draft) -> Iterator[str]:
    asks = {f"outbound.destinations[{n}].token": d.token for n, d in draft.items("outbound.destinations")}
    for index, rule in draft.items("policy"):
        asks |= {f"policy[{index}].routes[{n}].exchange": route.exchange for n, route in enumerate(rule.routes)}
    for path, ask in asks.items():
        if ask is not None and ask.subject is not None and ask.subject.type == JWT_SVID:
            yield f"{path}.subject.type"


def _trust_domains(draft: Draft) -> None:
    own, federated = draft.get("trust_domain"), draft.get(f"{_FILES}.federated")
    if own is None or (federated is None and draft.is_written(f"{_FILES}.federated")):
        return
    if draft.is_written(PATH) and len(fetched(draft)) < len(draft.get(PATH) or ("bad",)):
        return  # one of them is bad, and has been told; which domain it was is not known
    known = {own, *(federated or ()), *fetched(draft)}
    if own in (federated or ()):
        draft.refuse(f"{_FILES}.federated.{own}", "is the own trust domain: its bundle is identity.files.bundle")
    for name in draft.get(f"{_FILES}.federated_crls") or ():
        if name not in {*(federated or ()), *fetched(draft)}:
            advice = "use identity.files.crl" if name == own else "write its bundle under identity.files.federated"
            draft.refuse(f"{_FILES}.federated_crls.{name}", f"is not one of the federated trust domains: {advice}")
    for path, spiffe_id in _expected_identities(draft):
        domain = spiffe_id.removeprefix("spiffe://").partition("/")[0]
        if domain not in known and not from_agent(draft):
            draft.refuse(
                path,
                "is of a trust domain without a bundle: it could never be believed; mend the name, or add its bundle "
                "under identity.files.federated or identity.federation",
            )


def _expected_identities(draft: Draft) -> list[tuple[str, str]]:
    found = [("tokens.keys_spiffe_id", draft.get("tokens.keys_spiffe_id"))]
    if service := draft.get("tokens.service"):
        found.append(("tokens.service.spiffe_id", service.spiffe_id))
    if feed := draft.get("revocation.feed"):
        found += [(f"revocation.feed.{name}", getattr(feed, name)) for name in ("spiffe_id", "keys_spiffe_id")]
    for index, destination in draft.items("outbound.destinations"):
        found.append((f"outbound.destinations[{index}].spiffe_id", destination.spiffe_id))
    for index, port in draft.items(TCP):
        found.append((f"{TCP}[{index}].spiffe_id", port.destination.spiffe_id))
    for index, rule in draft.items("policy"):
        found += [(f"policy[{index}].peers[{number}]", peer) for number, peer in enumerate(rule.peers)]
        found += [
            (f"policy[{index}].trust_domains[{number}]", f"spiffe://{domain}")
            for number, domain in enumerate(rule.trust_domains)
        ]
    return [(path, value) for path, value in found if value and value.startswith("spiffe://")]


def _ports(draft: Draft) -> None:
    default = AdminSettings()
    listeners = {
        "inbound": draft.inbound(),
        "outbound": draft.outbound(),
        "metrics": draft.listen("metrics", HostPort(default.metrics_host, default.metrics_port)),
        "health": draft.listen("health", HostPort(default.health_host, default.health_port)),
        "admin": draft.listen("admin", HostPort(default.admin_host, default.admin_port)),
        **{f"{TCP}[{index}]": port.listen for index, port in draft.items(TCP)},
    }
    earlier: list[tuple[str, HostPort]] = []
    for name, address in listeners.items():
        if address is None or address.port == 0:
            continue
        for other, taken in earlier:
            if taken.port == address.port and _overlap(taken.host, address.host):
                path, first = (name, other) if draft.is_written(f"{name}.listen") else (other, name)
                draft.refuse(f"{path}.listen", f"this port is already the one of {first}: choose another")
        earlier.append((name, address))


def _overlap(one: str, other: str) -> bool:
    return one == other or bool({one, other} & ANY_HOSTS)


def _loops(draft: Draft) -> None:
    app = draft.get("inbound.app")
    ports = [(f"{TCP}[{index}]", port.listen) for index, port in draft.items(TCP)]
    for name, listener in (("inbound", draft.inbound()), ("outbound", draft.outbound()), *ports):
        if app and listener and listener.port == app.port and is_loopback(app.host):
            draft.refuse("inbound.app", f"is the {name} port of this sidecar: requests would go in circles")


def _policy(draft: Draft) -> None:
    audience = draft.get("tokens.audience") or draft.get("trust_domain") or "not known yet"
    found = draft.items("policy")
    for number, rule in found:
        if rule.effect is Effect.ALLOW and not draft.is_written(f"policy[{number}].routes"):
            path = f"policy[{number}]"
            draft.refuse(f"{path}.routes", f"is missing; write {_A_ROUTE}", near=path)
    try:
        rules = tuple(rule for _, rule in found)
        compile_policy(PolicySettings(rules=rules, environment=draft.get("environment") or {}), audience)
    except PolicyErrors as refused:
        _pass_on(draft, refused, [number for number, _ in found])


def _destinations(draft: Draft) -> None:
    trust_domain = draft.get("trust_domain")
    if trust_domain is None:
        return
    found = draft.items("outbound.destinations")
    ports = [(number, port.destination) for number, port in draft.items(TCP)]
    for items, where in ((found, "outbound.destinations"), (ports, TCP)):
        try:
            compile_destinations([destination for _, destination in items], trust_domain, where)
        except PolicyErrors as refused:
            _pass_on(draft, refused, [number for number, _ in items])


def _pass_on(draft: Draft, refused: PolicyErrors, numbers: Sequence[int]) -> None:
    """Note what the policy room says. It was shown the good items alone, and counted them; the file counts all."""

    def recount(found: re.Match[str]) -> str:
        number = int(found[2])
        return f"{found[1]}[{numbers[number]}]" if number < len(numbers) else found[0]

    for path, message in refused.errors:
        draft.refuse(_NUMBERED.sub(recount, path), _NUMBERED.sub(recount, message))
