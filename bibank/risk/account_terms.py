"""Account terms: nothing leaves a frozen account, and nothing moves on a closed one."""

from __future__ import annotations

from bibank.errors import AccountClosed, AccountFrozen
from bibank.journal.account_records import ACCOUNTS_NAME
from bibank.journal.gate import Moves
from bibank.model.account_terms import AccountStatus


def check_terms(moves: Moves) -> AccountClosed | AccountFrozen | None:
    """Give the refusal for the first account whose terms do not allow its move, or None.

    Looks at every account of the entry, also at those whose postings cancel out.
    """
    for account, delta in moves:
        if not account.klass.is_guarded:
            continue
        status = account.klass.status
        if status is AccountStatus.CLOSED:
            return AccountClosed(
                f"{account.text} is closed: nothing moves on it",
                rule=ACCOUNTS_NAME,
                advice="another account would pass, or this one when it is reopened",
                account=account.key,
                asset=account.klass.asset,
            )
        if status is AccountStatus.FROZEN and delta < 0:
            return AccountFrozen(
                f"{account.text} is frozen: nothing leaves it",
                rule=ACCOUNTS_NAME,
                advice="money may still arrive; everything would pass when it is reopened",
                account=account.key,
                asset=account.klass.asset,
            )
    return None
