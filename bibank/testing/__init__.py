"""Tools for the tests of those who build on bibank. Nothing in the library imports this package.

- `bibank.testing.faults`: files that fail, every disk that a crash may leave, stores that fail.
- `bibank.testing.strategies`: Hypothesis strategies for the values, drafts and histories of a ledger.

`faults` needs nothing more; install the rest with `pip install bibank[testing]`. With Hypothesis
installed, its entry point knows the value types without any import: `st.from_type(Amount)` works.
"""

from __future__ import annotations

__all__ = ["faults", "strategies"]
