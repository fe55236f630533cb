"""Where an identity comes from: one file for each kind of source; each fills the ``IdentityStore``."""
