"""No proxy: the client asks the app itself. What the machine, the client and the app cost, and the most they can do."""

from loadtest.contenders.pair import Contender, Pair, Site


def prepare(_program: str, _site: Site) -> Pair:
    """Nothing is to be started; the stage knows it by its lack of a program."""
    raise AssertionError("there is no pair of proxies")


DIRECT = Contender(name="direct", program="", duties=frozenset(), prepare=prepare)
