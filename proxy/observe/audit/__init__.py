"""The audit: one line for each decision, in a chain of hashes that signed checkpoints hold fast.

``trail`` takes records from the loop, ``writer`` writes them from its own thread, ``verify`` reads them again.
"""
