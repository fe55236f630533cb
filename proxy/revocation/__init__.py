"""Where we are told what is revoked: a file, the operator, a signed feed; and how long without a word is too long."""
