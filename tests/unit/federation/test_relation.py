"""A relation over real TLS: what is taken, what is not, and when it comes back."""

import asyncio
import base64
import json
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from support import pki
from support.control import serving, store_of

from proxy.control.message import Request, Response
from proxy.federation.document import DEFAULT_REFRESH_S
from proxy.federation.endpoint import MAX_FILE_BYTES, MAX_REDIRECTS
from proxy.federation.relation import FIRST_RETRY_S, JITTER, Outcome, Relation
from proxy.federation.settings import Profile, RelationSettings
from proxy.identity.store import IdentityStore
from proxy.net.transport import EventLoop, Transports
from proxy.tls.contexts import endpoint_server_context

OWN, OTHER = pki.Authority.make("example.org"), pki.Authority.make("other.org")
SERVER = "spiffe://other.org/server"


def document(*authorities: pki.Authority, sequence: int | None = None, hint: int = 60) -> bytes:
    """A published bundle."""
    keys = [
        {"use": "x509-svid", "kty": "EC", "x5c": [base64.b64encode(pki.der(one.certificate)).decode()]}
        for one in authorities
    ]
    return json.dumps({"keys": keys, "spiffe_sequence": sequence, "spiffe_refresh_hint": hint}).encode()


class Publisher:
    """A bundle endpoint that says what it is told, under the SVID that it is given."""

    def __init__(self, svid: pki.Svid) -> None:
        self.svid = svid
        self.answer: Callable[[Request], Response] = lambda _: Response(200, document(OTHER), "application/json")
        self.peers: list[object] = []

    async def __call__(self, request: Request) -> Response:
        """Answer."""
        self.peers.append(request.peer)
        return self.answer(request)

    def context(self) -> ssl.SSLContext:
        """As its SVID is now."""
        return endpoint_server_context(self.svid.chain_pem, self.svid.key_pem)

    def say(self, body: bytes) -> None:
        """Publish this."""
        self.answer = lambda _: Response(200, body, "application/json")


class Made:
    """A relation and what came of it."""

    def __init__(
        self, port: int, publisher: Publisher, store: IdentityStore, folder: Path, spiffe_id: str = SERVER
    ) -> None:
        self.publisher, self.store = publisher, store
        self.outcomes: list[Outcome] = []
        (folder / "bootstrap.pem").write_bytes(OTHER.bundle_pem)
        settings = RelationSettings(
            trust_domain="other.org",
            url=f"https://127.0.0.1:{port}/bundle",
            profile=Profile.SPIFFE,
            spiffe_id=spiffe_id,
            bundle=folder / "bootstrap.pem" if spiffe_id == SERVER else None,
        )
        transports = Transports(asyncio.get_running_loop(), EventLoop.ASYNCIO)
        self.relation = Relation(settings, transports, store, time.time, lambda: 1.0, self.outcomes.append)

    async def look(self) -> str:
        """Fetch once; give the reason of a failure, or nothing."""
        await self.relation.look()
        return self.outcomes[-1].reason

    @property
    def trusted(self) -> tuple[object, ...]:
        """What is believed of the other domain."""
        bundle = self.store.require().bundles.get("other.org")
        return bundle.authorities if bundle is not None else ()


@asynccontextmanager
async def relation(folder: Path, store: IdentityStore | None = None, spiffe_id: str = SERVER) -> AsyncIterator[Made]:
    """A relation to a publisher that runs."""
    publisher = Publisher(OTHER.svid(SERVER))
    if store is None:
        store = store_of(OWN.svid("spiffe://example.org/me"), OWN)
    async with serving(publisher, context=publisher.context) as (_, port):
        made = Made(port, publisher, store, folder, spiffe_id)
        yield made
        made.relation.close()
        await asyncio.sleep(0.05)  # the server, too, has to see that we refused it


async def test_a_bundle_is_taken_under_its_own_name(tmp_path: Path) -> None:
    """Beside ours, which stays; and we showed no certificate."""
    async with relation(tmp_path) as made:
        own = made.store.require().bundles["example.org"]
        assert await made.look() == ""
        assert made.trusted == (OTHER.certificate,)
        assert made.store.require().bundles["example.org"] == own
        assert made.publisher.peers == [None]
        assert [outcome.changed for outcome in made.outcomes] == [True]
        assert await made.look() == ""
        assert (made.outcomes[-1].changed, made.store.require().generation) == (False, 2)


async def test_the_last_good_one_stays(tmp_path: Path) -> None:
    """Whatever is answered: garbage, an error, our own domain's authority, an older sequence."""
    async with relation(tmp_path) as made:
        made.publisher.say(document(OTHER, sequence=7))
        assert await made.look() == ""
        for body in (b"x", document(OWN, sequence=8), document(sequence=6), b'{"keys":[]} '[:5]):
            made.publisher.say(body)
            assert await made.look() == "identity_invalid"
        for status in (404, 500, 204):
            made.publisher.answer = lambda _, s=status: Response(s)  # type: ignore[misc]
            assert await made.look() == "upstream_bad_response"
        assert made.trusted == (OTHER.certificate,)
        assert set(made.store.require().bundles) == {"example.org", "other.org"}


async def test_sequences(tmp_path: Path) -> None:
    """The same or a newer one is taken, and one without; an older one is a copy that lags, and not."""
    newer = OTHER.renewed()
    async with relation(tmp_path) as made:
        for sequence, reason in ((5, ""), (5, ""), (6, ""), (4, "identity_invalid"), (None, ""), (1, "")):
            made.publisher.say(document(OTHER, newer, sequence=sequence))
            assert await made.look() == reason


async def test_an_endpoint_that_serves_its_own_domain_is_known_by_what_it_served(tmp_path: Path) -> None:
    """After the first fetch the file counts no more: a root that was taken back cannot speak again."""
    after = pki.Authority.make("other.org")
    async with relation(tmp_path) as made:
        made.publisher.say(document(OTHER, after))
        assert await made.look() == ""
        made.publisher.svid = after.svid(SERVER)
        made.publisher.say(document(after))
        assert await made.look() == ""
        made.publisher.svid = OTHER.svid(SERVER)
        made.publisher.say(document(OTHER))
        assert await made.look() == "upstream_untrusted"
        assert made.trusted == (after.certificate,)


@pytest.mark.parametrize(
    "svid",
    [
        OTHER.svid("spiffe://other.org/another"),
        OTHER.svid("spiffe://example.org/server"),
        OWN.svid(SERVER),
        pki.Authority.make("other.org").svid(SERVER),
        OTHER.svid(SERVER, lifetime_s=-1),
        OTHER.svid(SERVER, more_uris=["spiffe://other.org/b"]),
    ],
)
async def test_who_answers_must_be_who_was_expected(tmp_path: Path, svid: pki.Svid) -> None:
    """Another ID, another domain, our CA, another CA of the name, ended, two IDs: nothing is asked, and nothing taken."""
    async with relation(tmp_path) as made:
        made.publisher.svid = svid
        assert await made.look() == "upstream_untrusted"
        assert (made.trusted, made.publisher.peers) == ((), [])


async def test_redirects(tmp_path: Path) -> None:
    """Followed to https, to the same ID, a few times, and never remembered."""
    async with relation(tmp_path) as made:
        url = made.relation.settings.url

        def bounce(request: Request) -> Response:
            number = int(request.query or "0")
            if number < hops:
                return Response(302, b"", fields=(("Location", f"{url}?{number + 1}"),))
            return Response(200, document(OTHER), "application/json")

        made.publisher.answer = bounce
        hops = MAX_REDIRECTS
        assert await made.look() == ""
        hops = MAX_REDIRECTS + 1
        assert await made.look() == "upstream_bad_response"
        for location in ("http://127.0.0.1/", "/bundle", "", "file:///etc/passwd"):
            made.publisher.answer = lambda _, to=location: Response(301, b"", fields=(("Location", to),))  # type: ignore[misc]
            assert await made.look() == "upstream_bad_response"


async def test_nothing_is_fetched_before_we_are_somebody(tmp_path: Path) -> None:
    """The bundles wait for our own SVID, and come at once with it."""
    store = IdentityStore()
    async with relation(tmp_path, store) as made:
        keeping = asyncio.get_running_loop().create_task(made.relation.keep())
        await asyncio.sleep(0.1)
        assert made.outcomes == []
        ready = store_of(OWN.svid("spiffe://example.org/me"), OWN).require()
        store.replace(ready.svid, ready.bundles, time.time())
        async with asyncio.timeout(20):
            while not made.outcomes:
                await asyncio.sleep(0.01)
        assert made.trusted == (OTHER.certificate,)
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)


async def test_when_it_comes_back(tmp_path: Path) -> None:
    """By the hint after a success and after a failure; before the first success sooner, with longer and longer waits."""
    async with relation(tmp_path) as made:
        shortest = 1 - JITTER
        made.publisher.answer = lambda _: Response(500)
        waits = []
        for _ in range(9):
            await made.look()
            waits.append(made.relation.wait_s() / shortest)
        expected = [min(FIRST_RETRY_S * 2**n, DEFAULT_REFRESH_S) for n in range(9)]
        assert waits == pytest.approx(expected)
        made.publisher.say(document(OTHER, hint=60))
        await made.look()
        assert made.relation.wait_s() == pytest.approx(60 * shortest)
        made.publisher.answer = lambda _: Response(500)
        await made.look()
        assert made.relation.wait_s() == pytest.approx(60 * shortest)


async def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """It is told by its name."""
    async with relation(tmp_path) as made:
        (tmp_path / "bootstrap.pem").unlink()
        assert await made.look() == "identity_invalid"
        assert "bootstrap.pem, by which the bundle endpoint is known" in made.outcomes[-1].detail


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"no PEM", "holds no PEM certificate"),
        (OWN.bundle_pem, "holds an authority of another trust domain"),
        (b"{}", "is not a SPIFFE bundle"),
        (OTHER.bundle_pem + b"\n" * MAX_FILE_BYTES, "is larger than"),
    ],
)
async def test_a_file_that_is_no_bundle(tmp_path: Path, content: bytes, said: str) -> None:
    """Its name, and why; nobody is asked."""
    async with relation(tmp_path) as made:
        (tmp_path / "bootstrap.pem").write_bytes(content)
        assert await made.look() == "identity_invalid"
        assert "bootstrap.pem" in made.outcomes[-1].detail
        assert said in made.outcomes[-1].detail
        assert made.publisher.peers == []


async def test_an_endpoint_of_our_own_domain_is_known_by_our_bundle(tmp_path: Path) -> None:
    """As it is now; neither the foreign domain that it serves nor a CA that was taken back can speak for it."""
    store, server = store_of(OWN.svid("spiffe://example.org/me"), OWN), "spiffe://example.org/server"
    async with relation(tmp_path, store, server) as made:
        for thief in (OTHER, pki.Authority.make("example.org")):
            made.publisher.svid = thief.svid(server)
            assert await made.look() == "upstream_untrusted"
        made.publisher.svid = OWN.svid(server)
        assert await made.look() == ""
        assert made.trusted == (OTHER.certificate,)
        after = pki.Authority.make("example.org")
        renewed = store_of(after.svid("spiffe://example.org/me"), after).require()
        store.replace(renewed.svid, renewed.bundles, time.time())
        made.publisher.svid = OWN.svid(server)
        assert await made.look() == "upstream_untrusted"
        made.publisher.svid = after.svid(server)
        assert await made.look() == ""


async def test_a_failure_waits_for_the_next_interval(tmp_path: Path) -> None:
    """A publisher in trouble is not asked in a tight loop by all of its readers (specs 2.6)."""
    async with relation(tmp_path) as made:
        made.publisher.answer = lambda _: Response(500)
        keeping = asyncio.get_running_loop().create_task(made.relation.keep())
        await asyncio.sleep(0.5)
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        assert [outcome.reason for outcome in made.outcomes] == ["upstream_bad_response"]
