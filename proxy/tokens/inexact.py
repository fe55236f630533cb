"""A number that two readers may have two of; a file of its own, for no subclass of ``float`` can be compiled."""


class Inexact(float):
    """A number that was written with more than a double holds."""

    __slots__ = ()
