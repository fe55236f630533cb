"""What a rule says of tunnels and limits: what does not fit together, and all of it in plain words."""

from proxy.policy.limits import FOREVER, TunnelLimits
from proxy.policy.settings import LimitSettings, RouteSettings, RuleSettings, TokenNeed, TunnelEnd
from proxy.policy.template import Template

Errors = list[tuple[str, str]]

_OF_TUNNELS = "is about tunnels, CONNECT host:port: leave it out"


def check_tunnel(path: str, route: RouteSettings, rule: RuleSettings, template: Template, errors: Errors) -> None:
    """Note in ``errors`` what cannot be meant, with its place below ``path``."""
    bare = route.token is TokenNeed.NONE
    if template.method != "CONNECT":
        if bare:
            errors.append((f"{path}.token", _OF_TUNNELS))
        if route.ends is not TunnelEnd.TOKEN:
            errors.append((f"{path}.ends", _OF_TUNNELS))
        return
    for name, written in (("exchange", route.exchange), ("facts", route.facts)):
        if written:
            errors.append((f"{path}.{name}", "a tunnel is no request that anything could be taken from: leave it out"))
    if bare and (route.scopes or rule.actors or route.once):
        errors.append((f"{path}.token", "scopes, actors and once are of a token: leave them out, or require one"))
    if route.ends is TunnelEnd.LIMIT and rule.limits.max_s is None:
        errors.append((f"{path}.ends", "write limits: {time: ...} in the rule: nothing else would end it"))


def of_tunnel(limits: TunnelLimits, needs: str) -> str:
    """Say what a tunnel needs, and what ends it."""
    if limits.bare:
        return "by mTLS alone, without a token"
    return f"{needs}, until the token ends" if limits.ends_with_token else f"{needs}, also when the token has ended"


def of_limits(limits: LimitSettings) -> str:
    """Say the limits of a rule; empty where only the default one is left."""
    said = []
    if limits.max_bytes is not None:
        said.append(f"a connection carries at most {limits.max_bytes} bytes")
    if limits.max_s is not None and limits.max_s < FOREVER:
        said.append(f"a connection ends after {limits.max_s:g} s")
    if limits.refusals != LimitSettings().refusals:
        said.append(f"it ends at refusal {limits.refusals} of a token beyond it")
    return "; ".join(said)
