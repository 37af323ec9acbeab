"""Accounts in memory: one light object each, found by one dict lookup.

Balances count units in the direction of the category's normal balance: a deposit raises both the
vault (ASSET, debit) and the owner (LIAB, credit). A million accounts is the size to think of, so an
account is four slots, and what all accounts of a category and asset share is kept once.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from itertools import islice

from sortedcontainers import SortedList

from bibank.errors import InvalidValue
from bibank.model.account import LOCKED, AccountCategory, AccountKey, Side
from bibank.model.account_terms import AccountStatus, AccountTerms
from bibank.model.amount import MIN_UNITS, SignedAmount

_FLOORED = frozenset({AccountCategory.ASSET, AccountCategory.LIABILITY})
"""Categories that may not fall below zero unless a limit says otherwise."""

_ZERO = SignedAmount.from_units(0)


def default_floor(category: AccountCategory) -> SignedAmount | None:
    """Give what accounts of a category may not fall below; None where there is no floor."""
    return _ZERO if category in _FLOORED else None


class AccountClass:
    """What all accounts of one category, asset and status share; held money is of classes of its own."""

    __slots__ = ("asset", "category", "debit_sign", "floor", "is_guarded", "is_locked", "status")

    def __init__(
        self,
        category: AccountCategory,
        asset: str,
        is_locked: bool,  # noqa: FBT001 - a key of the book's table
        status: AccountStatus,
    ) -> None:
        self.category = category
        self.asset = asset
        self.is_locked = is_locked
        """Whether its money belongs to holds."""
        self.status = status
        self.is_guarded = is_locked or status is not AccountStatus.OPEN
        """Whether its money moves by rules of its own, which have to be asked for every entry."""
        self.debit_sign = 1 if category.normal_balance is Side.DEBIT else -1
        self.floor = 0 if category in _FLOORED else MIN_UNITS


class Account:
    """One account: its key as text, its class, its balance and its floor in units."""

    __slots__ = ("balance", "floor", "klass", "text")

    def __init__(self, text: str, klass: AccountClass) -> None:
        self.text = text
        self.klass = klass
        self.balance = 0
        self.floor = klass.floor

    def delta(self, units: int, is_debit: bool) -> int:  # noqa: FBT001 - the two sides of a posting, on the hot path
        """Give the change of the balance that a posting makes."""
        sign = self.klass.debit_sign
        return units * sign if is_debit else -units * sign

    @property
    def key(self) -> AccountKey:
        """The key as a value."""
        return AccountKey(self.text)


class TermsTable(MutableMapping[str, AccountTerms]):
    """The terms of accounts by the text of their key, which the accounts follow at once.

    An account may have terms before the first entry names it.
    """

    def __init__(self, follow: Callable[[str], None]) -> None:
        self._terms: dict[str, AccountTerms] = {}
        self._follow = follow

    def __getitem__(self, text: str) -> AccountTerms:
        return self._terms[text]

    def __setitem__(self, text: str, terms: AccountTerms) -> None:
        self._terms[text] = terms
        self._follow(text)

    def __delitem__(self, text: str) -> None:
        del self._terms[text]
        self._follow(text)

    def __iter__(self) -> Iterator[str]:
        return iter(self._terms)

    def __len__(self) -> int:
        return len(self._terms)


Kind = tuple[AccountCategory, str, bool, AccountStatus]
"""What the accounts of a class share: category, asset, whether held money, status."""


class AccountBook:
    """All accounts of a ledger. An account exists from the first committed entry that names it.

    Accounts that come from a snapshot are kept as sorted columns, and become objects when somebody looks: a
    million of them are opened in a quarter of a second, and most are not asked for.
    """

    __slots__ = ("_by_text", "_classes", "_sorted", "_stored", "_unread", "find", "terms")

    def __init__(self) -> None:
        self._by_text: dict[str, Account] = {}
        self._classes: dict[Kind, AccountClass] = {}
        self._stored: dict[Kind, tuple[list[str], list[int]]] = {}
        """Keys and balances from a snapshot; the balance of one that became an object is of the past."""
        self._unread = 0
        """How many of them did not become objects yet."""
        self.terms = TermsTable(self._follow_terms)
        self._sorted: SortedList[str] = SortedList()
        self.find: Callable[[str], Account | None] = self._by_text.get
        """Look an account up by the text of its key; None when it does not exist."""

    def __len__(self) -> int:
        return len(self._by_text) + self._unread

    def __iter__(self) -> Iterator[Account]:
        self._read_all()
        return iter(self._by_text.values())

    def make(self, key: AccountKey) -> Account:
        """Make an account that is not in the book yet; :meth:`add` puts it there."""
        account = Account(key.text, self._class(_kind(key, AccountStatus.OPEN)))
        if self.terms:
            self._impose(account, self.terms.get(key.text))
        return account

    def _class(self, kind: Kind) -> AccountClass:
        klass = self._classes.get(kind)
        if klass is None:
            klass = self._classes[kind] = AccountClass(*kind)
        return klass

    def _follow_terms(self, text: str) -> None:
        account = self.find(text)
        if account is not None:
            self._impose(account, self.terms.get(text))

    def _impose(self, account: Account, terms: AccountTerms | None) -> None:
        """Let an account have the status and the floor of its terms, or those of every account."""
        status = AccountStatus.OPEN if terms is None else terms.status
        account.klass = self._class(_kind(account.key, status))
        has_floor = terms is not None and terms.floor is not None
        account.floor = terms.floor.units if has_floor else account.klass.floor  # type: ignore[union-attr]  # as just asked

    def add(self, accounts: Iterable[Account]) -> None:
        """Put newly made accounts into the book."""
        for account in accounts:
            self._by_text[account.text] = account

    def remove(self, accounts: Iterable[Account]) -> None:
        """Take out accounts of a batch that came to nothing; they are the newest in the book."""
        for account in accounts:
            self._by_text.pop(account.text, None)
            self._sorted.discard(account.text)

    def with_prefix(self, prefix: str, *, after: str = "") -> Iterator[Account]:
        """Give the accounts whose key begins with a text, those after a key, sorted by key."""
        self._read_some(prefix)
        known = len(self._sorted)
        if known < len(self._by_text):  # a dict keeps its order: what is new stands at the end
            self._sorted.update(islice(self._by_text, known, None))
        begin = (after, False) if after >= prefix else (prefix, True)
        found = self._sorted.irange(begin[0], prefix + "\x7f", inclusive=(begin[1], True))
        return map(self._by_text.__getitem__, found)

    # ------------------------------------------------------------------ as columns

    def copy_columns(self) -> AccountColumns:
        """Copy what :class:`AccountColumns` are made of: nothing is sorted while a lock is held."""
        return AccountColumns(
            dict(self._stored),  # the columns themselves are never changed
            [(account.text, account.klass, account.balance) for account in self._by_text.values()],
        )

    def store(
        self,
        category: AccountCategory,
        asset: str,
        is_locked: bool,  # noqa: FBT001 - a key of the book's table
        texts: list[str],
        balances: list[int],
    ) -> None:
        """Take what :class:`AccountColumns` gave, before any terms; a key is read when it is asked for."""
        self._stored[category, asset, is_locked, AccountStatus.OPEN] = texts, balances
        self._unread += len(texts)
        self.find = self._find_stored

    def _find_stored(self, text: str) -> Account | None:
        """Look an account up, also among those that are no objects yet."""
        account = self._by_text.get(text)
        if account is not None:
            return account
        try:
            kind = _kind(AccountKey(text), AccountStatus.OPEN)
        except InvalidValue:
            return None
        texts, balances = self._stored.get(kind, _NOTHING)
        at = bisect_left(texts, text)
        if at == len(texts) or texts[at] != text:
            return None
        return self._read(kind, text, balances[at])

    def _read(self, kind: Kind, text: str, balance: int) -> Account:
        account = self._by_text[text] = Account(text, self._class(kind))
        account.balance = balance
        self._unread -= 1
        return account

    def _read_some(self, prefix: str) -> None:
        """Make objects of the accounts whose key begins with a text."""
        if not prefix:
            self._read_all()
        for kind, (texts, balances) in self._stored.items():
            for at in range(bisect_left(texts, prefix), bisect_right(texts, prefix + "\x7f")):
                if texts[at] not in self._by_text:
                    self._read(kind, texts[at], balances[at])

    def _read_all(self) -> None:
        """Make an object of every account: whoever lists them needs them all."""
        if not self._stored:
            return
        known = self._by_text
        for kind, columns in self._stored.items():
            for text, balance in zip(*columns, strict=True):
                if text not in known:
                    self._read(kind, text, balance)
        self._stored.clear()
        self.find = known.get


class AccountColumns:
    """Keys and balances as they were when they were copied; sorted when somebody goes through them."""

    def __init__(
        self,
        stored: Mapping[Kind, tuple[list[str], list[int]]],
        known: Iterable[tuple[str, AccountClass, int]],
    ) -> None:
        self._stored = stored
        self._known = known

    def __iter__(self) -> Iterator[tuple[AccountCategory, str, bool, list[str], list[int]]]:
        """Give keys and balances of all accounts by category, asset and whether money is held, sorted."""
        groups = {kind: dict(zip(*columns, strict=True)) for kind, columns in self._stored.items()}
        for text, klass, balance in self._known:
            kind = (klass.category, klass.asset, klass.is_locked, AccountStatus.OPEN)
            groups.setdefault(kind, {})[text] = balance
        for kind in sorted(groups, key=lambda kind: (kind[0].value, kind[1], kind[2])):
            texts = sorted(groups[kind])
            yield *kind[:3], texts, list(map(groups[kind].__getitem__, texts))


_NOTHING: tuple[list[str], list[int]] = [], []


def _kind(key: AccountKey, status: AccountStatus) -> Kind:
    return key.category, key.asset, key.sub_account == LOCKED, status
