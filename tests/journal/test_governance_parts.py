"""The parts of governance: the change log, terms of accounts, and the books of what was decided."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bibank.errors import (
    AccountClosed,
    AccountFrozen,
    AccountNotEmpty,
    InvalidValue,
    JournalCorrupt,
    NotAuthorised,
    Refused,
)
from bibank.journal.account_records import TRANSITIONS, check_empty, take_decision
from bibank.journal.accounts import AccountBook, default_floor
from bibank.journal.attestations import AttestationBook, check_attested
from bibank.journal.change_log import MISSING, ChangeLog
from bibank.journal.codec import decode_line
from bibank.journal.link_book import LinkBook
from bibank.journal.records import recovery_record
from bibank.model.account import AccountCategory, AccountKey
from bibank.model.account_terms import AccountStatus, AccountTerms
from bibank.model.amount import MIN_UNITS, SignedAmount
from bibank.model.json_value import FrozenMap, JsonValue
from bibank.model.keyring import KeyringChange, KeyringKey
from bibank.model.links import EntryLinks, IdempotencyMark
from bibank.model.policy import Policy, Purpose, Role
from bibank.model.record import RecordKind
from bibank.model.signature import SignatureAlgorithm
from bibank.risk.account_terms import check_terms
from tests.journal.machines import ALICE, BOB, NOON, VAULT, accept, found, propose
from tests.ledger.operators import ANNA, change, governed, refused

KEY = AccountKey(ALICE)
LOCKED = ALICE.replace("AVAILABLE", "LOCKED")
STATUSES = {status: status.value for status in AccountStatus}

# --------------------------------------------------------------------------- the change log

_steps = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.integers(0, 1), st.integers(0, 3), st.integers(0, 9)),
        st.tuples(st.just("remove"), st.integers(0, 1), st.integers(0, 3)),
        st.tuples(st.just("mark")),
        st.tuples(st.just("rollback"), st.integers(0, 9)),
        st.tuples(st.just("forget"), st.integers(0, 9)),
    ),
    max_size=40,
)


@given(_steps)
def test_what_was_changed_is_taken_back(steps: list[tuple[Any, ...]]) -> None:
    """Rolled back to a mark, every mapping is what it was there, until the mark is forgotten."""
    log = ChangeLog()
    maps: tuple[dict[int, int], dict[int, int]] = ({}, {0: 7})
    marks: list[tuple[int, tuple[dict[int, int], dict[int, int]]]] = []
    for name, *arguments in steps:
        if name == "set":
            which, key, value = arguments
            log.set(maps[which], key, value)
            assert maps[which][key] == value
        elif name == "remove":
            which, key = arguments
            log.remove(maps[which], key)
            assert key not in maps[which]
        elif name == "mark":
            marks.append((log.mark(), (dict(maps[0]), dict(maps[1]))))
        elif marks and name == "rollback":
            mark, before = marks[arguments[0] % len(marks)]
            log.rollback(mark)
            assert maps == before
            assert log.mark() == mark
            marks = [known for known in marks if known[0] <= mark]
        elif marks:
            mark, _ = marks[arguments[0] % len(marks)]
            log.forget(mark)
            marks = [known for known in marks if known[0] >= mark]
    for mark, before in reversed(marks):
        log.rollback(mark)
        assert maps == before


def test_what_is_final_is_given_once() -> None:
    """Forgetting gives the changes up to a mark, oldest first, and those before it are gone for good."""
    log = ChangeLog()
    values: dict[int | str, object] = {1: "a"}
    start = log.mark()
    log.set(values, 1, "b")
    log.set(values, "k", "c")
    middle = log.mark()
    log.remove(values, 1)
    log.remove(values, "not there")
    assert [change[1:] for change in reversed(log)] == [(1, "b"), ("k", MISSING), (1, "a")]
    assert [change[1:] for change in log.forget(middle)] == [(1, "a"), ("k", MISSING)]
    assert (log.forget(middle), log.forget(start)) == ([], [])
    assert log.mark() == middle + 1
    with pytest.raises(AssertionError, match="cannot be taken back"):
        log.rollback(start)
    log.rollback(middle)
    assert values == {1: "b", "k": "c"}


# --------------------------------------------------------------------------- terms of accounts


def terms(account: str, status: AccountStatus, floor: str | None = "0", sequence: int = 5) -> AccountTerms:
    """Terms of an account."""
    lowest = None if floor is None else SignedAmount(floor)
    return AccountTerms(account=AccountKey(account), status=status, floor=lowest, sequence=sequence)


@pytest.mark.parametrize("first", ["the terms", "the account"])
def test_accounts_follow_their_terms_at_once(first: str) -> None:
    """Whichever came first; without terms again they are like every other account."""
    book = AccountBook()
    if first == "the account":
        book.add([book.make(KEY)])
    book.terms[ALICE] = terms(ALICE, AccountStatus.FROZEN, "-5")
    if first == "the terms":
        book.add([book.make(KEY)])
    account, other = book.find(ALICE), book.make(AccountKey(BOB))
    assert account is not None
    assert (account.klass.status, account.klass.is_guarded, account.floor) == (
        AccountStatus.FROZEN,
        True,
        -5 * 10**8,
    )
    assert (other.klass.status, other.klass.is_guarded, other.floor) == (AccountStatus.OPEN, False, 0)
    book.terms[ALICE] = terms(ALICE, AccountStatus.OPEN, "-5")
    assert (account.klass.is_guarded, account.floor) == (False, -5 * 10**8)
    assert (list(book.terms), len(book.terms), book.terms[ALICE].sequence) == ([ALICE], 1, 5)
    del book.terms[ALICE]
    assert (account.klass, account.floor, len(book.terms)) == (other.klass, 0, 0)


def test_terms_of_categories_without_a_floor() -> None:
    """They may be frozen, and keep falling as far as the range goes when they are open."""
    book = AccountBook()
    name = "REV:SYSTEM:FEE:USDT:TRADING"
    assert [default_floor(category) is None for category in AccountCategory] == [
        category not in (AccountCategory.ASSET, AccountCategory.LIABILITY) for category in AccountCategory
    ]
    book.terms[name] = terms(name, AccountStatus.FROZEN, None)
    account = book.make(AccountKey(name))
    assert (account.floor, account.klass.is_guarded) == (MIN_UNITS, True)


EXPECTED = {
    ("account_frozen", "open"): "frozen",
    ("account_frozen", "frozen"): AccountFrozen,
    ("account_frozen", "closed"): AccountClosed,
    ("account_reopened", "open"): Refused,
    ("account_reopened", "frozen"): "open",
    ("account_reopened", "closed"): "open",
    ("account_closed", "open"): "closed",
    ("account_closed", "frozen"): "closed",
    ("account_closed", "closed"): AccountClosed,
    ("limit_set", "open"): "open",
    ("limit_set", "frozen"): "frozen",
    ("limit_set", "closed"): AccountClosed,
}


def decision(kind: RecordKind, *, previous: int, account: str = ALICE) -> FrozenMap:
    """The payload of a decision about an account."""
    floor = {"floor": "-7"} if kind is RecordKind.LIMIT_SET else {}
    return FrozenMap({"account": account, "ledger": "x", "previous": previous, "reason": "r", **floor})


@pytest.mark.parametrize("kind", TRANSITIONS, ids=lambda kind: kind.value)
@pytest.mark.parametrize("status", AccountStatus, ids=STATUSES.get)
@pytest.mark.parametrize("floor", ["0", "-5"])
def test_what_follows_what(kind: RecordKind, status: AccountStatus, floor: str) -> None:
    """Each decision leads where the table says, keeps the floor but for its own, and names the one before."""
    book, log = AccountBook(), ChangeLog()
    book.terms[ALICE] = before = terms(ALICE, status, floor)
    expected = EXPECTED[kind.value, status.value]

    def take(previous: int) -> None:
        take_decision(kind, decision(kind, previous=previous), sequence=9, book=book, log=log)

    if isinstance(expected, type):
        with pytest.raises(expected) as caught:
            take(5)
        if isinstance(caught.value, Refused):
            assert (caught.value.rule, caught.value.account) == ("accounts/1", KEY)
        assert (dict(book.terms), log.mark()) == ({ALICE: before}, 0)
        return
    for stale in (0, 4, 9):
        with pytest.raises(NotAuthorised) as refused:
            take(stale)
        assert refused.value.reason == "stale"
    take(5)
    lowest = "-7" if kind is RecordKind.LIMIT_SET else floor
    assert book.terms[ALICE] == terms(ALICE, AccountStatus(expected), lowest, sequence=9)
    log.rollback(0)
    assert dict(book.terms) == {ALICE: before}


@pytest.mark.parametrize("kind", TRANSITIONS, ids=lambda kind: kind.value)
def test_the_first_decision_about_an_account(kind: RecordKind) -> None:
    """It follows nothing: such an account is open, with the floor of its category."""
    for account, floor in ((ALICE, "0"), ("EXP:SYSTEM:A:USDT:MAIN", None), (LOCKED, "0")):
        book, log = AccountBook(), ChangeLog()
        if kind is RecordKind.LIMIT_SET and account != ALICE:
            with pytest.raises(InvalidValue):
                take_decision(
                    kind, decision(kind, previous=0, account=account), sequence=9, book=book, log=log
                )
            continue
        if kind is RecordKind.ACCOUNT_REOPENED:
            with pytest.raises(Refused, match="nothing is left to reopen"):
                take_decision(
                    kind, decision(kind, previous=0, account=account), sequence=9, book=book, log=log
                )
            continue
        take_decision(kind, decision(kind, previous=0, account=account), sequence=9, book=book, log=log)
        status = AccountStatus(EXPECTED[kind.value, "open"])
        lowest = "-7" if kind is RecordKind.LIMIT_SET else floor
        assert dict(book.terms) == {account: terms(account, status, lowest, sequence=9)}
        log.rollback(0)
        assert not book.terms


def test_only_an_empty_account_is_closed() -> None:
    """Its own balance and what is held of it are looked at, overdrawn counts too; held money by itself."""
    book = AccountBook()
    check_empty(KEY, book)
    own, held = book.make(KEY), book.make(AccountKey(LOCKED))
    book.add([own, held])
    check_empty(KEY, book)
    for account in (own, held):
        for units in (1, -1):
            account.balance = units
            with pytest.raises(AccountNotEmpty) as caught:
                check_empty(KEY, book)
            assert (caught.value.account, str(caught.value.available)) == (
                account.key,
                str(SignedAmount.from_units(units)),
            )
            account.balance = 0
    own.balance = 1
    check_empty(AccountKey(LOCKED), book)
    check_empty(AccountKey(VAULT), book)


@pytest.mark.parametrize("status", AccountStatus, ids=STATUSES.get)
@pytest.mark.parametrize("delta", [-1, 0, 1])
def test_what_moves_by_the_terms(status: AccountStatus, delta: int) -> None:
    """Nothing leaves a frozen account and nothing moves on a closed one; the refusal names it."""
    book = AccountBook()
    book.terms[ALICE] = terms(ALICE, status)
    guarded, free, held = (book.make(AccountKey(name)) for name in (ALICE, BOB, LOCKED))
    refusal = check_terms([(free, -5), (held, -5), (guarded, delta), (free, 5)])
    if status is AccountStatus.CLOSED:
        assert isinstance(refusal, AccountClosed)
    elif status is AccountStatus.FROZEN and delta < 0:
        assert isinstance(refusal, AccountFrozen)
    else:
        assert refusal is None
        return
    assert (refusal.rule, refusal.account, refusal.asset) == ("accounts/1", KEY, "USDT")
    assert check_terms([(free, -5), (free, 5)]) is None


# --------------------------------------------------------------------------- attestations, copies


def key(number: int, name: str = "BERT_OPS") -> KeyringKey:
    """A key of a keyring."""
    return KeyringKey(
        signer_id=name,
        algorithm=SignatureAlgorithm.ED25519,
        public_key=bytes([number] * 32).hex(),
        roles=(Role.OPERATOR,),
        valid_from_sequence=1,
    )


def cited(line: int, digest: str = "5a" * 32) -> FrozenMap:
    """The payload of an attestation."""
    return FrozenMap({"hash": digest, "ledger": "x", "sequence": line})


def test_attestations_are_listed_by_line() -> None:
    """In the order of lines, then of records; what is taken back is not, and a copy goes its own way."""
    log = ChangeLog()
    book = AttestationBook(log)
    for sequence, line, number in ((10, 7, 1), (11, 3, 1), (12, 7, 2)):
        book.attest(cited(line), key(number), sequence=sequence)
    assert [(row.line, row.sequence) for row in book.all()] == [(3, 11), (7, 10), (7, 12)]
    other = book.copy(ChangeLog())
    mark = log.mark()
    book.attest(cited(3), key(2), sequence=13)
    assert (len(book.of(3)), len(other.of(3)), len(book.all()), len(other.all())) == (2, 1, 4, 3)
    for line in (14, 15):
        with pytest.raises(InvalidValue, match="is not an earlier line"):
            book.attest(cited(line), key(3), sequence=14)
    log.rollback(mark)
    assert book.all() == other.all()
    with pytest.raises(NotAuthorised) as caught:
        book.attest(cited(7), key(1, "SOMEBODY"), sequence=14)
    assert caught.value.reason == "same_key"


def test_what_was_attested_is_compared_with_the_line() -> None:
    """The same hash passes, another names the line of the attestation."""
    _, lines = found()
    line = decode_line(lines[0])
    book = AttestationBook(ChangeLog())
    book.attest(cited(1, line.hash), key(1), sequence=9)
    (good,) = book.all()
    check_attested(good, line)
    with pytest.raises(JournalCorrupt, match="there is, or was, another journal") as caught:
        check_attested(attrs.evolve(good, hash="5a" * 32), line)
    assert caught.value.sequence == 9


def test_a_trial_leaves_the_book_as_it_is() -> None:
    """What is noted in the copy is not in the book, and the other way round."""
    book = LinkBook()
    book.attestations.attest(cited(1), key(1), sequence=5)
    trial = book.trial()
    trial.attestations.attest(cited(1), key(2), sequence=6)
    book.attestations.attest(cited(2), key(1), sequence=6)
    assert [[row.line for row in each.attestations.all()] for each in (book, trial)] == [[1, 2], [1, 1]]
    assert book.overrides.open is not trial.overrides.open


def test_a_line_that_bears_a_key_only_counts_as_that() -> None:
    """A time when it counts, and a key, open and end nothing."""
    book = LinkBook()
    before = book.mark()
    book.note(5, (), EntryLinks(effective_at=NOON))
    assert book.mark() == before
    book.note(6, (), EntryLinks(idempotency=IdempotencyMark(key="k", digest="5a" * 32)))
    book.note_key("k", 7)
    book.forget(book.mark())
    assert (list(book.bearers("k")), book.durable_holds()) == ([7], [])


@pytest.mark.parametrize("threshold", [1, 2])
def test_who_could_decide_is_said(threshold: int) -> None:
    """The refusal names the persons whose signatures would pass, or says that there are too few."""
    ledger = governed(ANNA)
    policy = Policy(role=Role.OPERATOR, threshold=threshold)
    change(ledger, KeyringChange(policies={Purpose.RULES: policy}))
    with refused(ledger, "too_few"):
        ledger.governance.freeze(KEY, reason="r", correlation_id="f")
    with pytest.raises(NotAuthorised) as caught:
        ledger.governance.freeze(KEY, reason="r", correlation_id="f")
    assert caught.value.advice == (
        "signatures by 1 of ANNA_OPS would pass"
        if threshold == 1
        else "nothing would pass: the keyring has 1 persons with the role operator"
    )


def test_a_recovery_is_about_its_ledger() -> None:
    """It takes effect as a note only, and under no other subject."""
    machine, lines = found()
    torn: dict[str, JsonValue] = {"bytes": 5, "file": "2026-01-25.jsonl.torn-7", "sha256": "5a" * 32}
    record = recovery_record([torn], ledger_id=machine.ledger_id)
    with pytest.raises(InvalidValue, match="the subject of this recovery record is the ledger"):
        propose(machine, attrs.evolve(record, subject=ALICE))
    assert machine.head.sequence == 2
    lines += propose(machine, record).lines
    assert accept(lines).head == machine.head
