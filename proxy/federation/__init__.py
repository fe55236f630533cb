"""Bundles of foreign trust domains, fetched from their bundle endpoints and kept fresh (SPIFFE Federation).

Begin with ``relation.Relation``. Each domain has its own endpoint, its own bundle and its own failures; what one
publishes is believed of that domain alone (law 2).
"""
