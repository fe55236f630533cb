"""How old what we know of each source is, and whether that is too old to go on."""

from collections.abc import Callable, Iterable
from math import inf


class Freshness:
    """``confirmed`` is called whenever a source has said how things are, also that nothing has changed."""

    __slots__ = ("_at", "_max_age_s", "_now", "last_errors")

    def __init__(self, sources: Iterable[str], max_age_s: float, now: Callable[[], float]) -> None:
        self._at: dict[str, float] = dict.fromkeys(sources, -inf)
        self._max_age_s = max_age_s
        self._now = now
        self.last_errors: dict[str, str] = {}

    def confirmed(self, source: str) -> None:
        """A source was heard now."""
        self._at[source] = self._now()
        self.last_errors.pop(source, None)

    def failed(self, source: str, detail: str) -> bool:
        """A source could not be read; whether that is news."""
        is_news = self.last_errors.get(source) != detail
        self.last_errors[source] = detail
        return is_news

    def at(self, source: str) -> float:
        """When it was heard last; minus infinity for never."""
        return self._at[source]

    @property
    def stale(self) -> list[str]:
        """Sources that have been silent for too long. A clock that was set back confirms nothing."""
        now = self._now()
        return [source for source, at in self._at.items() if not -self._max_age_s <= now - at <= self._max_age_s]
