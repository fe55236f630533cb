"""How a request carries its token: exactly one ``Txn-Token`` field with exactly one token in it (specs 1.4).

There is no other way: not in Authorization, not in a query, not in a trailer.
"""

from collections.abc import Sequence

from proxy.errors import TokenMissing, TokenRepeated


def one_token(values: Sequence[bytes] | None) -> bytes:
    """Return the one token among the values of the field.

    Raises:
        TokenMissing: there is no field, or an empty one.
        TokenRepeated: there are several; also as a list in one field, which is the same to RFC 9110 section 5.3.

    """
    if not values:
        raise TokenMissing("the request has no Txn-Token")
    if len(values) != 1:
        raise TokenRepeated("the request has more than one Txn-Token")
    value = values[0]
    if value.find(b",") >= 0:  # not `in`: for bytes it raises and drops a TypeError inside, a microsecond
        raise TokenRepeated("Txn-Token holds a list")
    if not value:
        raise TokenMissing("Txn-Token is empty")
    return value
