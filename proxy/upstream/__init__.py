"""Whom we call: endpoints, connections to them, and the pool that keeps those."""
