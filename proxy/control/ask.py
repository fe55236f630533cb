"""``svidecar token request``: asks the token service by hand, exactly as the sidecar with that YAML would."""

import argparse
import asyncio
import json
import random
import sys
import time

from proxy.control.fetch import ControlFetch
from proxy.errors import ProxyError
from proxy.identity.settings import IdentitySettings
from proxy.identity.sources.files import FilesSource
from proxy.identity.store import IdentityStore
from proxy.net.transport import EventLoop, Transports, new_loop
from proxy.tls.contexts import TlsContexts
from proxy.tls.settings import TlsSettings
from proxy.tokens.command import FAILED, OK, USAGE, unverified
from proxy.tokens.encoding import read_json_object
from proxy.tokens.jwks import KeyStore
from proxy.tokens.settings import TokenSettings
from proxy.tokens.subject import InvalidType, Subject, kind_of, subject
from proxy.tokens.tts import TokenService, Want

MAX_SUBJECT_BYTES = 65536


def main(options: argparse.Namespace, identity: IdentitySettings, tls: TlsSettings, tokens: TokenSettings) -> int:
    """Ask, and print the claims of what comes; with ``--raw`` the token itself."""
    if tokens.service is None:
        return _failed("this YAML has no tokens.service to ask", USAGE)
    try:
        brought = _subject(options.subject_type)
        details, context = _json(options.details, "--details"), _json(options.context, "--context")
    except ValueError as error:
        return _failed(str(error), USAGE)
    try:
        with asyncio.Runner(loop_factory=lambda: new_loop(EventLoop.ASYNCIO)) as runner:
            raw = runner.run(_ask(options.scope.split(), brought, details, context, (identity, tls, tokens)))
    except ProxyError as error:
        if options.json:
            sys.stdout.write(json.dumps({"granted": False, "reason": error.reason, "detail": error.detail}) + "\n")
        else:
            _failed(f"no token: {error.reason}: {error.detail}", FAILED)
        return FAILED
    if options.raw:
        sys.stdout.write(raw.decode() + "\n")
    elif options.json:
        sys.stdout.write(json.dumps({"granted": True, "reason": None, **unverified(raw)}) + "\n")
    else:
        sys.stdout.write("granted, and verified with tokens.keys:\n" + json.dumps(unverified(raw)["claims"], indent=2))
        sys.stdout.write("\n")
    return OK


async def _ask(
    scopes: list[str],
    brought: Subject | None,
    details: str,
    context: str,
    settings: tuple[IdentitySettings, TlsSettings, TokenSettings],
) -> bytes:
    identity, tls, tokens = settings
    store = IdentityStore()
    FilesSource(identity, store, time.time, lambda _ok, _detail: None).load()
    transports = Transports(asyncio.get_running_loop(), EventLoop.ASYNCIO)
    fetch = ControlFetch(transports, TlsContexts(store, tls), store, time.time)
    keys = KeyStore(tokens, fetch, time.time)
    service = TokenService(tokens, fetch, keys, time.time, random.random)
    try:
        await keys.load()
        client = str(store.require().svid.spiffe_id)
        return await service.obtain(Want(client, tuple(scopes), brought, details, context))
    finally:
        await service.close()
        await keys.close()
        fetch.close()


def _subject(kind: str | None) -> Subject | None:
    if kind is None:
        return None
    try:
        urn = kind_of(kind)
    except InvalidType as error:
        raise ValueError(f"--subject-type: {error}") from None
    raw = sys.stdin.buffer.read(MAX_SUBJECT_BYTES + 1).strip()
    if not raw or not raw.isascii() or len(raw) > MAX_SUBJECT_BYTES:
        raise ValueError("standard input holds no subject token: it comes there, so that no process list shows it")
    return subject(urn, raw.decode())


def _json(text: str, option: str) -> str:
    if text:
        try:
            read_json_object(text.encode())
        except ValueError:
            raise ValueError(f"{option} is not a JSON object, or can be read in two ways") from None
    return text


def _failed(message: str, code: int) -> int:
    sys.stderr.write(f"svidecar token request: {message}\n")
    return code
