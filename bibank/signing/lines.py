"""Signing lines: the ledger's own key, over sealed batches, just before they are written.

The chain covers content, not signatures, so a line is hashed first and signed afterwards: each
line of a group, or only its last one under group cover.
"""

from __future__ import annotations

from collections.abc import Sequence

from bibank.journal.batches import SealedBatch
from bibank.journal.encoder import signature_json
from bibank.model.signature import EntrySignature, SignatureAlgorithm, SigningMode
from bibank.signing.signer import Signer, signatures_of
from bibank.signing.trust import line_message


class LineSigner:
    """The key that a ledger signs its lines with, and what it signs of each write group.

    Who the signer is and which key it has is asked once: a signer far away may fail or change.
    """

    def __init__(self, signer: Signer, mode: SigningMode) -> None:
        self.signer = signer
        self.mode = mode
        self.signer_id = signer.signer_id
        self.algorithm = signer.algorithm
        self.public_key = signer.public_key

    @property
    def cover(self) -> str | None:
        """What the batch marks say of the signatures."""
        return "group" if self.mode is SigningMode.GROUP else None

    def sign(self, group: Sequence[SealedBatch], *, ledger_id: str) -> None:
        """Put signatures on the lines of a write group that the mode asks for.

        Raises `KeystoreError` when the signer fails, or gives a signature that does not verify;
        the lines are then as they were.
        """
        batches, first = group, 0
        if self.mode is SigningMode.GROUP:
            batches, first = group[-1:], len(group[-1].lines) - 1
        plain = self.algorithm is SignatureAlgorithm.ED25519
        messages = [
            batch.payload(index) if plain else self._digest_message(batch, index, ledger_id)
            for batch in batches
            for index in range(first, len(batch.lines))
        ]
        signatures = iter(signatures_of(self.signer, messages, public_key=self.public_key))
        algorithm, public_key, signer_id = self.algorithm.value, self.public_key, self.signer_id
        for batch in batches:
            for index in range(first, len(batch.lines)):
                signature = next(signatures).hex()
                text = signature_json(algorithm, public_key, signature, batch.timestamp, signer_id)
                batch.attach(index, text)

    def _digest_message(self, batch: SealedBatch, index: int, ledger_id: str) -> bytes:
        claim = EntrySignature(
            signer_id=self.signer_id,
            algorithm=self.algorithm,
            public_key=self.public_key,
            signature="",
            signed_at=batch.moment,
        )
        return line_message(
            claim,
            ledger_id=ledger_id,
            sequence=batch.first + index,
            digest=batch.digests[index],
            payload=batch.payload(index),
        )
