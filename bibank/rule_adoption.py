"""Adopting rules: a set is written down as a signed record, and is in force from the next line on."""

from __future__ import annotations

from collections.abc import Sequence

from bibank.committer import Committer
from bibank.journal.batches import PreparedBatch
from bibank.journal.rule_sets import RULES_KIND
from bibank.model.policy import Purpose, Role
from bibank.model.record import JournalRecord, RecordKind, UnsignedRecord
from bibank.opening import check_signers
from bibank.risk.engine import RiskEngine
from bibank.risk.rule import RiskRule
from bibank.signing.dsse import Envelope
from bibank.signing.signer import Signer
from bibank.signing.trust import KeyringTrust


def adopt_rules(
    committer: Committer,
    trust: KeyringTrust,
    engine: RiskEngine,
    rules: Sequence[RiskRule],
    *,
    authorised_by: Sequence[Signer],
    correlation_id: str,
) -> JournalRecord:
    """Commit a rule set; the ledger's own key signs it where it may. Raises as `Ledger.adopt_rules` says."""
    signers = [*check_signers(authorised_by)]
    adopted = engine.supply(rules)
    with committer.reading() as view:
        ledger_id = view.machine.ledger_id
        payload = view.machine.rules.payload(adopted, ledger_id=ledger_id)
        own_key_decides = trust.current.keyring.deciding_role(Purpose.RULES) is Role.SYSTEM
    own = committer.signer
    if own is not None and own_key_decides:
        signers.append(own.signer)
    envelope = Envelope(kind=RULES_KIND, payload=payload)
    for signer in signers:
        envelope = envelope.signed_by(signer)
    record = UnsignedRecord(
        kind=RecordKind.RULES_ADOPTED,
        subject=ledger_id,
        correlation_id=correlation_id,
        body=envelope.to_body(),
    )
    line = committer.commit(PreparedBatch((record,))).view(0)
    assert isinstance(line, JournalRecord)
    return line
