"""The operator or the developer has to act: the store, the keys, the way parts are put together."""

from __future__ import annotations

from bibank.errors.base import BibankError


class StoreError(BibankError):
    """The operator has to act: the disk, the lock, another writer."""

    code = "store"


class StoreUnavailable(StoreError):
    """The operating system refused a file operation before anything was written."""

    code = "store_unavailable"
    retryable = True


class StoreFull(StoreUnavailable):
    """The disk is down to what recovery needs. Make room; nothing was written."""

    code = "store_full"


class ClockJumped(StoreError):
    """The clock is far from the time of the last line. Mend the clock, or say that it is right."""

    code = "clock_jumped"
    retryable = True


class LedgerBusy(StoreError):
    """Another writer holds the home. `pid` and `host` name it where they could be read."""

    code = "ledger_busy"
    retryable = True

    def __init__(self, message: str, *, pid: int | None, host: str | None) -> None:
        """Keep who holds the lock."""
        super().__init__(message)
        self.pid = pid
        self.host = host


class SubscriberBusy(StoreError):
    """Another bus delivers to this subscriber, here or in another process, and keeps its cursor."""

    code = "subscriber_busy"
    retryable = True


class HeadConflict(StoreError):
    """The store's head is not the expected one: somebody else appended. Reopen and retry."""

    code = "head_conflict"
    retryable = True


class CommitOutcomeUnknown(StoreError):
    """The write failed midway: the commit may or may not be on disk. Reopen the ledger and look."""

    code = "commit_outcome_unknown"


class LedgerPoisoned(StoreError):
    """An earlier write failed midway. This ledger object is of no more use; open it again."""

    code = "ledger_poisoned"


class LedgerClosed(StoreError):
    """The ledger was closed."""

    code = "ledger_closed"


class HomeNotFound(StoreError):
    """There is no ledger at this path."""

    code = "home_not_found"


class HomeExists(StoreError):
    """There is a ledger at this path already."""

    code = "home_exists"


class KeystoreError(BibankError):
    """A key cannot be read, or may not be used."""

    code = "keystore"


class ConfigurationError(BibankError):
    """Parts were put together in a way that cannot work."""

    code = "configuration"


class RulesMismatch(ConfigurationError):
    """The rules given are not those that the ledger has adopted. `missing` names what has to be supplied."""

    code = "rules_mismatch"

    def __init__(self, message: str, *, missing: tuple[str, ...] = ()) -> None:
        """Keep the names of the rules that are missing."""
        super().__init__(message)
        self.missing = missing
