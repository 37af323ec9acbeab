"""The link book: marks and rollbacks against copies, and what is shown while changes may be taken back."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bibank.journal.drafts import transfer
from bibank.journal.hold_drafts import hold
from bibank.journal.link_book import LinkBook
from bibank.model.entry import Posting
from bibank.model.hold import Hold
from bibank.model.links import EntryLinks, IdempotencyMark

LOCKED, SHOP = "LIAB:USER:ALICE:USDT:LOCKED", "LIAB:USER:SHOP:USDT:AVAILABLE"


class Naive:
    """What the book must know, copied whole at every mark."""

    def __init__(self) -> None:
        self.holds: dict[int, int] = {}
        self.paid: dict[int, int] = {}
        self.reversed: dict[int, int] = {}
        self.keys: dict[str, set[int]] = {}


def note(book: LinkBook, naive: Naive, sequence: int, step: tuple[str, int, int]) -> None:
    """Let both note one line."""
    kind, number, units = step
    postings: tuple[Posting, ...]
    if kind == "open":
        draft = hold("ALICE", f"{units} USDT", to="SHOP", correlation_id="r")
        book.note(sequence, draft.postings, draft.links)
        naive.holds[sequence] = units * 10**8
    elif kind == "pay":
        postings = (Posting.debit(LOCKED, units), Posting.credit(SHOP, units))
        book.note(sequence, postings, EntryLinks(hold=number))
        if number in naive.holds:
            naive.paid[number] = naive.paid.get(number, 0) + units * 10**8
            if naive.paid[number] >= naive.holds[number]:
                del naive.holds[number], naive.paid[number]
    elif kind == "reverse":
        postings = transfer("ALICE", "BOB", f"{units} USDT", correlation_id="r").postings
        book.note(sequence, postings, EntryLinks(reverses=number))
        naive.reversed[number] = naive.reversed.get(number, 0) + units * 10**8
    else:
        mark = IdempotencyMark(key=f"k{sequence}", digest="0" * 64)
        book.note(sequence, (), EntryLinks(idempotency=mark))
        naive.keys.setdefault(f"k{sequence}", set()).add(sequence)


def check(book: LinkBook, naive: Naive, *, last: int) -> None:
    """Demand that the book knows what the copy knows."""
    for sequence in range(last + 2):
        found = book.hold(sequence)
        assert (found is not None) == (sequence in naive.holds)
        if found is not None:
            assert found.money.amount.units == naive.holds[sequence]
            assert book.remaining(found) == naive.holds[sequence] - naive.paid.get(sequence, 0)
        assert book.reversed_units(sequence) == naive.reversed.get(sequence, 0)
        assert set(book.bearers(f"k{sequence}")) == naive.keys.get(f"k{sequence}", set())


steps = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(["open", "pay", "pay", "reverse", "key"]), st.integers(1, 5), st.integers(1, 3)
        ),
        st.tuples(st.sampled_from(["mark", "rollback", "forget"]), st.integers(0, 5), st.just(0)),
    ),
    max_size=40,
)


@given(steps)
def test_marks_are_like_copies(history: list[tuple[str, int, int]]) -> None:
    """After a rollback the book knows what it knew at the mark; what was forgotten stays noted."""
    book, naive = LinkBook(), Naive()
    marks: list[tuple[int, Naive, int]] = [(book.mark(), copy.deepcopy(naive), 0)]
    final, sequence = Naive(), 0
    for step in history:
        kind, number, _ = step
        if kind == "mark":
            marks.append((book.mark(), copy.deepcopy(naive), sequence))
        elif kind == "rollback":
            del marks[number % len(marks) + 1 :]
            mark, then, sequence = marks[-1]
            book.rollback(mark)
            naive = copy.deepcopy(then)
        elif kind == "forget":
            del marks[: number % len(marks)]
            book.forget(marks[0][0])
            final = copy.deepcopy(marks[0][1])
        else:
            sequence += 1
            note(book, naive, sequence, step)
        check(book, naive, last=sequence)
        assert {found.id: found.money.amount.units for found in book.durable_holds()} == final.holds
    book.forget(book.mark())
    check(book, naive, last=sequence)
    assert [found.id for found in book.durable_holds()] == sorted(naive.holds)


def test_what_was_forgotten_is_not_taken_back() -> None:
    """A mark before it is void."""
    book, naive = LinkBook(), Naive()
    mark = book.mark()
    note(book, naive, 1, ("open", 0, 1))
    book.forget(book.mark())
    with pytest.raises(AssertionError):
        book.rollback(mark)


def test_a_key_is_found_before_and_after_it_is_final() -> None:
    """A fresh key moves into the index when it can no longer be taken back, and not before."""
    book = LinkBook()
    before = book.mark()
    book.note_key("k", 7)
    keys: Any = book.keys
    assert (list(book.bearers("k")), len(keys)) == ([7], 0)
    book.rollback(before)
    assert list(book.bearers("k")) == []
    book.note_key("k", 8)
    book.forget(book.mark())
    assert (list(book.bearers("k")), len(keys)) == ([8], 1)
    assert not book._fresh_keys, "nothing is kept twice"


def test_ending_what_is_not_open_is_noted_as_nothing() -> None:
    """The book judges nothing: on reading, an end without a hold leaves no trace."""
    book, naive = LinkBook(), Naive()
    note(book, naive, 5, ("pay", 3, 1))
    assert (book.hold(3), book.durable_holds()) == (None, [])


def test_a_hold_of_the_book_is_the_hold_of_its_entry() -> None:
    """Owner, money, payee and expiry are read from the line."""
    draft = hold("ALICE", "3 USDT", to="SHOP", correlation_id="r")
    book = LinkBook()
    book.note(9, draft.postings, draft.links)
    opened = book.hold(9)
    assert isinstance(opened, Hold)
    assert (opened.id, str(opened.money), str(opened.payee), opened.expires_at) == (9, "3 USDT", SHOP, None)
