"""What does not fit together in ``identity.federation``."""

from proxy.config.draft import Draft
from proxy.federation.settings import misfits

PATH = "identity.federation"


def federated(draft: Draft) -> frozenset[str]:
    """Give the trust domains whose bundles are fetched."""
    return frozenset(relation.trust_domain for _, relation in draft.items(PATH))


def check_federation(draft: Draft) -> None:
    """Note what does not fit together, and a domain that has two bundles."""
    own = draft.get("trust_domain")
    seen: set[str] = set()
    for index, relation in draft.items(PATH):
        place = f"{PATH}[{index}]"
        for key, what in misfits(relation, own or ""):
            draft.refuse(f"{place}.{key}", what, near=place)
        domain = relation.trust_domain
        if domain in seen:
            draft.refuse(f"{place}.trust_domain", "this trust domain is there already: it has one bundle")
        elif domain in (draft.get("identity.files.federated") or ()):
            draft.refuse(
                f"{place}.trust_domain", "has a file under identity.files.federated as well: remove one of the two"
            )
        seen.add(domain)
