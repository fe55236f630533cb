"""Tokens that nobody has seen."""

from pathlib import Path

import jwt

from loadtest import material, tokens


def test_no_two_tokens_are_equal_and_all_are_good(tmp_path: Path) -> None:
    """Over all files: else a cache would be measured instead of a verification."""
    made = material.make(tmp_path)
    files = tokens.write(made, 2, each=3)
    found = [line for path in files.paths for line in path.read_text().splitlines()]
    assert len(found) == 6
    assert len(set(found)) == 6
    claims = [
        jwt.decode(token, made.signer.public_key(), algorithms=["ES256"], audience=material.TRUST_DOMAIN)
        for token in found
    ]
    assert len({each["txn"] for each in claims}) == 6
