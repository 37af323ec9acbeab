"""Idempotency keys: the first result for the same request, however asked and however long ago."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

import bibank as bb
from bibank import drafts
from bibank.journal.key_index import KeyIndex
from bibank.journal.link_book import LinkBook
from bibank.model.entry import tied_to_trade, with_key
from bibank.model.links import IdempotencyMark

Lookup = Callable[[bb.Ledger], Any]
MOMENT = datetime(2026, 1, 25, tzinfo=UTC)

VERBS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "deposit": (
        lambda verbs, **common: verbs.deposit("BOB", "1 USDT", **common),
        lambda verbs, **common: verbs.deposit("BOB", "2 USDT", **common),
    ),
    "withdraw": (
        lambda verbs, **common: verbs.withdraw("ALICE", "1 USDT", **common),
        lambda verbs, **common: verbs.withdraw("BOB", "1 USDT", **common),
    ),
    "transfer": (
        lambda verbs, **common: verbs.transfer("ALICE", "BOB", "1 USDT", **common),
        lambda verbs, **common: verbs.transfer("ALICE", "BOB", "1 USDT", effective_at=MOMENT, **common),
    ),
    "fee": (
        lambda verbs, **common: verbs.fee("ALICE", "1 USDT", **common),
        lambda verbs, **common: verbs.fee("ALICE", "1 USDT", kind=bb.FeeKind.MARGIN, **common),
    ),
    "trade": (
        lambda verbs, **common: trade(verbs, bb.TradeFee("ALICE", "0.1 USDT"), **common),
        lambda verbs, **common: trade(verbs, bb.TradeFee("ALICE", "0.2 USDT"), **common),
    ),
    "hold": (
        lambda verbs, **common: verbs.hold("ALICE", "1 USDT", to="SHOP", **common),
        lambda verbs, **common: verbs.hold("ALICE", "1 USDT", to=bb.WITHDRAWAL, **common),
    ),
    "post_hold": (
        lambda verbs, **common: verbs.post_hold(5, "3", **common),
        lambda verbs, **common: verbs.post_hold(5, **common),
    ),
    "void_hold": (
        lambda verbs, **common: verbs.void_hold(5, **common),
        lambda verbs, **common: verbs.void_hold(5, metadata={"why": "late"}, **common),
    ),
    "reverse": (
        lambda verbs, **common: verbs.reverse(3, "1", **common),
        lambda verbs, **common: verbs.reverse(3, "2", **common),
    ),
}


def trade(verbs: Any, *fees: bb.TradeFee, **common: Any) -> Any:
    """A small trade with fees."""
    return verbs.trade(
        maker="ALICE", maker_gives="1 USDT", taker="BOB", taker_gives="0.1 BTC", fees=fees, **common
    )


class Books:
    """A ledger on disk with some money and one hold (line 5), which can be opened again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ledger = bb.Ledger.create(path, opening={"USDT": "100", "BTC": "1"}, durability="none")
        self.ledger.deposit("ALICE", "50 USDT", correlation_id="r")
        self.ledger.deposit("BOB", "1 BTC", correlation_id="r")
        assert self.ledger.hold("ALICE", "10 USDT", to="SHOP", correlation_id="r").id == 5

    def reopen(self) -> bb.Ledger:
        """The same ledger after a restart."""
        self.ledger.close()
        self.ledger = bb.Ledger.open(self.path, durability="none")
        return self.ledger


@pytest.fixture
def books(tmp_path: Path) -> Any:
    """A ledger that can be opened again."""
    books = Books(tmp_path / "books")
    yield books
    books.ledger.close()


@pytest.mark.parametrize("verb", VERBS)
def test_the_same_request_gives_the_first_result(books: Books, verb: str) -> None:
    """Also after other commits, with another correlation id, and after a restart; money moves once."""
    ask, _ = VERBS[verb]
    first = ask(books.ledger, correlation_id="try-1", idempotency_key="k")
    books.ledger.deposit("CAROL", "1 USDT", correlation_id="r")
    head, accounts = books.ledger.head, books.ledger.accounts()
    assert ask(books.ledger, correlation_id="try-2", idempotency_key="k") == first
    assert ask(books.ledger.bind(correlation_id="b"), idempotency_key="k") == first
    assert ask(books.reopen(), correlation_id="try-3", idempotency_key="k") == first
    assert (books.ledger.head, books.ledger.accounts()) == (head, accounts)


@pytest.mark.parametrize("verb", VERBS)
def test_another_request_under_the_key_is_a_conflict(books: Books, verb: str) -> None:
    """The error names the key and the line that bears it, before and after a restart; nothing changes."""
    ask, other = VERBS[verb]
    ask(books.ledger, correlation_id="r", idempotency_key="k")
    for restarted in ("not yet", "since"):
        ledger = books.reopen() if restarted == "since" else books.ledger
        head = ledger.head
        for call in (other, VERBS["deposit"][1]):
            with pytest.raises(bb.IdempotencyConflict, match="'k' belongs to line 6") as caught:
                call(ledger, correlation_id="r", idempotency_key="k")
            assert (caught.value.key, caught.value.sequence, caught.value.rule) == ("k", 6, "idempotency/1")
        assert ledger.head == head


def test_spelling_does_not_matter(books: Books) -> None:
    """What is compared is what was asked for, not how amounts and owners were written."""
    owner = UUID("00112233-4455-6677-8899-aabbccddeeff")
    first = books.ledger.deposit(owner, "1.50 USDT", correlation_id="r", idempotency_key="k")
    again = books.ledger.deposit(
        owner.hex.upper(), bb.Money(bb.Amount("1.5"), "USDT"), correlation_id="s", idempotency_key="k"
    )
    assert again == first


def test_two_keys_and_no_key_are_requests_of_their_own(books: Books) -> None:
    """The same words under another key, or under none, move money again."""
    asked = [{"idempotency_key": "k1"}, {"idempotency_key": "k2"}, {}, {}]
    entries = [books.ledger.deposit("BOB", "1 USDT", correlation_id="r", **key) for key in asked]  # type: ignore[arg-type]  # two strings
    assert len({entry.sequence for entry in entries}) == 4


def test_a_key_may_be_a_uuid(books: Books) -> None:
    """A UUID is its text."""
    key = UUID(int=7)
    first = books.ledger.deposit("BOB", "1 USDT", correlation_id="r", idempotency_key=key)
    assert books.ledger.deposit("BOB", "1 USDT", correlation_id="r", idempotency_key=str(key)) == first


@pytest.mark.parametrize("key", ["", "x" * 129, "ti\nme", "caff\u00e8", 5, b"k"])
def test_keys_that_are_none(books: Books, key: Any) -> None:
    """A key is 1 to 128 printable ASCII characters; anything else is refused and changes nothing."""
    draft = drafts.deposit("BOB", "1 USDT", correlation_id="r")
    for call in (
        lambda: books.ledger.deposit("BOB", "1 USDT", correlation_id="r", idempotency_key=key),
        lambda: books.ledger.commit(draft, idempotency_key=key),
        lambda: books.ledger.commit_each([bb.Keyed(entries=draft, idempotency_key=key)]),
        lambda: books.ledger.batch(correlation_id="r", idempotency_key=key),
    ):
        with pytest.raises(bb.InvalidInput):
            call()
    assert books.ledger.head.sequence == 5


def test_the_key_of_a_refused_request_is_free(books: Books) -> None:
    """A refusal leaves no key behind: the same key may then pass, or serve something else."""
    with pytest.raises(bb.InsufficientBalance):
        books.ledger.transfer("CAROL", "BOB", "1 USDT", correlation_id="r", idempotency_key="k")
    books.ledger.deposit("CAROL", "1 USDT", correlation_id="r")
    entry = books.ledger.transfer("CAROL", "BOB", "1 USDT", correlation_id="r", idempotency_key="k")
    with pytest.raises(bb.InsufficientBalance):
        books.ledger.transfer("CAROL", "BOB", "1 USDT", correlation_id="r", idempotency_key="l")
    other = books.ledger.deposit("CAROL", "2 USDT", correlation_id="r", idempotency_key="l")
    assert (entry.sequence, other.sequence) == (7, 8)


def test_the_key_is_looked_up_before_anything_is_judged(books: Books) -> None:
    """A retry of what could not happen any more still gets its result: balances and rules are not asked."""
    paid = books.ledger.transfer("ALICE", "BOB", "40 USDT", correlation_id="r", idempotency_key="k")
    ended = books.ledger.post_hold(5, correlation_id="r", idempotency_key="p")
    ledger = books.reopen()
    assert ledger.transfer("ALICE", "BOB", "40 USDT", correlation_id="r", idempotency_key="k") == paid
    assert ledger.post_hold(5, correlation_id="r", idempotency_key="p") == ended
    with pytest.raises(bb.HoldNotOpen):
        ledger.post_hold(5, correlation_id="r")


@pytest.mark.parametrize(
    "other",
    [
        lambda ledger: ledger.post_hold(5, "99", correlation_id="r", idempotency_key="p"),
        lambda ledger: ledger.void_hold(3, correlation_id="r", idempotency_key="p"),
        lambda ledger: ledger.reverse(99, correlation_id="r", idempotency_key="p"),
    ],
    ids=["too much", "no hold", "no line"],
)
def test_a_conflict_is_told_before_the_verb_is_expanded(books: Books, other: Lookup) -> None:
    """A used key is the answer, also where the other request could not have been drafted at all."""
    books.ledger.post_hold(5, correlation_id="r", idempotency_key="p")
    with pytest.raises(bb.IdempotencyConflict):
        other(books.ledger)


def test_a_preview_says_what_a_key_comes_to(books: Books) -> None:
    """Looking uses no key up; what was committed under a used one is not done again, or is a conflict."""
    item = bb.Keyed(entries=drafts.deposit("BOB", "1 USDT", correlation_id="r"), idempotency_key="k")
    assert len(books.ledger.preview(item)) == 2
    assert books.ledger.commit_each([item]).committed[0].entry.sequence == 6
    assert len(books.ledger.preview(item)) == 0
    other = bb.Keyed(entries=drafts.deposit("BOB", "2 USDT", correlation_id="r"), idempotency_key="k")
    with pytest.raises(bb.IdempotencyConflict):
        books.ledger.preview(other)


@pytest.mark.parametrize("key", [None, "", 5, "x" * 129, "caf\u00e9"], ids=repr)
def test_a_keyed_item_has_a_key(key: Any) -> None:
    """An item that could not be told from one without a key cannot be made."""
    draft = drafts.deposit("BOB", "1 USDT", correlation_id="r")
    with pytest.raises(bb.InvalidInput):
        bb.Keyed(entries=draft, idempotency_key=key)


def test_the_key_of_a_batch_stands_on_its_first_entry(books: Books) -> None:
    """A retried block gives all entries of the first; another block is a conflict, one in a verb refused."""

    def run(amount: str) -> tuple[bb.JournalEntry, ...]:
        with books.ledger.batch(correlation_id="r", idempotency_key="k") as batch:
            batch.deposit("BOB", amount)
            batch.post_hold(5, "4")
        return batch.entries

    first = run("1 USDT")
    assert [sorted(entry.metadata) for entry in first] == [
        ["bb.idempotency_digest", "bb.idempotency_key"],
        ["bb.hold"],
    ]
    assert run("1.0 USDT") == first
    books.reopen()
    assert run("1 USDT") == first
    with pytest.raises(bb.IdempotencyConflict):
        run("2 USDT")
    with (
        pytest.raises(bb.InvalidValue, match="whole batch"),
        books.ledger.batch(correlation_id="r") as batch,
    ):
        batch.deposit("BOB", "1 USDT", idempotency_key="k")


def test_commit_and_commit_batch_and_keyed_are_one_request(books: Books) -> None:
    """The digest of drafts is of the drafts, whichever way they come in; correlation ids do not count."""
    one, two = (drafts.deposit("BOB", "1 USDT", correlation_id=name) for name in "rs")
    entry = books.ledger.commit(one, idempotency_key="k")
    assert books.ledger.commit_batch([two], idempotency_key="k") == (entry,)
    outcomes = books.ledger.commit_each(
        [
            bb.Keyed(entries=two, idempotency_key="k"),
            bb.Keyed(entries=[one, two], idempotency_key="k"),
            bb.Keyed(entries=[one, two], idempotency_key="l"),
            bb.Keyed(entries=(two, one), idempotency_key="l"),
        ]
    )
    assert [type(outcome).__name__ for outcome in outcomes] == [
        "Committed",
        "IdempotencyConflict",
        "Committed",
        "Committed",
    ]
    assert [list(outcome.sequences) for outcome in outcomes.committed] == [[6], [7, 8], [7, 8]]
    assert outcomes.committed[0].entries == (entry,)
    with pytest.raises(bb.IdempotencyConflict):
        books.ledger.deposit("BOB", "1 USDT", correlation_id="r", idempotency_key="k")


@pytest.mark.parametrize(
    "changes",
    [
        {"metadata": {"note": "x"}},
        {"effective_at": MOMENT},
        {"money": "2 USDT"},
        {"owner": "CAROL"},
        {"money": "1 BTC"},
    ],
    ids=repr,
)
def test_a_draft_that_differs_is_another_request(books: Books, changes: dict[str, Any]) -> None:
    """Postings and metadata of drafts count, whatever was changed of them."""
    asked = {"owner": "BOB", "money": "1 USDT", "correlation_id": "r"}
    books.ledger.commit(drafts.deposit(**asked), idempotency_key="k")  # type: ignore[arg-type]  # three texts
    for call in (books.ledger.commit, lambda draft, **key: books.ledger.commit_batch([draft], **key)):
        with pytest.raises(bb.IdempotencyConflict):
            call(drafts.deposit(**{**asked, **changes}), idempotency_key="k")


def test_a_draft_bears_no_key_of_its_own(books: Books) -> None:
    """A key is given to the request; a draft that was forged with one is refused."""
    draft = drafts.deposit("BOB", "1 USDT", correlation_id="r")
    forged = with_key(draft, IdempotencyMark(key="k", digest="0" * 64))
    with pytest.raises(bb.InvalidValue, match="idempotency_key"):
        books.ledger.commit(forged)
    with pytest.raises(bb.InvalidMetadata):
        drafts.deposit("BOB", "1 USDT", correlation_id="r", metadata={"bb.idempotency_key": "k"})


def test_keys_with_the_same_hash_cost_a_look_and_nothing_else(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another key with the same hash is told by reading its line; the right one may come last."""
    monkeypatch.setattr(KeyIndex, "_hash", lambda self, key: 7)
    asked: Any = {"owner": "BOB", "money": "1 USDT", "correlation_id": "r"}
    made = [books.ledger.deposit(**asked, idempotency_key=f"other-{number}") for number in range(5)]
    for number, entry in enumerate(made):
        assert books.ledger.deposit(**asked, idempotency_key=f"other-{number}") == entry
    assert books.ledger.deposit(**asked, idempotency_key="new").sequence == made[-1].sequence + 1


@pytest.mark.parametrize("wrong", [2, 4, 8])
def test_a_line_that_cannot_be_meant_is_an_error(
    books: Books, monkeypatch: pytest.MonkeyPatch, wrong: int
) -> None:
    """It bears no key, or one of another hash: index or line was altered, and nothing is committed twice."""
    books.ledger.deposit("BOB", "1 USDT", correlation_id="r", idempotency_key="k")
    for number in range(5):
        books.ledger.deposit("BOB", "1 USDT", correlation_id="r", idempotency_key=f"other-{number}")
    before = books.ledger.head
    with monkeypatch.context() as patched:
        patched.setattr(LinkBook, "bearers", lambda self, key: iter([wrong]))
        with pytest.raises(bb.JournalCorrupt, match="idempotency key"):
            books.ledger.deposit("BOB", "1 USDT", correlation_id="r", idempotency_key="k")
    assert books.ledger.head == before
    books.ledger.deposit("BOB", "1 USDT", correlation_id="r", idempotency_key="later")


def test_the_digest_is_of_what_was_asked(books: Books) -> None:
    """SHA-256 of JCS{verb, arguments}: by `hashlib` and sorted JSON alone."""
    entry = books.ledger.transfer(
        "ALICE", "BOB", "1.50 USDT", correlation_id="r", idempotency_key="k", metadata={"b": 1, "a": [True]}
    )
    asked = {
        "verb": "transfer",
        "arguments": {
            "payer": "ALICE",
            "payee": "BOB",
            "money": "1.5 USDT",
            "effective_at": None,
            "metadata": {"a": [True], "b": 1},
        },
    }
    spelled = json.dumps(asked, sort_keys=True, separators=(",", ":")).encode()
    assert entry.metadata["bb.idempotency_digest"] == hashlib.sha256(spelled).hexdigest()
    assert entry.metadata["bb.idempotency_key"] == "k"


def test_a_key_in_a_conflict_says_who_bears_it_in_a_batch(books: Books) -> None:
    """The line that a conflict names is the bearer: the first entry of its batch."""
    VERBS["trade"][0](books.ledger, correlation_id="r", idempotency_key="k")
    with pytest.raises(bb.IdempotencyConflict) as caught:
        books.ledger.deposit("BOB", "1 USDT", correlation_id="r", idempotency_key="k")
    assert books.ledger.entry(caught.value.sequence).intent is bb.TransactionIntent.TRADE


def test_a_batch_shows_what_a_used_key_comes_to(books: Books) -> None:
    """Inside a block under a used key, nothing would be done again, although the hold has ended."""

    def run() -> int:
        with books.ledger.batch(correlation_id="r", idempotency_key="k") as batch:
            batch.post_hold(5)
            return len(batch.preview())

    assert (run(), run()) == (2, 0)


@pytest.mark.parametrize("intent", ["fee", "deposit"])
def test_a_draft_that_names_a_trade_by_itself_is_refused(books: Books, intent: str) -> None:
    """Only sealing ties a fee to a trade: a draft that says so beforehand never reaches the journal."""
    ledger = books.ledger
    make = drafts.fee if intent == "fee" else drafts.deposit
    forged = tied_to_trade(make("ALICE", "1 USDT", correlation_id="r"), 3)
    before = ledger.head
    for act in (
        lambda: ledger.commit(forged),
        lambda: ledger.commit(forged, idempotency_key="k"),
        lambda: ledger.commit_batch([forged]),
        lambda: ledger.commit_each([forged]),
        lambda: ledger.preview(forged),
    ):
        with pytest.raises(bb.InvalidValue, match="leave that to it"):
            act()
    assert ledger.head == before


def test_a_line_that_cannot_be_read_poisons_nothing(tmp_path: Path) -> None:
    """A retry on a fork whose ledger was closed is a store error, and the fork goes on."""
    ledger = bb.Ledger.create(tmp_path / "books", opening={"USDT": "9"})
    draft = drafts.deposit("ALICE", "1 USDT", correlation_id="r")
    ledger.commit(draft, idempotency_key="k")
    fork = ledger.fork()
    ledger.close()
    keyed = bb.Keyed(entries=draft, idempotency_key="k")
    for act in (
        lambda: fork.commit(draft, idempotency_key="k"),
        lambda: fork.deposit("ALICE", "1 USDT", correlation_id="r", idempotency_key="k"),
        lambda: fork.commit_each([keyed]),
        lambda: fork.commit_each([draft, keyed]),
        lambda: fork.preview(keyed),
    ):
        with pytest.raises(bb.StoreError):
            act()
    assert fork.commit(draft).sequence == 5
    assert str(fork.balance("ALICE", "USDT").posted) == "3"


class UnreadableStore(bb.MemoryStore):
    """A host's store that raises an error of its own when it is read."""

    broken = False

    def read(self, *, after_sequence: int = 0) -> Any:
        """Fail while broken."""
        if self.broken:
            raise ConnectionResetError
        return super().read(after_sequence=after_sequence)


def test_an_error_of_a_hosts_store_is_a_store_error() -> None:
    """What a store raises while a key is looked up comes out typed, and the ledger goes on."""
    store = UnreadableStore()
    ledger = bb.Ledger(store=store, opening={"USDT": "9"}).bind(correlation_id="r")
    first = ledger.deposit("ALICE", "1 USDT", idempotency_key="k")
    store.broken = True
    with pytest.raises(bb.StoreUnavailable):
        ledger.deposit("ALICE", "1 USDT", idempotency_key="k")
    store.broken = False
    assert ledger.deposit("ALICE", "1 USDT", idempotency_key="k") == first
