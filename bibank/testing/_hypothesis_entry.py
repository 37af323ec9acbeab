"""What Hypothesis calls when it is imported: which strategy belongs to which type.

This runs in everybody's `import hypothesis`, so it imports the values only, not the strategies, and
it never raises: a host whose installation is broken must still be able to import Hypothesis.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy


def register() -> None:
    """Register the strategies of bibank's types; does nothing, rather than raise, where it cannot."""
    try:
        _register()
    except Exception:  # noqa: BLE001 - it would break `import hypothesis` for everyone
        return


def _register() -> None:
    from hypothesis.strategies import register_type_strategy

    from bibank.model.account import AccountKey
    from bibank.model.amount import Amount, SignedAmount
    from bibank.model.entry import Posting, UnsignedEntry
    from bibank.model.genesis import GenesisMark
    from bibank.model.json_value import FrozenMap
    from bibank.model.money import Money

    names: dict[type[object], str] = {
        AccountKey: "account_keys",
        Amount: "amounts",
        FrozenMap: "frozen_metadata",
        GenesisMark: "genesis_marks",
        Money: "money",
        Posting: "single_postings",
        SignedAmount: "signed_amounts",
        UnsignedEntry: "unsigned_entries",
    }
    for kind, name in names.items():
        register_type_strategy(kind, _Lazy(name))


class _Lazy:
    """Imports the strategies when the first of them is asked for."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, _kind: type[object]) -> SearchStrategy[object]:
        from bibank.testing import strategies

        made: SearchStrategy[object] = getattr(strategies, self.name)()
        return made
