"""Reversals: an entry is taken back once, or in parts that sum at most to it."""

from __future__ import annotations

from bibank.errors import AlreadyReversed, NotReversible, Refused
from bibank.journal.gate import Past
from bibank.journal.reversals import REVERSALS_NAME, is_divisible, is_reversal_of, why_irreversible
from bibank.model.amount import SignedAmount
from bibank.model.entry import UnsignedEntry


def check_reversal(entry: UnsignedEntry, past: Past) -> Refused | None:
    """Give the refusal of an entry that takes back what it may not, or None."""
    sequence, original = entry.links.reverses, past.original
    assert sequence is not None
    if original is None or original.sequence != sequence:
        return NotReversible(
            f"line {sequence} is not known here as the entry to be reversed",
            rule=REVERSALS_NAME,
            advice="reverse() looks it up",
            sequence=sequence,
        )
    wrong = why_irreversible(original)
    if wrong is not None or not is_reversal_of(entry, original):
        return NotReversible(
            f"line {sequence} cannot be reversed by this: "
            f"{wrong or 'the postings are not its own with the sides swapped'}",
            rule=REVERSALS_NAME,
            advice="reverse() writes the entry that would pass" if wrong is None else "nothing would pass",
            sequence=sequence,
        )
    posting = original.postings[0]
    done, asked = past.links.reversed_units(sequence), entry.postings[0].amount.units
    left = posting.amount.units - done
    if asked <= left:
        return None
    required, available = SignedAmount.from_units(asked), SignedAmount.from_units(left)
    asset = posting.account.asset
    return AlreadyReversed(
        f"line {sequence} was reversed already"
        if not left
        else f"of line {sequence} {available} {asset} is left to reverse, {required} is asked for",
        rule=REVERSALS_NAME,
        advice=f"at most {available} {asset} would pass"
        if left and is_divisible(original)
        else "nothing would pass",
        account=posting.account,
        asset=asset,
        required=required,
        available=available,
        shortfall=required - available,
        sequence=sequence,
    )
