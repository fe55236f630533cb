"""Stacks to a drawing."""

from xml.etree import ElementTree as ET

from loadtest import flame

FOLDED = ["main;data_received (proxy/flow/inbound.py:1);SSL_write 6", "main;epoll_wait 4", "", "torn", "main;x y"]
SCRIPT = """\
svidecar
    7f01 SSL_write+0x12 (/usr/lib/libssl.so.3)
    7f02 [unknown] (/usr/bin/python3.11)

svidecar
    7f01 SSL_write+0x99 (/usr/lib/libssl.so.3)
    7f02 [unknown] (/usr/bin/python3.11)

svidecar
    ffffffff81 do_syscall_64 ([kernel.kallsyms])
"""


def test_stacks_become_a_tree() -> None:
    """Lines that are none are left out."""
    root = flame.fold(FOLDED)
    assert root.samples == 10
    assert root.callees["main"].samples == 10
    assert root.callees["main"].callees["epoll_wait"].samples == 4


def test_perf_samples_become_stacks() -> None:
    """The outermost first, without addresses; what has no name is called by its library."""
    assert flame.collapse(SCRIPT) == ["[python3.11];SSL_write 2", "do_syscall_64 1"]


def test_the_heaviest_are_those_by_their_own_time() -> None:
    """Who only calls has none."""
    assert flame.heaviest(flame.fold(FOLDED), 2) == [("SSL_write", 0.6), ("epoll_wait", 0.4)]


def test_the_drawing_is_well_formed_and_names_are_text() -> None:
    """A frame may be called ``<module>``."""
    drawing = flame.svg(flame.fold(["<module>;<lambda> 5", *FOLDED]), "a & b")
    assert ET.fromstring(drawing).tag.endswith("svg")  # noqa: S314 - our own
    assert "&lt;module&gt;" in drawing
    assert ET.fromstring(flame.svg(flame.fold([]), "nothing")).tag.endswith("svg")  # noqa: S314
