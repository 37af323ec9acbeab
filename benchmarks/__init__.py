"""Benchmarks: how fast bibank is, as ratios to reference units measured in the same run.

`python -m benchmarks` prints one line a figure; `python -m benchmarks.peers` compares with other ways
to keep a ledger. How to read them: docs/reference/benchmarks.md.
"""
