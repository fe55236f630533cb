"""What an explanation is made of: values alone, so that it can be printed as words and as data."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One condition: what it asks for, what stands there, and whether it holds; None: it cannot be told."""

    name: str
    asked: str
    found: str
    holds: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Considered:
    """One rule or route that speaks of the request, with its place in the YAML and the reading of the path."""

    rule: str
    place: str
    effect: str
    route: str
    findings: tuple[Finding, ...]
    reading: int = 0

    @property
    def decides(self) -> bool:
        """Whether it gives what it says: one that allows needs every answer, one that denies is stopped by a no."""
        if self.effect == "deny":
            return all(finding.holds is not False for finding in self.findings)
        return all(finding.holds is True for finding in self.findings)

    @property
    def lacking(self) -> tuple[Finding, ...]:
        """Return what keeps it from allowing."""
        return tuple(finding for finding in self.findings if finding.holds is not True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The verdict, and everything that was looked at. ``advice``: what would have made it pass.

    ``would_refuse``: the reason for which it would not be allowed, were its rule not in audit mode. ``unknown``: what a
    sidecar asks besides, and what could not be told here.
    """

    allowed: bool
    would_refuse: str = ""
    reason: str = ""
    detail: str = ""
    rule: str = ""
    route: str = ""
    connection: tuple[Finding, ...] = ()
    considered: tuple[Considered, ...] = ()
    advice: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def follows(self) -> bool:
        """Whether what was found leads to an Allow, as a reader of it would say."""
        allowing = [each for each in self.considered if each.effect == "allow"]
        return (
            all(finding.holds for finding in self.connection)
            and not any(each.decides for each in self.considered if each.effect == "deny")
            and bool(allowing)
            and {each.reading for each in allowing} == {each.reading for each in allowing if each.decides}
        )

    def as_data(self) -> dict[str, Any]:
        """The same for ``--json``."""
        data = asdict(self)
        for told, each in zip(data["considered"], self.considered, strict=True):
            told["decides"] = each.decides
        return data
