"""The folder of an authority: what it keeps, and what it hands out.

    authority.json               where it listens now (only while it runs)
    ca.pem, ca_key.pem           the root                                        kept
    signing_keys.json            the keys that sign transaction tokens           kept
    jwt_svid_keys.json           the keys that sign JWT-SVIDs                    kept
    bundle.json                  the SPIFFE bundle, with its sequence            kept
    bundle.pem, jwks.json        what verifiers need, for those who read files
    workload.sock                the Workload API (only while it runs)
    workloads/NAME/              svid.pem, svid_key.pem, svid_bundle.pem, as spiffe-helper names them

Every file is written aside and renamed: a reader sees the old one or the new one. Whatever the umask: folders that are
made here are 0700, and files 0600 from their first byte, but for the three that are for everybody (bundle.pem,
jwks.json, authority.json), where whoever runs us has opened the folder to others.
"""

import contextlib
import fcntl
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path

from proxy.authority.bundle import Published, read_published
from proxy.authority.ca import IssuedSvid, Root, load_root
from proxy.authority.keys import SigningKey, load_key

SECRET, PUBLIC, OWN_FOLDER = 0o600, 0o644, 0o700

TOKEN_KEYS, JWT_SVID_KEYS = "signing_keys.json", "jwt_svid_keys.json"

SVID, KEY, BUNDLE = "svid.pem", "svid_key.pem", "svid_bundle.pem"

_OTHERS = 0o077


class StateUnusable(Exception):
    """The folder, or a file in it, cannot be used; the message tells a person what to do."""


class State:
    """One folder, held by one process: whoever opens it next is refused."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock: int | None = None

    @classmethod
    def open(cls, folder: Path) -> "State":
        """Make the folder if it is not there, and hold it.

        Raises:
            StateUnusable: it cannot be made or written, or another authority holds it.

        """
        state = cls(folder)
        try:
            _make(folder)
            state._lock = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, SECRET)
        except OSError as error:
            raise StateUnusable(f"{folder} cannot be used as the state folder: {error.strerror}") from error
        try:
            fcntl.flock(state._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            state.close()
            raise StateUnusable(
                f"{folder} is in use by another authority: end that one, or use another --dir"
            ) from error
        return state

    def close(self) -> None:
        """Let it go."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def root(self, trust_domain: str) -> Root | None:
        """Give the root that is kept here, or None in a new folder.

        Raises:
            StateUnusable: it is of another trust domain, incomplete, damaged, or its key was open to others.

        """
        path = self.folder / "ca.pem"
        if not path.exists():
            return None
        try:
            return load_root(trust_domain, path.read_bytes(), self._secret("ca_key.pem"))
        except (ValueError, OSError) as error:
            raise StateUnusable(
                f"{path} cannot be used: {_said(error)}. Use another --dir, or move this folder away to begin a new "
                f"trust domain {trust_domain}"
            ) from error

    def keep_root(self, root: Root) -> None:
        """Keep a new root: its key first, for a key without a certificate is nobody's yet."""
        self._write(self.folder / "ca_key.pem", root.key_pem, SECRET, lasting=True)
        self._write(self.folder / "ca.pem", root.bundle_pem, SECRET, lasting=True)

    def signing_keys(self, name: str = TOKEN_KEYS) -> tuple[SigningKey, ...]:
        """Give the keys that are kept here. Raises StateUnusable."""
        path = self.folder / name
        if not path.exists():
            return ()
        try:
            kept = json.loads(self._secret(path.name))
            return tuple(load_key(key["pem"], float(key["signs_from"])) for key in kept["keys"])
        except (ValueError, LookupError, TypeError, AttributeError, OSError) as error:
            raise StateUnusable(
                f"{path} cannot be used: {_said(error)}. Restore it, or move it away: the authority then makes a new "
                "key, and tokens of the old one are refused"
            ) from error

    def keep_signing_keys(self, keys: Sequence[SigningKey], name: str = TOKEN_KEYS) -> None:
        """Keep the keys that sign tokens, or JWT-SVIDs."""
        kept = {"keys": [{"kid": key.kid, "signs_from": key.signs_from, "pem": key.pem} for key in keys]}
        self._write(self.folder / name, json.dumps(kept, indent=2).encode(), SECRET, lasting=True)

    def published(self) -> Published | None:
        """Give the SPIFFE bundle that was published last."""
        try:
            return read_published((self.folder / "bundle.json").read_bytes())
        except OSError:
            return None

    def keep_published(self, bundle: bytes) -> None:
        """Write the SPIFFE bundle."""
        self._write(self.folder / "bundle.json", bundle, PUBLIC, lasting=True)

    def publish(self, jwks: bytes, bundle_pem: bytes) -> None:
        """Write what verifiers need."""
        self._write(self.folder / "jwks.json", jwks, PUBLIC)
        self._write(self.folder / "bundle.pem", bundle_pem, PUBLIC)

    def hand_out(self, name: str, svid: IssuedSvid, bundle_pem: bytes) -> None:
        """Write the SVID of a workload; ``name`` is a checked path of a SPIFFE ID.

        In the order of spiffe-helper, each file whole: a reader that looks in between finds a key that does not match,
        keeps the old pair, and looks again.
        """
        folder = self.workload(name)
        try:
            for part in reversed([folder, *folder.relative_to(self.folder).parents][:-1]):
                _make(self.folder / part)
                (self.folder / part).chmod(OWN_FOLDER)  # one of before, too
        except OSError as error:
            raise StateUnusable(f"{folder} cannot be made: {error.strerror}") from error
        self._write(folder / SVID, svid.chain_pem, SECRET)
        self._write(folder / KEY, svid.key_pem, SECRET)
        self._write(folder / BUNDLE, bundle_pem, SECRET)

    def workload(self, name: str) -> Path:
        """Give the folder of a workload."""
        return self.folder / "workloads" / name

    @property
    def socket(self) -> Path:
        """Where the Workload API listens, if nobody says otherwise."""
        return self.folder / "workload.sock"

    def announce(self, facts: Mapping[str, object]) -> None:
        """Write ``authority.json``."""
        self._write(self.folder / "authority.json", json.dumps(facts, indent=2).encode(), PUBLIC)

    def withdraw(self) -> None:
        """Take ``authority.json`` away: nobody listens there any more."""
        (self.folder / "authority.json").unlink(missing_ok=True)

    def _secret(self, name: str) -> bytes:
        path = self.folder / name
        if path.stat().st_mode & _OTHERS:
            raise PermissionError(0, f"{name} is open to others than its owner (chmod 600, if nobody has taken it)")
        return path.read_bytes()

    def _write(self, path: Path, data: bytes, mode: int, *, lasting: bool = False) -> None:
        """Write aside and rename; ``lasting``: it must be there after the power fails."""
        aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        try:
            file = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
            with os.fdopen(file, "wb") as stream:
                os.fchmod(file, mode)  # whatever the umask says
                stream.write(data)
                if lasting:
                    stream.flush()
                    os.fsync(file)
            aside.rename(path)
            if lasting:
                _sync(path.parent)
        except OSError as error:
            with contextlib.suppress(OSError):
                aside.unlink()
            raise StateUnusable(f"{path} cannot be written: {error.strerror}") from error


def _make(folder: Path) -> None:
    """Make a folder and those above it that are missing, for us alone. One that is there stays as it is."""
    for missing in reversed([path for path in (folder, *folder.parents) if not path.exists()]):
        missing.mkdir(mode=OWN_FOLDER, exist_ok=True)
        missing.chmod(OWN_FOLDER)  # a umask may have taken more away than that


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _said(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "its key is missing"
    return (error.strerror or "it cannot be read") if isinstance(error, OSError) else f"{error or type(error).__name__}"
