"""TLS: contexts by generation of the identity, the verified chain of a connection, and why a handshake failed."""
