"""Children of a metric, and their limit."""

from prometheus_client.core import Sample
from support.prometheus import read_pieces

from proxy.observe.cells import Counter, Histogram
from proxy.observe.exposition import TEXT
from proxy.observe.family import MAX_CHILDREN, OVERFLOW, SAMPLES_A_PIECE, Family
from proxy.observe.table import Declaration, Kind

RULES = Declaration(name="rules_total", kind=Kind.COUNTER, help="Rules.", labels=("rule",), constants=(("a", "b"),))
TIMES = Declaration(name="times_seconds", kind=Kind.HISTOGRAM, help="T.", labels=("rule",), buckets=(1.0, 2.0))


def samples(family: Family[Counter] | Family[Histogram]) -> list[Sample]:
    """All samples of all pieces."""
    (metric,) = read_pieces(family.pieces(), TEXT).values()
    return metric.samples


def test_same_key_same_child() -> None:
    """A child is made once."""
    family = Family(RULES, Counter)
    assert family.learn(("x",)) is family.learn(("x",))
    assert family.learn(("x",)) is not family.learn(("y",))
    assert family.children[("x",)] is family.learn(("x",))


def test_limit_of_children() -> None:
    """MAX_CHILDREN have a child each; the next ones share one, and those from before keep theirs."""
    family = Family(RULES, Counter)
    firsts = [family.learn((str(i),)) for i in range(MAX_CHILDREN)]
    assert len(set(map(id, firsts))) == MAX_CHILDREN
    assert OVERFLOW not in {sample.labels["rule"] for sample in samples(family)}
    beyond = family.learn(("one more",))
    assert beyond is family.learn(("yet another",))
    assert beyond not in firsts
    assert family.learn(("0",)) is firsts[0]
    assert len(family.children) == MAX_CHILDREN
    beyond.inc(7)
    (overflow,) = (sample for sample in samples(family) if sample.labels["rule"] == OVERFLOW)
    assert overflow.value == 7
    assert overflow.labels["a"] == "b"


def test_pieces_are_small_and_whole() -> None:
    """No piece has more samples than the limit, none cuts a child in two, and together they have every child once."""
    family = Family(TIMES, lambda: Histogram(TIMES.buckets))
    for i in range(100):
        family.learn((str(i),)).observe(1.5)
    pieces = [piece.lines.splitlines() for piece in family.pieces()]
    assert max(map(len, pieces)) <= SAMPLES_A_PIECE
    assert {len(piece) % 5 for piece in pieces} == {0}  # two bounds, +Inf, count, sum
    assert len(pieces) == 5
    names = [sample.labels["rule"] for sample in samples(family) if sample.name.endswith("_sum")]
    assert names == [str(i) for i in range(100)]


def test_a_family_without_children_still_shows_its_name() -> None:
    """One piece without samples: the header tells a reader that the metric exists."""
    family = Family(RULES, Counter)
    assert [piece.lines for piece in family.pieces()] == [""]
    assert samples(family) == []


def test_children_may_be_learned_between_two_pieces() -> None:
    """The loop runs between two pieces: a new child must not break the scrape."""
    family = Family(TIMES, lambda: Histogram(TIMES.buckets))
    for i in range(100):
        family.learn((str(i),))
    pieces = family.pieces()
    next(pieces)
    family.learn(("new",))
    assert len([*pieces]) > 1


def test_buckets_are_cumulative() -> None:
    """As ``le`` demands; +Inf is the count."""
    family = Family(TIMES, lambda: Histogram(TIMES.buckets))
    for seconds in (0.5, 1.5, 1.6, 9):
        family.learn(("x",)).observe(seconds)
    values = {sample.labels.get("le", sample.name): sample.value for sample in samples(family)}
    assert values == {"1.0": 1, "2.0": 3, "+Inf": 4, "times_seconds_count": 4, "times_seconds_sum": 12.6}


def test_spread_makes_labels_from_the_key() -> None:
    """What the hot path holds as one may be two labels."""
    declaration = Declaration(name="x_total", kind=Kind.COUNTER, help="X.", labels=("host", "port"))
    family = Family(declaration, Counter, lambda key: (key[0].partition(":")[0], key[0].partition(":")[2]))
    family.learn(("a:80",))
    assert samples(family)[0].labels == {"host": "a", "port": "80"}
