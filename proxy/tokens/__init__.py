"""Transaction tokens: verified once and remembered by their exact bytes; the keys for it; where to ask for one."""
