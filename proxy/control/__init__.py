"""Small HTTP for the control plane, over our own strict codec: whole bodies, one server, one fetch.

Metrics, health, admin, the authority's endpoints; JWK Sets and the Transaction Token Service. Nothing streams here.
"""
