"""HTTP/1.1 without I/O: bytes in, events out (RFC 9112, read as ``specs.md`` section 6 says).

The contract of both decoders: call ``receive`` with what came, then ``next_event`` until it returns None. It raises a
``BadMessage`` when the message is refused; after that the connection must end and the decoder must not be used again.
"""
