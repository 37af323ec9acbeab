"""Other ways to keep a ledger, measured beside this one: same job, same run, same disk.

`python -m benchmarks.peers` needs nothing but the standard library and bibank.
"""
