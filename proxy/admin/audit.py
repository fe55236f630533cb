"""``svidecar audit verify``: puts the files of a chain in order, and says what was done to them.

Signatures are held against keys that the caller trusts: public keys, or the bundle of a trust domain, under which the
certificates in a checkpoint must have been valid at its time, for the SPIFFE ID that was named.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Final

from cryptography import x509

from proxy.errors import ProxyError
from proxy.identity.bundle import Bundle, read_ders
from proxy.identity.peer import verify_path
from proxy.identity.spiffe_id import InvalidSpiffeId, SpiffeId
from proxy.identity.svid import check_leaf
from proxy.observe.audit.chain import MAX_LINE, NotALine, read
from proxy.observe.audit.opened import open_log
from proxy.observe.audit.signer import PublicKey, key_id, read_public, usable
from proxy.observe.audit.verify import ChainReader, FindKey, Outcome, Untrusted

WHOLE: Final = 0
BROKEN: Final = 1
UNUSABLE: Final = 2
UNPROVED: Final = 3
"""Exit codes."""


class _Unusable(Exception):
    """The command line, or a file that it names, cannot be used."""


def main(options: argparse.Namespace) -> int:
    """Verify the files and tell what was found."""
    try:
        find_key = _find_key(options)
        chains = _chains(options.files, alone=options.last is not None)
        done = [_read_chain(chain, files, find_key).end(options.last) for chain, files in chains.items()]
    except _Unusable as error:
        print(error, file=sys.stderr)
        return UNUSABLE
    except (OSError, EOFError) as error:
        print(f"a file cannot be read: {error}", file=sys.stderr)
        return UNUSABLE
    code = _verdict(done, has_key=find_key is not None)
    if options.json:
        print(json.dumps({"verdict": code, "chains": [asdict(outcome) for outcome in done]}, indent=2))
    else:
        for outcome in done:
            _tell(outcome, has_key=find_key is not None)
    return code


def _verdict(outcomes: Sequence[Outcome], *, has_key: bool) -> int:
    if any(outcome.problems for outcome in outcomes):
        return BROKEN
    return WHOLE if has_key and all(outcome.proved for outcome in outcomes) else UNPROVED


# ---- the files


def _chains(paths: Sequence[Path], *, alone: bool) -> dict[str, list[Path]]:
    """Give the files of each chain in their order: by the chain and number that the first line of each tells."""
    found: dict[str, list[tuple[int, Path]]] = {}
    for path in paths:
        with open_log(path) as file:
            first = file.readline(MAX_LINE).rstrip(b"\n")
        if not first:
            continue
        try:
            line = read(first)
            chain, n = str(line.get("chain", "")), line["n"]
        except NotALine:
            chain, n = "", 0
        found.setdefault(chain, []).append((n, path))
    if not found:
        raise _Unusable("there is no line in these files")
    unnamed = found.pop("", []) if len(found) > 1 else []
    if unnamed:  # a first line that was cut off or changed: where there is one chain alone, it belongs there
        found[next(iter(found))].extend(unnamed)
    if alone and len(found) > 1:
        raise _Unusable("--last is about one chain: give the files of one")
    return {chain: [path for _, path in sorted(files)] for chain, files in found.items()}


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    """Give lines, and of one that is too long a piece at a time."""
    while line := file.readline(2 * MAX_LINE):
        yield line


def _read_chain(chain: str, paths: Sequence[Path], find_key: FindKey | None) -> ChainReader:
    reader = ChainReader(chain, find_key)
    for path in paths:
        with open_log(path) as file:
            reader.read_file(str(path), _lines(file))
    return reader


# ---- the keys


def _find_key(options: argparse.Namespace) -> FindKey | None:
    if bool(options.bundle) != bool(options.spiffe_id):
        raise _Unusable("write --bundle and --spiffe-id together: everybody in a trust domain has a key")
    if options.bundle and options.key:
        raise _Unusable("write --key or --bundle, not both")
    if options.bundle:
        return _by_bundle(options.bundle, options.spiffe_id)
    if options.key:
        return _by_keys(options.key)
    return None


def _by_keys(paths: Sequence[Path]) -> FindKey:
    keys: dict[str, PublicKey] = {}
    for path in paths:
        try:
            key = read_public(path.read_bytes())
        except ValueError as error:
            raise _Unusable(f"{path} {error}") from error
        keys[key_id(key)] = key

    def find(name: str, _certificates: tuple[bytes, ...], _at: float) -> PublicKey:
        if name not in keys:
            raise Untrusted("it is signed with a key that was not given")
        return keys[name]

    return find


def _by_bundle(path: Path, written_id: str) -> FindKey:
    try:
        expected = SpiffeId.parse(written_id)
        bundle = Bundle.from_pem(expected.trust_domain, path.read_bytes())
    except (InvalidSpiffeId, ProxyError) as error:
        raise _Unusable(f"--bundle or --spiffe-id: {error}") from error

    def find(name: str, ders: tuple[bytes, ...], at: float) -> PublicKey:
        if not ders:
            raise Untrusted("no certificate of its key stands in these files")
        try:
            certificates = read_ders(ders)
            key = _of_svid(certificates, bundle, expected, at)
        except (ProxyError, ValueError) as error:
            raise Untrusted(f"its certificates do not hold: {error}") from error
        if key_id(key) != name:
            raise Untrusted("its certificate has another key")
        return key

    return find


def _of_svid(certificates: tuple[x509.Certificate, ...], bundle: Bundle, expected: SpiffeId, at: float) -> PublicKey:
    if check_leaf(certificates[0]) != expected:
        raise Untrusted(f"it is signed by another workload than {expected}")
    verify_path(certificates, bundle, at)
    return usable(certificates[0].public_key())


# ---- what is told


def _tell(outcome: Outcome, *, has_key: bool) -> None:
    print(f"chain {outcome.chain or 'without a name'}: lines {outcome.first} to {outcome.last}")
    counts = ", ".join(f"{count} {kind}" for kind, count in sorted(outcome.kinds.items()))
    print(f"  {counts}; dropped {outcome.dropped}, left out by sampling {outcome.sampled_out}")
    if outcome.first > 1:
        print(f"  what stood before line {outcome.first} is not in these files")
    for note in outcome.notes:
        print(f"  {note.file}:{note.line}: {note.message}")
    for problem in outcome.problems:
        print(f"  {problem.file}:{problem.line}: {problem.message}", file=sys.stderr)
    if outcome.problems:
        print(f"  BROKEN; proved up to line {outcome.proved}" if outcome.proved else "  BROKEN; nothing is proved")
    elif not has_key:
        print("  whole, but no signature was looked at: give --key, or --bundle and --spiffe-id")
    elif not outcome.proved:
        print("  whole, but without a checkpoint: whoever can write the file may have made all of it")
    else:
        behind = outcome.last - outcome.proved
        print(f"  whole, and proved up to line {outcome.proved}; {behind} behind it are fixed by nothing yet")
