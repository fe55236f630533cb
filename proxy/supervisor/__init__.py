"""The life of a process: signals, reload, and ending without dropping anybody's traffic."""
