"""The tokens that were verified, by their exact bytes.

Two generations: what is asked for stays young, and when the young are half of the bound the old ones go, all at once.
So a token in use survives a flood of others, and no request pays for finding the oldest. It is also how all of them are
doubted at once: the young become old, and each is looked at again when it is asked for next.

The key is the token as it came. A dictionary compares whole keys only when their hashes are equal, and that hash is
keyed with a secret of the process, so the time of a look-up tells nothing about tokens that are in it.
"""

from collections.abc import Callable
from typing import Final

from proxy.tokens.claims import TxnToken

MAX_BYTES: Final = 8 * 1024 * 1024
"""Of tokens as they came: ten thousand of the usual size. What was parsed of one is up to four times as large."""


class TokenCache:
    """At most ``max_entries`` tokens of ``MAX_BYTES`` in all; with fewer than 2 it holds none.

    Whoever recalls one compares its ``exp``.
    """

    __slots__ = ("_half", "_is_good", "_old", "_young", "_young_bytes")

    def __init__(self, max_entries: int, is_good: Callable[[TxnToken], bool] | None = None) -> None:
        """Make it; ``is_good`` is asked of a token that becomes young again, after ``doubt`` at the latest."""
        self._is_good = is_good
        self._half = max_entries // 2
        self._young: dict[bytes, TxnToken] = {}
        self._old: dict[bytes, TxnToken] = {}
        self._young_bytes = 0

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def recall(self, raw: bytes) -> TxnToken | None:
        """Return the token that these bytes are, if it was remembered."""
        token = self._young.get(raw)
        if token is None:
            token = self._old.pop(raw, None)
            if token is not None:
                if self._is_good is not None and not self._is_good(token):
                    return None
                self.remember(raw, token)
        return token

    def remember(self, raw: bytes, token: TxnToken) -> None:
        """Remember a token that was verified."""
        if len(self._young) >= self._half or self._young_bytes > MAX_BYTES // 2:
            if self._half <= 0:
                return
            self._old, self._young = self._young, {}
            self._young_bytes = 0
        self._young[raw] = token
        self._young_bytes += len(raw)

    def doubt(self) -> None:
        """Ask of each token anew whether it is good, when it is recalled next."""
        young, self._young = self._young, {}
        self._young_bytes = 0
        if len(young) + len(self._old) > 2 * self._half:
            self._old = young
        else:
            self._old.update(young)  # so that changes that come one after the other lose nothing

    def clear(self) -> None:
        """Forget all: the keys have changed."""
        self._young.clear()
        self._old.clear()
        self._young_bytes = 0
