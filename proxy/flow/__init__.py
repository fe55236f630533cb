"""Where the steps of a request are put in order, and nothing is computed: start with ``inbound`` or ``outbound``."""
