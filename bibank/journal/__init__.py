"""The pure core: exact bytes, the chain, the intent table, and the machine that decides.

Nothing here does I/O or reads a clock: time comes in as an argument, bytes go out as results.
"""
