"""What a rule may look at: the stamp, balances before and after, and its own state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from datetime import datetime
from typing import Protocol

from bibank.errors import InvalidType, InvalidValue
from bibank.journal.accounts import AccountBook
from bibank.journal.gate import Moves
from bibank.model.account import AccountCategory, AccountKey
from bibank.model.amount import SignedAmount
from bibank.model.entry import Posting, UnsignedEntry

StateValue = str | int | bool | tuple["StateValue", ...] | None
"""What a rule may remember: plain immutable values, so that a snapshot can hold them."""

MAX_STATE_DEPTH = 32
"""Tuples within tuples: a snapshot is read by a reader that gives up at some depth."""

_MISSING = object()
_OUTFLOW_CATEGORIES = frozenset({AccountCategory.ASSET, AccountCategory.LIABILITY})


class Undoable(Protocol):
    """What can take one of its changes back."""

    def restore(self, key: str, value: object) -> None:
        """Return to the value that a key had."""


class RuleState(MutableMapping[str, StateValue]):
    """The memory of one rule. The engine owns it, and can take every change back.

    Keys are `str`; values are `str`, `int`, `bool`, None and tuples of these; anything else, a subclass of
    these included, is an `InvalidType`, and tuples nested too deep an `InvalidValue`. Iterating goes through
    the keys in their order as text, whatever was written, deleted and taken back in between.
    """

    __slots__ = ("_undo", "_values")

    def __init__(self, undo: list[tuple[Undoable, str, object]]) -> None:
        self._values: dict[str, StateValue] = {}
        self._undo = undo

    def __getitem__(self, key: str) -> StateValue:
        return self._values[key]

    def __setitem__(self, key: str, value: StateValue) -> None:
        if type(key) is not str:
            raise InvalidType(f"a key of a rule's state is a str, not {type(key).__name__}")
        _check_state_value(value)
        self._undo.append((self, key, self._values.get(key, _MISSING)))
        self._values[key] = value

    def __delitem__(self, key: str) -> None:
        self._undo.append((self, key, self._values[key]))
        del self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._values))

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"RuleState({self._values!r})"

    def load(self, values: Mapping[str, StateValue]) -> None:
        """Take what was remembered elsewhere, for good; for the engine."""
        self._values = dict(values)

    def restore(self, key: str, value: object) -> None:
        """Take one change back; for the engine."""
        if value is _MISSING:
            self._values.pop(key, None)
        else:
            self._values[key] = value  # type: ignore[assignment]  # it came from here


def _check_state_value(value: object, depth: int = 0) -> None:
    """Demand a plain value: one of a subclass would come back from a snapshot as something else."""
    kind = type(value)
    if kind is tuple:
        if depth == MAX_STATE_DEPTH:
            raise InvalidValue(f"a rule's state holds tuples nested {MAX_STATE_DEPTH} deep at most")
        for item in value:  # type: ignore[attr-defined]  # as just asked
            _check_state_value(item, depth + 1)
    elif value is not None and kind not in (str, int, bool):
        raise InvalidType(f"a rule's state holds str, int, bool, None and tuples, not {type(value).__name__}")


class RiskView:
    """The ledger as a rule sees it while it judges one entry. Read-only but for `state`."""

    __slots__ = ("_book", "_changes", "now", "sequence", "state")

    def __init__(
        self, book: AccountBook, moves: Moves, *, sequence: int, now: datetime, state: RuleState
    ) -> None:
        self._book = book
        self._changes = {account.text: delta for account, delta in moves}
        self.sequence = sequence
        """The sequence that the entry will have."""
        self.now = now
        """The time that the entry will carry: use it in place of a clock."""
        self.state = state
        """The rule's own memory."""

    def balance(self, account: AccountKey) -> SignedAmount:
        """The balance before the entry, in the direction of the account's normal balance."""
        found = self._book.find(account.text)
        return SignedAmount.from_units(found.balance if found is not None else 0)

    def balance_after(self, account: AccountKey) -> SignedAmount:
        """The balance as the entry would leave it."""
        found = self._book.find(account.text)
        units = found.balance if found is not None else 0
        return SignedAmount.from_units(units + self._changes.get(account.text, 0))

    def outflows(self, entry: UnsignedEntry) -> tuple[Posting, ...]:
        """The postings of an entry that lower an ASSET or LIAB account: what leaves somebody."""
        return tuple(
            posting
            for posting in entry.postings
            if posting.account.category in _OUTFLOW_CATEGORIES
            and posting.side is not posting.account.category.normal_balance
        )
