"""Keeping a node's data on disk.

What is written, and when: `ledger`. In which form: `records`. Into which file: `database`. Whose it is, and whether it
was copied: `former` and `marks`. What is missing at its end: `wal`.
"""
