"""``svidecar token request``: asks the token service by hand, exactly as the sidecar with that YAML would."""

import argparse
import asyncio
import json
import random
import sys
import time

from proxy.control.fetch import ControlFetch
from proxy.errors import IdentityInvalid, KeysUnavailable, ProxyError, TokenMalformed
from proxy.identity.settings import IdentitySettings
from proxy.identity.sources.choose import choose_source
from proxy.identity.sources.files import FilesSource
from proxy.identity.sources.source import IdentitySource, Told
from proxy.identity.store import IdentityStore
from proxy.net.tasks import Tasks
from proxy.net.transport import EventLoop, Transports, new_loop
from proxy.tls.contexts import TlsContexts
from proxy.tls.settings import TlsSettings
from proxy.tokens.assertion import Assertions, make_assertions
from proxy.tokens.command import FAILED, OK, USAGE, token_in, unverified
from proxy.tokens.encoding import read_json_object
from proxy.tokens.jwks import KeyStore
from proxy.tokens.settings import TokenSettings
from proxy.tokens.subject import TYPES, InvalidType, Subject, kind_of, subject
from proxy.tokens.tts import TokenService, Want

MAX_SUBJECT_BYTES = 65536

_JWTS = {TYPES[name] for name in ("access_token", "id_token", "jwt", "self_signed", "txn_token")}

AGENT_S = 10.0
"""How long an agent is waited for: a person waits, too."""


def main(options: argparse.Namespace, identity: IdentitySettings, tls: TlsSettings, tokens: TokenSettings) -> int:
    """Ask, and print the claims of what comes; with ``--raw`` the token itself."""
    if tokens.service is None:
        return _failed("this YAML has no tokens.service to ask", USAGE)
    if not options.scope.strip():
        return _failed("--scope names nothing: write what the token is for", USAGE)
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
    store, tasks = IdentityStore(), Tasks("token request")
    transports = Transports(asyncio.get_running_loop(), EventLoop.ASYNCIO)
    fetch = ControlFetch(transports, TlsContexts(store, tls), store, time.time)
    keys = KeyStore(tokens, fetch, time.time)
    source, said = _source(identity, store)
    assertions = make_assertions(tokens.service, source, store, time.time)
    service = TokenService(
        tokens,
        fetch,
        keys,
        time.time,
        random.random,
        assertion=(lambda: _assertion(assertions)) if assertions is not None else None,
    )
    try:
        await _identify(source, said, tasks)
        if assertions is not None:
            tasks.spawn(assertions.keep(), "jwt bundles")
        await keys.load()
        client = str(store.require().svid.spiffe_id)
        return await service.obtain(Want(client, tuple(scopes), brought, details, context))
    finally:
        await service.close()
        await keys.close()
        fetch.close()
        await tasks.close()
        source.close()


def _source(
    settings: IdentitySettings, store: IdentityStore
) -> tuple[IdentitySource, "asyncio.Queue[tuple[bool, str]]"]:
    """Give where the identity comes from, and what it says of that."""
    said: asyncio.Queue[tuple[bool, str]] = asyncio.Queue()
    told = Told(
        loaded=lambda ok, detail: said.put_nowait((ok, detail)),
        taken_back=lambda _detail: None,
        stream=lambda _stream, _up: None,
        failed=lambda _stream, _kind: None,
    )
    return choose_source(settings, store, time.time, random.random, told), said


async def _identify(source: IdentitySource, said: "asyncio.Queue[tuple[bool, str]]", tasks: Tasks) -> None:
    """Take the identity, or raise IdentityInvalid with what the source says of it."""
    if isinstance(source, FilesSource):
        source.load()
        return
    tasks.spawn(source.watch(), "identity")
    try:
        async with asyncio.timeout(AGENT_S):
            ok, detail = await said.get()
    except TimeoutError:
        raise IdentityInvalid(f"the agent has said nothing for {AGENT_S:g} s") from None
    if not ok:
        raise IdentityInvalid(detail)


async def _assertion(assertions: Assertions) -> str:
    """Obtain one as soon as the agent has told the keys."""
    until = time.monotonic() + AGENT_S
    while True:
        try:
            return await assertions.obtain()
        except KeysUnavailable:
            if time.monotonic() > until:
                raise
            await asyncio.sleep(0.05)


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
    if urn in _JWTS:
        try:
            raw = token_in(raw)
        except TokenMalformed as error:
            raise ValueError(f"the subject token: {error.detail}") from None
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
