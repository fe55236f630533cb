"""Files of tokens that nobody has seen: one file for each slice of load, all made before the first round.

Every round starts fresh processes, which remember nothing: so the same files serve in each, and for each contender.
"""

import itertools
from dataclasses import dataclass
from pathlib import Path

from loadtest.material import Material

A_SLICE = 14_000  # more than any contender that verifies them answers in a second, on one core


@dataclass(frozen=True, slots=True)
class TokenFiles:
    """``paths[n]`` is for the n-th slice of a round."""

    paths: tuple[Path, ...]
    each: int


def write(material: Material, slices: int, each: int = A_SLICE) -> TokenFiles:
    """``slices`` files of ``each`` tokens, one a line."""
    fresh = material.fresh_tokens(slices * each)
    paths = []
    for number in range(slices):
        path = material.directory / f"tokens-{number}.txt"
        path.write_text("".join(f"{token}\n" for token in itertools.islice(fresh, each)))
        paths.append(path)
    return TokenFiles(tuple(paths), each)
