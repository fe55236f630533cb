"""sharing.py: the folder in which the processes of one app meet, and how long they wait for each other."""

from pathlib import Path

from support.yaml_text import GOOD
from support.yaml_text import settings as read

from proxy.flow.settings import SharingSettings


def test_it_is_off_unless_a_folder_is_named() -> None:
    """A timeout alone shares nothing."""
    assert read(GOOD).sharing is None
    assert read(GOOD + "transactions: {timeout: 1s}\n").sharing is None


def test_what_is_written() -> None:
    """The folder, and a timeout that is not the default."""
    assert read(GOOD + "transactions: {share: /run/svidecar/orders}\n").sharing == SharingSettings(
        folder=Path("/run/svidecar/orders"), timeout_s=0.1
    )
    text = GOOD + "transactions: {share: /run/svidecar/orders, timeout: 1s}\n"
    assert read(text).sharing == SharingSettings(folder=Path("/run/svidecar/orders"), timeout_s=1.0)
