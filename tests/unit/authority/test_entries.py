"""Selectors: how they are written, and of whom they hold."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from proxy.authority.entries import MAX_ID, Entry, InvalidSelector, Selectors, matching, read_selectors


@dataclass
class Facts:
    """A caller."""

    uid: int = 1000
    gid: int = 100
    programs: set[str] = field(default_factory=lambda: {"/usr/bin/orders"})

    @property
    def runs(self) -> Callable[[str], bool]:
        """By its programs."""
        return self.programs.__contains__


def entry(*selectors: str) -> list[Entry]:
    """One entry."""
    return [Entry(name="orders", selectors=read_selectors(selectors))]


def test_all_must_hold() -> None:
    """User, group and program: one that does not hold is enough."""
    whole = ("unix:uid:1000", "unix:gid:100", "unix:path:/usr/bin/orders")
    assert matching(entry(*whole), Facts()) == entry(*whole)
    assert matching(entry("unix:uid:1000"), Facts(gid=5, programs=set()))
    for caller in (Facts(uid=1001), Facts(gid=101), Facts(programs={"/usr/bin/order"}), Facts(uid=0), Facts(uid=-1)):
        assert matching(entry(*whole), caller) == []


def test_all_entries_that_hold_in_their_order() -> None:
    """Several identities are several SVIDs."""
    entries = [Entry(name=name, selectors=Selectors(uid=uid)) for name, uid in (("b", 1000), ("x", 1), ("a", 1000))]
    assert [found.name for found in matching(entries, Facts())] == ["b", "a"]


def test_numbers_at_their_limits() -> None:
    """The largest user; one more is what the kernel calls none."""
    assert read_selectors([f"unix:uid:{MAX_ID}"]).uid == MAX_ID
    assert read_selectors(["unix:uid:0"]).uid == 0
    with pytest.raises(InvalidSelector):
        read_selectors([f"unix:uid:{MAX_ID + 1}"])


@pytest.mark.parametrize(
    "raws",
    [
        [],
        ["unix:path:/usr/bin/orders"],
        ["unix:gid:1"],
        ["unix:uid:"],
        ["unix:uid:root"],
        ["unix:uid:-1"],
        ["unix:uid:01"],
        ["unix:uid:1 "],
        ["unix:uid:\u0661"],
        ["unix:uid:1", "unix:uid:2"],
        ["unix:uid:1", "unix:path:orders"],
        ["unix:uid:1", "unix:path:/usr/../bin/orders"],
        ["unix:uid:1", "unix:path:/usr//bin/orders"],
        ["unix:uid:1", "unix:path:/usr/bin/"],
        ["unix:uid:1", "unix:path:/a\0b"],
        ["unix:uid:1", "unix:user:root"],
        ["unix:uid:1", "k8s:ns:shop"],
        ["UNIX:uid:1"],
    ],
)
def test_what_is_no_selector(raws: list[str]) -> None:
    """Unknown, doubled, loose; and a program without its user, which proves nothing."""
    with pytest.raises(InvalidSelector):
        read_selectors(raws)
