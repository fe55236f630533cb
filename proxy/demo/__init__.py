"""``svidecar demo``: a whole mesh on this machine, and a table of good and bad calls, each with its verdict."""
# ruff: noqa: PLC0415 - its apps run from this room too, and must not pay for the rest of it


def main(*, once: bool, as_json: bool) -> int:
    """Show the demo and give the exit code: 0 if every case ended as it should."""
    from proxy.demo.command import main as command

    return command(once=once, as_json=as_json)


__all__ = ["main"]
