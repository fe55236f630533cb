"""Tokens that leave us are held to what is revoked; nobody verifies them here, and nobody believes them."""

import pytest
from support.revocation import entry
from support.tokens import TokenMint

from proxy.errors import RevocationStale, TokenClaimsInvalid, TokenMalformed, TokenRevoked, TokenTooLarge
from proxy.policy.revocation import Revoked
from proxy.policy.screen import MAX_REMEMBERED, Screen
from proxy.tokens.profile import Profile

MINT = TokenMint()


def screen(revoked: Revoked) -> Screen:
    """One that knows the set as it is."""
    made = Screen(revoked, Profile.STRICT, 4096)
    made.changed()
    return made


def test_nothing_is_read_while_nothing_is_revoked() -> None:
    """Also not what is no token at all: the peer refuses it."""
    screen(Revoked()).check(b"no token")
    screen(Revoked([entry(spiffe_id="spiffe://example.org/edge")])).check(b"no token")
    Screen(Revoked(), Profile.STRICT, 4096).check(b"no token")


def test_what_is_revoked_stays_here() -> None:
    """By what it says itself, its actors among it; after a change, too."""
    revoked = Revoked([entry(txn="task-1"), entry(act="agent-1")])
    held = screen(revoked)
    other = MINT.token(txn="task-2")
    held.check(other)
    assert not held.refuses(other)
    for claims in ({"txn": "task-1"}, {"act": {"sub": "agent-2", "act": {"sub": "agent-1"}}}):
        with pytest.raises(TokenRevoked):
            held.check(MINT.token(**claims))
        assert held.refuses(MINT.token(**claims))
    revoked.add(entry(txn="task-2"))
    held.changed()
    assert held.refuses(other)


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (b"a.b.c", TokenMalformed),
        (b"a.b", TokenMalformed),
        (b"", TokenMalformed),
        (b"a." + b"b" * 5000 + b".c", TokenTooLarge),
        (MINT.sign(MINT.header(), b'{"txn": "a", "txn": "task-1"}'), TokenMalformed),
        (MINT.sign(MINT.header(), b"{}"), TokenClaimsInvalid),
    ],
)
def test_what_cannot_be_compared_stays_here(raw: bytes, error: type[Exception]) -> None:
    """Or it would be the way past."""
    held = screen(Revoked([entry(txn="task-1")]))
    with pytest.raises(error):
        held.check(raw)
    assert held.refuses(raw)


def test_size_n_and_n_plus_1() -> None:
    """As large as the limit of tokens, and not one byte more."""
    revoked, raw = Revoked([entry(txn="task-1")]), MINT.token()
    for most, refused in ((len(raw), False), (len(raw) - 1, True)):
        held = Screen(revoked, Profile.STRICT, most)
        held.changed()
        assert held.refuses(raw) is refused


def test_blind() -> None:
    """Nothing goes out; yet no token is thrown away for it."""
    revoked = Revoked()
    revoked.blind = True
    held = screen(revoked)
    with pytest.raises(RevocationStale):
        held.check(MINT.token())
    assert not held.refuses(MINT.token())


def test_what_is_remembered_is_bounded() -> None:
    """By number."""
    held = screen(Revoked([entry(txn="task-1")]))
    header, payload, _ = MINT.token(txn="other").split(b".")
    for number in range(MAX_REMEMBERED + 2):
        held.check(header + b"." + payload + b".%d" % number)
    assert len(held._passed) == 2
