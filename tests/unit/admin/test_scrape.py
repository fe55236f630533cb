"""Metrics under a scraper that never stops: fresh for each request, and a tenth of the loop at most."""

import asyncio
import time

from proxy.admin.scrape import REST, Scrapes
from proxy.net.tasks import Tasks
from proxy.observe.catalog import Metrics


def _metrics() -> Metrics:
    metrics = Metrics("1", "orders")
    for number in range(300):
        metrics.decision("inbound", "allow", "", f"rule {number}").inc()
    return metrics


async def test_a_scraper_in_a_loop_does_not_starve_the_loop() -> None:
    """Many at once share a rendering; others run meanwhile, and renderings take their part and no more."""
    metrics = _metrics()
    scrapes = Scrapes(metrics, time.perf_counter)
    began = time.perf_counter()
    cost = [await _cost(scrapes) for _ in range(2)][-1]
    scrapes.renderings, until = 0, time.perf_counter() + 1.0
    began = time.perf_counter()

    async def scraper() -> int:
        count = 0
        while time.perf_counter() < until:
            await scrapes.render("")
            count += 1
        return count

    answers = await asyncio.gather(*(scraper() for _ in range(50)))
    took = time.perf_counter() - began
    assert min(answers) >= 2, "all are served"
    assert scrapes.renderings <= took / (cost * REST) * 2 + 3
    assert scrapes.renderings < sum(answers) / 5, "they share"
    assert not scrapes._bodies, "nothing is kept for nobody"


async def _cost(scrapes: Scrapes) -> float:
    await scrapes.render("")
    return (scrapes._free_at - time.perf_counter()) / REST


async def test_an_answer_is_never_older_than_its_question() -> None:
    """What happened before the request is in it, also right after another one."""
    metrics = _metrics()
    scrapes = Scrapes(metrics, time.perf_counter)
    for number in range(5):
        metrics.decision("inbound", "deny", "token_expired", "x").inc()
        _, body = await scrapes.render("")
        assert b'reason="token_expired",rule="x"} %d.0' % (number + 1) in body


async def test_who_hangs_up_while_rendering_leaves_the_others_their_answer() -> None:
    """The next in line renders."""
    scrapes, tasks, bodies = Scrapes(_metrics(), time.perf_counter), Tasks("test"), []

    async def scraper() -> None:
        bodies.append(await scrapes.render(""))

    first, second = tasks.spawn(scraper(), "first"), tasks.spawn(scraper(), "second")
    await asyncio.sleep(0)
    first.cancel()
    await second
    assert first.cancelled()
    assert len(bodies) == 1


async def test_each_gets_the_kind_that_it_asks_for() -> None:
    """Openmetrics and the plain text are not mixed up, though they wait for each other."""
    scrapes = Scrapes(_metrics(), time.perf_counter)
    (plain, plain_body), (open_, open_body) = await asyncio.gather(
        scrapes.render("text/plain"), scrapes.render("application/openmetrics-text; version=1.0.0")
    )
    assert plain != open_
    assert open_body.endswith(b"# EOF\n")
    assert not plain_body.endswith(b"# EOF\n")
