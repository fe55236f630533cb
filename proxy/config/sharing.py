"""``transactions``: what the processes of one app tell each other of the transactions that are with it."""

from pathlib import Path
from typing import Any

from proxy.config.number import duration
from proxy.config.shape import Key, Section
from proxy.config.value import text
from proxy.flow.settings import SharingSettings

TRANSACTIONS = Section(
    (
        Key(
            "share",
            text("the absolute path of a folder", "/run/svidecar/orders", r"/[^\x00-\x1f\x7f]*", longest=4096),
            "Where several sidecar processes of one app find each other's transactions: a folder of theirs alone.",
            fallback="not shared",
        ),
        Key(
            "timeout",
            duration(0.01, 5),
            "For the answers of all of them; then the request is refused.",
            into=(SharingSettings, "timeout_s"),
        ),
    )
)


def sharing_settings(values: dict[str, Any]) -> SharingSettings | None:
    """The folder, and how long to wait for the others; None where nothing is shared."""
    written = values.get("transactions", {})
    if "share" not in written:
        return None
    return SharingSettings(folder=Path(written["share"]), **TRANSACTIONS.gather(written, SharingSettings))
