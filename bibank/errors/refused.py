"""A rule said no, and says what would have passed. Nothing was changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bibank.errors.base import BibankError

if TYPE_CHECKING:
    from bibank.model.account import AccountKey
    from bibank.model.amount import SignedAmount


class Refused(BibankError):
    """A rule refused a well-formed request. Nothing was changed.

    Attributes: `rule` (name of the rule), `account`, `asset`, `required`, `available`,
    `shortfall` (each None where the rule has no such figure) and `advice`, which says what would
    have passed.
    """

    code = "refused"

    def __init__(
        self,
        message: str,
        *,
        rule: str,
        advice: str,
        account: AccountKey | None = None,
        asset: str | None = None,
        required: SignedAmount | None = None,
        available: SignedAmount | None = None,
        shortfall: SignedAmount | None = None,
    ) -> None:
        """Compose the text from what was refused and what would pass."""
        super().__init__(f"{message}; {advice}")
        self.rule = rule
        self.advice = advice
        self.account = account
        self.asset = asset
        self.required = required
        self.available = available
        self.shortfall = shortfall


class InsufficientBalance(Refused):
    """An account would fall below its floor."""

    code = "insufficient_balance"


class BalanceOutOfRange(Refused):
    """A balance would leave the signed 128-bit range of the format."""

    code = "balance_out_of_range"


class ApprovalRequired(Refused):
    """The entry needs approvals that it does not have."""

    code = "approval_required"


NOT_AUTHORISED_REASONS = {
    "bad_signature": "a signature is not over these bytes: what was signed was altered, or belongs elsewhere",
    "expired": "the proposal's or the override's time is over",
    "inactive_key": "the key that signed was retired or revoked",
    "not_pending": "no open proposal stands in that line: it was carried out, or is none",
    "other_content": "what was signed is not what is proposed, or not the line that is attested",
    "other_ledger": "what was signed names another ledger",
    "own_proposal": "who proposed it does not approve it",
    "same_key": "this key has signed the same already",
    "same_person": "this person has approved already, with another key",
    "stale": "what was signed was decided on an earlier state, or was used before",
    "too_few": "fewer persons of the role have signed than the policy asks for",
    "too_many": "more keys have signed what is the word of exactly one",
    "unknown_key": "the key that signed was never in the keyring",
    "wrong_role": "the key that signed has not the role that the policy names",
}
"""What `NotAuthorised.reason` may say."""


class NotAuthorised(Refused):
    """Who signed may not decide this, or not in this way. `reason` is one of `NOT_AUTHORISED_REASONS`."""

    code = "not_authorised"

    def __init__(self, message: str, *, reason: str, **figures: Any) -> None:  # noqa: ANN401 - as `Refused` takes them
        """Keep the reason."""
        super().__init__(message, **figures)
        assert reason in NOT_AUTHORISED_REASONS, "a reason is one of the table"
        self.reason = reason


class AccountFrozen(Refused):
    """Money would leave a frozen account, or what is frozen already would be frozen."""

    code = "account_frozen"


class AccountClosed(Refused):
    """Money would move on a closed account, or something would be decided about one but to reopen it."""

    code = "account_closed"


class AccountNotEmpty(Refused):
    """An account that holds money, or of which money is held, cannot be closed."""

    code = "account_not_empty"


class HoldNotOpen(Refused):
    """Held money is touched without an open hold, or in another way than its hold allows.

    `hold` is the line that opened it, None where no hold was cited.
    """

    code = "hold_not_open"

    def __init__(self, message: str, *, hold: int | None = None, **figures: Any) -> None:  # noqa: ANN401 - as `Refused` takes them
        """Keep which hold it was."""
        super().__init__(message, **figures)
        self.hold = hold


class HoldExpired(Refused):
    """The hold's time is over: it can only be voided."""

    code = "hold_expired"


class NotReversible(Refused):
    """The entry of `sequence` has an ending of its own, or none, and is not reversed, or not in this way."""

    code = "not_reversible"

    def __init__(self, message: str, *, sequence: int, **figures: Any) -> None:  # noqa: ANN401 - as `Refused` takes them
        """Keep which line it was."""
        super().__init__(message, **figures)
        self.sequence = sequence


class AlreadyReversed(NotReversible):
    """What is left of the entry to reverse is less than what is asked for, or nothing."""

    code = "already_reversed"


class IdempotencyConflict(Refused):
    """The key was used for another request. `key` is that key, `sequence` the line that bears it."""

    code = "idempotency_conflict"

    def __init__(self, *, key: str, sequence: int) -> None:
        """Say where the key stands."""
        super().__init__(
            f"idempotency key {key!r} belongs to line {sequence}, where something else was asked for",
            rule="idempotency/1",
            advice="a new request takes a new key",
        )
        self.key = key
        self.sequence = sequence


class RuleFailed(Refused):
    """A rule raised instead of answering; the engine is fail-closed. `__cause__` has the reason."""

    code = "rule_failed"
