"""Strategies of the journal's tests: lines that the codec accepts, wherever they may stand."""

from datetime import UTC, datetime

import attrs
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from bibank.journal.genesis import genesis_batch
from bibank.model.entry import BatchMark, JournalEntry, TransactionIntent
from bibank.model.keyring import Keyring
from bibank.model.lines import GENESIS_PREV_HASH
from bibank.model.record import JournalRecord, RecordKind
from bibank.model.signature import MAX_SIGNATURES, EntrySignature, SignatureAlgorithm
from bibank.testing.strategies import genesis_marks, identifiers, unsigned_entries


def moments() -> SearchStrategy[datetime]:
    """Draw an aware UTC time, often a whole second."""
    times = st.datetimes(timezones=st.just(UTC))
    return st.one_of(times, times.map(lambda moment: moment.replace(microsecond=0)))


def hexes(size_bytes: int) -> SearchStrategy[str]:
    """Draw lower-case hex digits of so many bytes."""
    return st.binary(min_size=size_bytes, max_size=size_bytes).map(bytes.hex)


def hashes() -> SearchStrategy[str]:
    """Draw what may stand as the hash of a line before."""
    return st.one_of(hexes(32), st.just(GENESIS_PREV_HASH))


@st.composite
def marks(draw: DrawFn) -> tuple[int, BatchMark]:
    """Draw a sequence and a batch mark that may stand there, defaults and extremes included."""
    sequence = draw(st.one_of(st.integers(1, 20), st.integers(1, 2**53 - 1)))
    first = draw(st.one_of(st.just(sequence), st.integers(max(1, sequence - 9), sequence)))
    group = draw(
        st.one_of(st.just(sequence), st.just(first), st.integers(1, first)).filter(lambda g: g <= first)
    )
    smallest = sequence - first + 1
    size = draw(st.one_of(st.just(smallest), st.integers(smallest, 8192)))
    return sequence, BatchMark(
        first=first, size=size, group=group, cover=draw(st.sampled_from([None, "group"]))
    )


@st.composite
def signature_sets(draw: DrawFn) -> tuple[EntrySignature, ...]:
    """Draw the signatures of a line: sorted, one per key, mostly none."""
    count = draw(st.sampled_from([0, 0, 0, 1, 2, MAX_SIGNATURES]))
    keys = draw(st.lists(hexes(32), min_size=count, max_size=count, unique=True))
    found = [
        EntrySignature(
            signer_id=draw(identifiers()),
            algorithm=draw(st.sampled_from(SignatureAlgorithm)),
            public_key=key,
            signature="5a" * 64,
            signed_at=draw(moments()),
        )
        for key in keys
    ]
    return tuple(sorted(found, key=lambda signature: (signature.signer_id, signature.public_key)))


@st.composite
def journal_entries(draw: DrawFn) -> JournalEntry:
    """Draw an entry as it may stand in some journal; its hash is made up."""
    intent = draw(st.sampled_from(TransactionIntent))
    draft = draw(unsigned_entries(intent))
    sequence, mark = draw(marks())
    causes = st.none() if sequence == 1 else st.one_of(st.none(), st.integers(1, sequence - 1).map(str))
    return JournalEntry(
        sequence=sequence,
        prev_hash=draw(hashes()),
        hash=draw(hexes(32)),
        timestamp=draw(moments()),
        intent=intent,
        correlation_id=draft.correlation_id,
        causality_id=draw(causes),
        batch=mark,
        postings=draft.postings,
        metadata=draft.whole_metadata,
        signatures=draw(signature_sets()),
    )


@st.composite
def journal_records(draw: DrawFn) -> JournalRecord:
    """Draw a record as it may stand in some journal; its hash is made up."""
    mark = draw(genesis_marks())
    keyring = Keyring.unsigned()
    _, draft = genesis_batch({}, name=mark.name, keyring=keyring, nonce=mark.nonce, correlation_id="g")
    entry = draw(journal_entries())
    shared = {
        name: getattr(entry, name)
        for name in attrs.fields_dict(JournalRecord)
        if name in attrs.fields_dict(JournalEntry)
    }
    return JournalRecord(
        **shared, kind=RecordKind.KEYRING_ADOPTED, subject=draw(identifiers()), body=draft.body
    )
