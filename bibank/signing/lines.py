"""Signing lines: the ledger's own key, over sealed batches, just before they are written.

The chain covers content, not signatures, so a line is hashed first and signed afterwards: each
line of a group, or only its last one under group cover.
"""

from __future__ import annotations

from collections.abc import Sequence

from bibank.errors import BibankError, KeystoreError
from bibank.journal.batches import SealedBatch
from bibank.journal.encoder import signature_json
from bibank.model.signature import EntrySignature, SignatureAlgorithm, SigningMode
from bibank.signing.signer import BatchSigner, Ed25519Signer, Signer
from bibank.signing.trust import line_message
from bibank.signing.verify import SIGNATURE_BYTES, verify_ed25519


class LineSigner:
    """The key that a ledger signs its lines with, and what it signs of each write group."""

    def __init__(self, signer: Signer, mode: SigningMode) -> None:
        self.signer = signer
        self.mode = mode

    @property
    def cover(self) -> str | None:
        """What the batch marks say of the signatures."""
        return "group" if self.mode is SigningMode.GROUP else None

    def sign(self, group: Sequence[SealedBatch], *, ledger_id: str) -> None:
        """Put signatures on the lines of a write group that the mode asks for.

        Raises `KeystoreError` when the signer fails, or gives a signature that does not verify;
        the lines are then as they were.
        """
        signer = self.signer
        places = [(batch, index) for batch in group for index in range(len(batch.lines))]
        if self.mode is SigningMode.GROUP:
            del places[:-1]
        messages = [_message(batch, index, signer, ledger_id) for batch, index in places]
        signatures = _signatures(signer, messages)
        algorithm, public_key, signer_id = signer.algorithm.value, signer.public_key, signer.signer_id
        for (batch, index), signature in zip(places, signatures, strict=True):
            text = signature_json(algorithm, public_key, signature.hex(), batch.timestamp, signer_id)
            batch.attach(index, text, (signer_id, signer.algorithm, public_key, signature))


def _message(batch: SealedBatch, index: int, signer: Signer, ledger_id: str) -> bytes:
    payload = batch.payload(index)
    if signer.algorithm is SignatureAlgorithm.ED25519:
        return payload
    claim = EntrySignature(
        signer_id=signer.signer_id,
        algorithm=signer.algorithm,
        public_key=signer.public_key,
        signature="",
        signed_at=batch.moment,
    )
    return line_message(
        claim, ledger_id=ledger_id, sequence=batch.first + index, digest=batch.digests[index], payload=payload
    )


def _signatures(signer: Signer, messages: Sequence[bytes]) -> Sequence[bytes]:
    if type(signer) is Ed25519Signer:
        return signer.sign_many(messages)
    try:
        if isinstance(signer, BatchSigner):
            signatures = list(signer.sign_many(messages))
        else:
            signatures = [signer.sign(message) for message in messages]
    except BibankError:
        raise
    except Exception as error:
        raise KeystoreError(f"signer {signer.signer_id} failed: {type(error).__name__}") from error
    key = bytes.fromhex(signer.public_key)
    if len(signatures) != len(messages):
        raise KeystoreError(
            f"signer {signer.signer_id} gave {len(signatures)} signatures for {len(messages)}"
        )
    for message, signature in zip(messages, signatures, strict=True):
        if len(signature) != SIGNATURE_BYTES or not verify_ed25519(key, message, signature):
            raise KeystoreError(f"signer {signer.signer_id} gave a signature that its key does not verify")
    return signatures
