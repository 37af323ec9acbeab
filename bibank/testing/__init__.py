"""Tools for the tests of those who build on bibank. Nothing in the library imports this package.

- `bibank.testing.strategies`: Hypothesis strategies for the values, drafts and histories of a ledger.

Install them with `pip install bibank[testing]`. With Hypothesis installed, its entry point knows the
value types without any import: `st.from_type(Amount)` works.
"""

from __future__ import annotations

__all__ = ["strategies"]
