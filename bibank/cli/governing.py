"""`bibank propose`, `pending`, `approve`, `sign`: what takes more than one person, and signing later."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import click

from bibank.cli.output import print_json, print_table, printable, short_entry
from bibank.cli.parties import account, line_number, party, upper
from bibank.cli.request import NEGATIVE_AMOUNTS, Done, Request, decision_options, effective_option
from bibank.cli.settings import Settings, global_options, pass_settings
from bibank.cli.signers import key_file_option, key_path, load_signer
from bibank.drafts import adjustment as adjustment_draft
from bibank.drafts import withdrawal as withdrawal_draft
from bibank.ledger import Ledger
from bibank.model.entry import Posting, UnsignedEntry
from bibank.model.money import Money
from bibank.model.policy import AdjustmentPurpose
from bibank.model.proposal import Proposal
from bibank.model.record import JournalLine
from bibank.model.table import plain
from bibank.model.timestamp import format_timestamp, parse_timestamp
from bibank.reader import LedgerReader

_COLUMNS = ("line", "proposer", "purpose", "needed", "approved by", "expires at", "reason", "entry")

_proposer_option = key_file_option(
    "Key file of the operator who proposes it, and does not approve it; the ledger's own key when left out."
)
_person_option = click.option(
    "--key-file", type=key_path, required=True, metavar="FILE", help="Key file of the person who signs."
)


@click.group()
@global_options()
def propose() -> None:
    """Propose an entry that needs approvals: adjustment, withdrawal."""


@propose.command()
@global_options()
@click.option(
    "--debit",
    "debits",
    nargs=2,
    multiple=True,
    required=True,
    metavar="ACCOUNT AMOUNT",
    help="An account key and what is debited to it, in the account's asset; repeatable.",
)
@click.option(
    "--credit",
    "credits_",
    nargs=2,
    multiple=True,
    required=True,
    metavar="ACCOUNT AMOUNT",
    help="An account key and what is credited to it; repeatable.",
)
@click.option(
    "--purpose",
    type=click.Choice([purpose.value for purpose in AdjustmentPurpose], case_sensitive=False),
    required=True,
    help="What it is for; the policy may ask for another number of approvals for each.",
)
@click.option("--reason", required=True, metavar="TEXT", help="Why, for those who approve it.")
@effective_option
@_proposer_option
@decision_options
def adjustment(
    request: Request,
    debits: tuple[tuple[str, str], ...],
    credits_: tuple[tuple[str, str], ...],
    purpose: str,
    reason: str,
    effective_at: str | None,
    key_file: Path | None,
) -> None:
    """Propose to correct the books by hand, between accounts of any category.

    propose adjustment --debit LIAB:USER:ALICE:USDT:AVAILABLE 45 --credit ASSET:SYSTEM:VAULT:USDT:MAIN 45
    --purpose CORRECTION --reason "50 was typed for 5"

    For each asset, debits and credits are the same sum. The number of the line that it prints is what
    'approve' takes.
    """
    postings = [
        *(Posting.debit(account(key), amount) for key, amount in debits),
        *(Posting.credit(account(key), amount) for key, amount in credits_),
    ]
    what_for = AdjustmentPurpose(purpose)

    def draft(correlation_id: str, moment: datetime | None) -> UnsignedEntry:
        return adjustment_draft(
            postings,
            purpose=what_for,
            reason=reason,
            correlation_id=correlation_id,
            effective_at=moment,
        )

    _propose(request, draft, effective_at=effective_at, key_file=key_file)


@propose.command(context_settings=NEGATIVE_AMOUNTS)
@global_options()
@click.argument("owner")
@click.argument("amount")
@click.argument("asset")
@effective_option
@_proposer_option
@decision_options
def withdrawal(
    request: Request,
    owner: str,
    amount: str,
    asset: str,
    effective_at: str | None,
    key_file: Path | None,
) -> None:
    """Propose a withdrawal that is too large to go without approvals: propose withdrawal ALICE 20000 USDT."""
    payer, money = party(owner), Money(amount, upper(asset))

    def draft(correlation_id: str, moment: datetime | None) -> UnsignedEntry:
        return withdrawal_draft(payer, money, correlation_id=correlation_id, effective_at=moment)

    _propose(request, draft, effective_at=effective_at, key_file=key_file)


def _propose(
    request: Request,
    draft: Callable[[str, datetime | None], UnsignedEntry],
    *,
    effective_at: str | None,
    key_file: Path | None,
) -> None:
    """Propose an entry under the correlation id of the request, and say what it waits for."""
    moment = None if effective_at is None else parse_timestamp(effective_at)
    proposer = None if key_file is None else load_signer(key_file)

    def verb(ledger: Ledger) -> Done:
        trace = request.settings.correlation_id
        assert trace is not None, "whoever commits a request has named it"
        record = ledger.governance.propose(
            draft(trace, moment), proposed_by=proposer, idempotency_key=request.idempotency_key
        )
        waiting = _find(ledger, record.sequence)
        words = () if waiting is None else (_waits_for(waiting),)
        return Done.one(record, *words)

    request.commit(verb)


def _find(ledger: Ledger, sequence: int) -> Proposal | None:
    """Find a proposal that still waits; a retry may look for one that was carried out since."""
    return next((proposal for proposal in ledger.pending() if proposal.sequence == sequence), None)


def _missing(proposal: Proposal) -> int:
    return proposal.needed - len(proposal.approved_by)


def _waiting_words(proposal: Proposal) -> tuple[str, ...]:
    """Tell somebody who has approved what it was, and what is missing."""
    return (f"approved: {short_entry(proposal.intent, proposal.postings)}", _waits_for(proposal))


def _waits_for(proposal: Proposal) -> str:
    missing = _missing(proposal)
    what = "1 more approval" if missing == 1 else f"{missing} more approvals"
    until = format_timestamp(proposal.expires_at)
    return f"proposal {proposal.sequence} needs {what} until {until}"


@click.command()
@global_options()
@pass_settings
def pending(settings: Settings) -> None:
    """List the proposals that wait for approvals, oldest first; takes no lock."""
    with LedgerReader.open(settings.home.path) as reader:
        found = reader.pending()
    if settings.as_json:
        for proposal in found:
            print_json(plain(proposal))
    else:
        print_table(_COLUMNS, map(_cells, found), right=frozenset({"line", "needed"}))


def _cells(proposal: Proposal) -> tuple[str, ...]:
    return (
        str(proposal.sequence),
        proposal.proposer,
        "" if proposal.purpose is None else proposal.purpose.value,
        str(proposal.needed),
        ", ".join(proposal.approved_by),
        format_timestamp(proposal.expires_at),
        "" if proposal.reason is None else printable(proposal.reason),
        short_entry(proposal.intent, proposal.postings),
    )


@click.command()
@global_options()
@click.argument("sequence", metavar="LINE", callback=line_number)
@_person_option
@decision_options
def approve(request: Request, sequence: int, key_file: Path) -> None:
    """Approve the proposal of a line: approve 8 --key-file anna.key.

    The approval that makes enough carries the entry out. What refuses the entry refuses that approval too.
    """
    person = load_signer(key_file)

    def verb(ledger: Ledger) -> Done:
        approved = ledger.governance.approve(sequence, person, idempotency_key=request.idempotency_key)
        lines: tuple[JournalLine, ...] = (approved.record,)
        if approved.entry is not None:
            return Done((*lines, approved.entry), {**plain(approved), "missing": 0})
        waiting = _find(ledger, sequence)
        if waiting is None:
            return Done(lines, {**plain(approved), "missing": None}, (f"proposal {sequence} waits no more",))
        return Done(lines, {**plain(approved), "missing": _missing(waiting)}, _waiting_words(waiting))

    request.commit(verb)


@click.command()
@global_options()
@click.option(
    "--entry-sequence",
    "sequence",
    required=True,
    metavar="LINE",
    callback=line_number,
    help="The line that is signed; a record can be signed too.",
)
@_person_option
@decision_options
def sign(request: Request, sequence: int, key_file: Path) -> None:
    """Add a signature to a committed line: sign --entry-sequence 5 --key-file anna.key.

    The line stays as it is; the signature is a record of its own.
    """
    person = load_signer(key_file)
    request.commit(
        lambda ledger: Done.one(
            ledger.governance.attest(sequence, person, idempotency_key=request.idempotency_key)
        )
    )
