"""The certificate that the bundle endpoint shows to those outside: its own, as files, or the SVID of the authority."""

import logging
import ssl
from collections.abc import Callable
from pathlib import Path

from proxy.authority.settings import BundleEndpointSettings
from proxy.authority.state import StateUnusable
from proxy.errors import IdentityInvalid
from proxy.federation.settings import Profile
from proxy.identity.store import IdentityStore
from proxy.tls.contexts import endpoint_server_context

_log = logging.getLogger(__name__)


class EndpointContext:
    """Gives the newest context of the bundle endpoint; the last good one, where files do not fit together."""

    def __init__(self, settings: BundleEndpointSettings, store: IdentityStore) -> None:
        self._settings = settings
        self._store = store
        self._context: ssl.SSLContext | None = None
        self._of: object = None

    def __call__(self) -> ssl.SSLContext:
        """For the next connection. Raises NotReady or IdentityInvalid before there is a good one."""
        settings = self._settings
        if settings.profile is Profile.SPIFFE or settings.certificate is None or settings.key is None:
            svid = self._store.require().svid
            return self._made(svid, lambda: endpoint_server_context(svid.chain_pem, svid.key_pem))
        certificate, key = settings.certificate, settings.key
        return self._made((_stat(certificate), _stat(key)), lambda: _read(certificate, key))

    def check(self) -> None:
        """Raise StateUnusable where the files cannot be used."""
        try:
            self()
        except IdentityInvalid as error:
            raise StateUnusable(f"bundle_endpoint: {error.detail}") from error

    def _made(self, of: object, make: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
        if self._context is not None and of == self._of:
            return self._context
        try:
            self._context = make()
        except IdentityInvalid as error:
            if self._context is None:
                raise
            _log.error("bundle endpoint: the last good certificate stays: %s", error.detail)
        self._of = of
        return self._context


def _read(certificate: Path, key: Path) -> ssl.SSLContext:
    try:
        chain_pem, key_pem = certificate.read_bytes(), key.read_bytes()
    except OSError as error:
        raise IdentityInvalid(f"cannot read {error.filename}: {error.strerror}") from error
    try:
        return endpoint_server_context(chain_pem + b"\n", key_pem)
    except IdentityInvalid as error:
        raise IdentityInvalid(f"{certificate} and {key} cannot be used: {error.detail}") from error


def _stat(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
