"""Whom the app may call: nothing but what is listed (default deny, outbound)."""

from collections.abc import Sequence
from typing import Final

from proxy.errors import BadHost, DestinationUnknown
from proxy.policy.authority import InvalidAuthority, parse_authority
from proxy.policy.permit import SEAL, Destination, Permit

__all__ = ["Destination", "Destinations"]

DEFAULT_PORT: Final = 80
"""The app speaks http to us whatever protects the call beyond (RFC 9110 4.2.1)."""


class Destinations:
    """The destinations of a listener, in the order of the file. ``compile_destinations`` makes one."""

    __slots__ = ("_by_authority", "_by_spelling", "all", "version")

    def __init__(self, destinations: Sequence[Destination], version: str = "") -> None:
        self.version = version
        self.all = tuple(destinations)
        self._by_authority = {
            (known.host, known.port): Permit(seal=SEAL, rule=known.name, route="", destination=known)
            for known in self.all
        }
        # What nearly every app sends, found without being parsed. Fixed: nothing that a caller sends is added.
        names = [known.name.encode() for known in self.all]
        self._by_spelling = {name: self._search(name) for name in names}

    def permit(self, authority: bytes) -> Permit:
        """Return the Permit of a call to ``authority``: the Host, or the authority of an absolute-form target.

        A destination that names the port stands before one of the same host that does not.

        Raises:
            BadHost: not ``host`` or ``host:port``.
            DestinationUnknown: no destination has it.

        """
        return self._by_spelling.get(authority) or self._search(authority)

    def _search(self, authority: bytes) -> Permit:
        try:
            called = parse_authority(authority.decode("ascii"))
        except (UnicodeDecodeError, InvalidAuthority):
            raise BadHost("the authority is not host or host:port as RFC 9110 4.2 and we allow it") from None
        port = DEFAULT_PORT if called.port is None else called.port
        permit = self._by_authority.get((called.host, port)) or self._by_authority.get((called.host, None))
        if permit is None:
            raise DestinationUnknown("no destination has this authority")
        return permit
