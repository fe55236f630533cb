"""Authorisers that are not ours, asked after our own Permit: they can refuse what we allow, and allow nothing more."""
