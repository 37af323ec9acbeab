"""The verbs of money, the same on a ledger and in a batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Generic, TypeVar
from uuid import UUID

from bibank.journal import drafts
from bibank.model.account import Owner
from bibank.model.entry import UnsignedEntry
from bibank.model.identifier import check_correlation_id
from bibank.model.json_value import EMPTY_MAP
from bibank.model.money import Money

Taken = TypeVar("Taken")


class Verbs(ABC, Generic[Taken]):
    """Turns each verb into a draft and takes it.

    Parties stand in the order payer, payee; an id means that user's AVAILABLE account, an
    `AccountKey` exactly that account. `correlation_id` is required unless it was bound; the ledger
    never makes one up (phase 1, 13.1).
    """

    def __init__(self, *, correlation_id: str | UUID | None) -> None:
        self._correlation_id = None if correlation_id is None else check_correlation_id(correlation_id)

    @abstractmethod
    def _take(self, draft: UnsignedEntry) -> Taken:
        """Do with a draft what this object is for."""

    def deposit(
        self,
        owner: Owner,
        money: Money | str,
        *,
        correlation_id: str | UUID | None = None,
        metadata: Mapping[str, object] = EMPTY_MAP,
    ) -> Taken:
        """Money enters from outside: debit the vault, credit the owner."""
        trace = self._trace(correlation_id)
        return self._take(drafts.deposit(owner, money, correlation_id=trace, metadata=metadata))

    def withdraw(
        self,
        owner: Owner,
        money: Money | str,
        *,
        correlation_id: str | UUID | None = None,
        metadata: Mapping[str, object] = EMPTY_MAP,
    ) -> Taken:
        """Money leaves: debit the owner, credit the vault."""
        trace = self._trace(correlation_id)
        return self._take(drafts.withdrawal(owner, money, correlation_id=trace, metadata=metadata))

    def transfer(
        self,
        payer: Owner,
        payee: Owner,
        money: Money | str,
        *,
        correlation_id: str | UUID | None = None,
        metadata: Mapping[str, object] = EMPTY_MAP,
    ) -> Taken:
        """Money moves between two owners: debit the payer, credit the payee."""
        trace = self._trace(correlation_id)
        return self._take(drafts.transfer(payer, payee, money, correlation_id=trace, metadata=metadata))

    def _trace(self, correlation_id: str | UUID | None) -> str:
        return check_correlation_id(self._correlation_id if correlation_id is None else correlation_id)
