"""An identity in words and data for a person: who, until when, and whom it trusts. No key is in it."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from math import isfinite
from typing import Any

from proxy.identity.bundle import Bundles
from proxy.identity.revocation import Revocations
from proxy.identity.store import IdentityStore
from proxy.identity.svid import X509Svid

_UNITS = ((172800.0, 86400.0, "days"), (7200.0, 3600.0, "h"), (120.0, 60.0, "min"), (0.0, 1.0, "s"))


def held_as_data(store: IdentityStore, trouble: str) -> dict[str, Any]:
    """What is in use now, nothing where there is none; and what is wrong with its source."""
    held = store.current
    identities = [svid_as_data(held.svid)] if held else []
    return {"identities": identities, "bundles": bundles_as_data(store.trusted), "trouble": trouble}


def svid_as_data(svid: X509Svid, hint: str = "") -> dict[str, Any]:
    """Who we are, and until when."""
    return {
        "spiffe_id": str(svid.spiffe_id),
        "hint": hint,
        "serial": f"{svid.certificates[0].serial_number:x}",
        "certificates": len(svid.certificates),
        "not_before": _utc(svid.not_before),
        "not_after": _utc(svid.not_after),
    }


def bundles_as_data(bundles: Bundles) -> dict[str, Any]:
    """Whom we trust: of each domain how many authorities, when the last of them ends, and what they have taken back."""
    return {
        name: {
            "authorities": len(bundle.authorities),
            "not_after": _utc(max((a.not_valid_after_utc.timestamp() for a in bundle.authorities), default=0.0)),
            "crls": _crls_as_data(bundle.revocations),
        }
        for name, bundle in sorted(bundles.items())
    }


def _crls_as_data(revocations: Revocations) -> dict[str, Any] | None:
    """None where there are no lists. ``waiting`` are those whose signer nobody has shown yet."""
    if not isfinite(revocations.grows_old_at):
        return None
    return {
        "revoked": sum(map(len, revocations.serials.values())),
        "waiting": len(revocations.waiting),
        "next_update": _utc(revocations.grows_old_at),
    }


def as_lines(data: Mapping[str, Any], now: float) -> Iterator[str]:
    """Write what the three above gave: ``identities`` and ``bundles``, and what is wrong with the source."""
    for one in data["identities"]:
        hint = f" (hint {one['hint']})" if one["hint"] else ""
        yield f"{one['spiffe_id']}{hint}"
        yield f"  ends {one['not_after']}, {_left(one['not_after'], now)}"
        noun = "certificate" if one["certificates"] == 1 else "certificates"
        yield f"  serial {one['serial']}, {one['certificates']} {noun}"
    for name, bundle in data["bundles"].items():
        noun = "authority, which ends" if bundle["authorities"] == 1 else "authorities, the last of which ends"
        yield f"trusts {name}: {bundle['authorities']} {noun} {bundle['not_after']}"
        yield from _crl_lines(bundle.get("crls"), now)
    if data.get("trouble"):
        yield f"no newer one comes: {data['trouble']}"


def _crl_lines(crls: Mapping[str, Any] | None, now: float) -> Iterator[str]:
    if crls is None:
        return
    noun = "certificate" if crls["revoked"] == 1 else "certificates"
    yield f"  its CRLs name {crls['revoked']} {noun}; newer ones due {_left(crls['next_update'], now)}"
    if crls["waiting"]:
        noun = "CRL waits" if crls["waiting"] == 1 else "CRLs wait"
        yield f"  {crls['waiting']} {noun} for a chain with the certificate of the signer"


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _left(end: str, now: float) -> str:
    left = datetime.strptime(end, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp() - now
    size, unit = next(((size, unit) for least, size, unit in _UNITS if abs(left) >= least))
    return f"in {left / size:.0f} {unit}" if left > 0 else f"{-left / size:.0f} {unit} ago"
