"""The state of a ledger at a line, as columns of JSON: every field of what replay folds, and nothing derived.

`SAVED` and `DERIVED` name every attribute of every class involved, so that a new one is decided upon. A state
is taken where everything is on the disk and the write group is closed; the same journal gives the same
bytes, whether its lines were sealed here or read, under the same salt of the key index.
"""

from __future__ import annotations

import gc
import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import islice
from operator import lt
from typing import Any, NamedTuple

import attrs

from bibank.errors import BibankError, InvalidValue
from bibank.journal.accounts import Account, AccountBook, AccountClass, TermsTable
from bibank.journal.approvals import ApprovalBook, OpenProposal
from bibank.journal.attestations import AttestationBook
from bibank.journal.change_log import ChangeLog
from bibank.journal.key_index import SALT_BYTES, KeyIndex
from bibank.journal.link_book import LinkBook
from bibank.journal.machine import LedgerMachine
from bibank.journal.overrides import Override, OverrideBook
from bibank.journal.position import Position
from bibank.journal.reader import LineReader
from bibank.journal.rule_sets import RuleBook, RuleSet
from bibank.model.account import AccountCategory
from bibank.model.account_terms import AccountTerms
from bibank.model.amount import MAX_UNITS, MIN_UNITS
from bibank.model.hold import Hold
from bibank.model.timestamp import parse_timestamp
from bibank.risk.engine import RiskEngine
from bibank.risk.view import RuleState
from bibank.snapshots.values import read_value, spell_value
from bibank.store.jsonl.days import DayPlace

STATE_VERSION = 1
"""Counts up when the state changes: a snapshot of another version is not read, the journal is."""

SAVED: Mapping[type, frozenset[str]] = {
    LedgerMachine: frozenset(),
    Position: frozenset({"sequence", "hash", "timestamp"}),
    LineReader: frozenset({"rules", "ledger_id", "entries", "records"}),
    RuleBook: frozenset({"_versions"}),
    AccountBook: frozenset({"_by_text", "_stored", "terms"}),
    TermsTable: frozenset({"_terms"}),
    Account: frozenset({"text", "balance"}),
    AccountClass: frozenset({"category", "asset", "is_locked"}),
    LinkBook: frozenset({"_holds", "_reversed", "keys", "approvals", "overrides", "attestations"}),
    KeyIndex: frozenset({"salt", "_segments"}),
    ApprovalBook: frozenset({"_open"}),
    OverrideBook: frozenset({"open", "_given"}),
    AttestationBook: frozenset({"_by_line"}),
    ChangeLog: frozenset(),
    RiskEngine: frozenset(),
    RuleState: frozenset({"_values"}),
}
"""The attributes that a state holds, by class."""

_SHARED = "the same object as elsewhere in the machine"
_CLOSED = "what it says is of an open write group, and a state is taken where it is closed"
_WHOLE = "empty between two batches"
_FINAL = "empty where everything is final"
_MADE = "made again from what is saved"

DERIVED: Mapping[type, Mapping[str, str]] = {
    LedgerMachine: {
        **dict.fromkeys(("_gate", "_past", "_overrides"), _SHARED),
        **dict.fromkeys(("book", "links", "position", "_reader"), "saved by its own class"),
        "_trust": "read from the journal's own lines",
        "forks": "a fork lives in memory, and has no snapshots",
        "cover": "set when a write group begins",
    },
    Position: {
        "moment": "read from the timestamp",
        **dict.fromkeys(("group", "group_lines", "group_bytes", "cover", "unsigned"), _CLOSED),
        "batch": _WHOLE,
    },
    LineReader: {
        **dict.fromkeys(("_book", "_links", "_position", "_gate", "_trust", "_overrides"), _SHARED),
        **dict.fromkeys(("_pending", "_fresh"), _WHOLE),
        "fork_id": "a fork lives in memory, and has no snapshots",
    },
    RuleBook: {},
    AccountBook: {"_classes": _MADE, "_sorted": _MADE, "_unread": "counted again", "find": _SHARED},
    TermsTable: {"_follow": _SHARED},
    Account: {"klass": "from the columns it stands in, and its terms", "floor": "from class and terms"},
    AccountClass: {
        "status": "open, until the terms are read",
        **dict.fromkeys(("is_guarded", "debit_sign", "floor"), _MADE),
    },
    LinkBook: {"_paid": _WHOLE, "_fresh_keys": _FINAL, "log": "saved by its own class"},
    KeyIndex: {**dict.fromkeys(("_counts", "_size"), "counted again"), "_hasher": "made from the salt"},
    ApprovalBook: {"_log": _SHARED, "_reached": _WHOLE},
    OverrideBook: {"_log": _SHARED},
    AttestationBook: {"_log": _SHARED},
    ChangeLog: {"_changes": _FINAL, "_forgotten": "only differences of marks are asked for"},
    RiskEngine: {
        **dict.fromkeys(("_rules", "_written", "_supply", "_claimed"), "the host's own"),
        **dict.fromkeys(("_judges", "_stateful", "_adopted", "_missing"), "from the rule set in force"),
        "_undo": _FINAL,
        "_forgotten": "only differences of marks are asked for",
    },
    RuleState: {"_undo": _SHARED},
}
"""The attributes that it does not hold, and why."""


_BOOKS: Mapping[str, tuple[type, type]] = {
    "terms": (str, AccountTerms),
    "holds": (int, Hold),
    "reversed": (int, int),
    "proposals": (int, OpenProposal),
    "overrides": (int, Override),
    "given": (str, int),
    "attestations": (int, tuple),
}
"""What the mappings of the books are from and to."""


class Columns(NamedTuple):
    """The accounts of one category and asset, held money apart, in order of their keys.

    Keys are spelled as one text with spaces between them: read many times faster than a text each.
    """

    category: AccountCategory
    asset: str
    is_locked: bool
    texts: list[str]
    balances: list[int]


@attrs.frozen(kw_only=True, eq=False)
class State:
    """A state apart from any machine. What it holds is its own, and is not changed."""

    days: tuple[DayPlace, ...]
    position: Mapping[str, Any]
    counts: Mapping[str, Any]
    rule_sets: tuple[RuleSet, ...]
    accounts: tuple[Columns, ...]
    books: Mapping[str, Mapping[Any, Any]]
    """Mappings of the books, by name; spelled as two columns."""
    salt: bytes
    keys: Mapping[int, bytes]
    memory: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(cls, machine: LedgerMachine, engine: RiskEngine, days: tuple[DayPlace, ...]) -> State:
        """Take the state of a machine that is settled; whoever asks holds its lock."""
        return cls.copied(machine, engine, days)()

    @classmethod
    def copied(
        cls, machine: LedgerMachine, engine: RiskEngine, days: tuple[DayPlace, ...]
    ) -> Callable[[], State]:
        """Copy what a state is made of; what is given makes it, and needs no lock any more.

        Whoever asks holds the machine's lock, and nobody commits meanwhile: so nothing is sorted here.
        """
        position, reader = machine.position, _reader(machine)
        assert position.batch is None, "a state is taken between two batches"
        accounts = machine.book.copy_columns()
        books = {name: dict(book) for name, book in _books(machine).items()}
        taken = partial(
            cls,
            days=days,
            position={name: getattr(position, name) for name in ("sequence", "hash", "timestamp")},
            counts={name: getattr(reader, name) for name in ("ledger_id", "entries", "records")},
            rule_sets=tuple(_inner(reader.rules, "_versions")),
            salt=machine.links.keys.salt,
            keys=machine.links.keys.dump(),
            memory=engine.memory(),
        )
        return lambda: taken(
            accounts=tuple(Columns(*columns) for columns in accounts),
            books={name: dict(sorted(book.items())) for name, book in books.items()},
        )

    def restore(self, machine: LedgerMachine, engine: RiskEngine) -> None:
        """Bring a new machine of that salt, and an engine of the same rules, to where this was taken."""
        position, reader = machine.position, _reader(machine)
        for name, value in self.position.items():
            setattr(position, name, value)
        position.moment = parse_timestamp(position.timestamp)
        for name, value in self.counts.items():
            setattr(reader, name, value)
        _inner(reader.rules, "_versions")[:] = self.rule_sets
        for columns in self.accounts:
            machine.book.store(*columns)
        for name, book in _books(machine).items():
            book.update(self.books[name])
        machine.links.keys.load(self.keys, last_sequence=position.sequence)
        engine.recall(machine.rules.current, self.memory)
        machine.settle()

    def spell(self) -> bytes:
        """Spell the state as one line of ASCII JSON, without the newline; `InvalidValue` if it cannot be."""
        document = {
            "version": STATE_VERSION,
            "position": self.position,
            "counts": self.counts,
            "days": [list(attrs.astuple(day)) for day in self.days],
            "rule_sets": spell_value(self.rule_sets),
            "accounts": [
                [c.category.value, c.asset, c.is_locked, " ".join(c.texts), c.balances] for c in self.accounts
            ],
            "books": {
                name: [list(book), list(map(spell_value, book.values()))] for name, book in self.books.items()
            },
            "salt": self.salt.hex(),
            "keys": [list(self.keys), [b64encode(data).decode() for data in self.keys.values()]],
            "memory": self.memory,
        }
        try:
            return json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
        except (ValueError, RecursionError) as error:
            raise InvalidValue(f"a rule remembers what JSON does not spell: {error}") from error


def read_state(data: bytes) -> State:
    """Read what :meth:`State.spell` gives; an `InvalidInput` kind for anything else."""
    try:
        with collecting_nothing():
            return _read(json.loads(data))
    except BibankError:
        raise
    except (
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        AttributeError,
        RecursionError,
        StopIteration,
    ) as error:
        raise InvalidValue(f"the state is not spelled as one: {type(error).__name__}") from error


def _read(document: dict[str, Any]) -> State:
    if type(document["version"]) is not int or document["version"] != STATE_VERSION:
        raise InvalidValue(f"the state is of version {document['version']!r}, not {STATE_VERSION}")
    salt = bytes.fromhex(document["salt"])
    if len(salt) > SALT_BYTES:
        raise InvalidValue("the salt is too long")
    numbers, segments = document["keys"]
    state = State(
        days=tuple(
            DayPlace(name=name, size=size, first_sequence=first, lines=lines)
            for name, size, first, lines in document["days"]
        ),
        position=document["position"],
        counts=document["counts"],
        rule_sets=_read_rule_sets(document["rule_sets"]),
        accounts=tuple(map(_read_columns, document["accounts"])),
        books={name: _read_book(name, columns) for name, columns in document["books"].items()},
        salt=salt,
        keys=dict(zip(numbers, (b64decode(text, validate=True) for text in segments), strict=True)),
        memory={
            name: {key: read_value(value) for key, value in values.items()}
            for name, values in document["memory"].items()
        },
    )
    if (
        set(state.position) != {"sequence", "hash", "timestamp"}
        or set(state.counts) != {"ledger_id", "entries", "records"}
        or set(state.books) != set(_BOOKS)
    ):
        raise InvalidValue("the state does not have the members of one")
    return state


def _read_columns(columns: list[Any]) -> Columns:
    category, asset, is_locked, joined, balances = columns
    texts = joined.split(" ")
    if (
        set(map(type, balances)) != {int}
        or len(texts) != len(balances)
        or not MIN_UNITS <= min(balances) <= max(balances) <= MAX_UNITS
        or not all(map(lt, texts, islice(texts, 1, None)))
        or type(is_locked) is not bool
    ):
        raise InvalidValue("a column of accounts holds what is no account, or no balance")
    return Columns(AccountCategory(category), asset, is_locked, texts, balances)


def _read_book(name: str, columns: list[Any]) -> dict[Any, Any]:
    keys, values = columns
    key_type, value_type = _BOOKS[name]
    if value_type is not int:  # of which there may be many
        values = list(map(read_value, values))
    if not set(map(type, keys)) <= {key_type} or not set(map(type, values)) <= {value_type}:
        raise InvalidValue(f"the book of {name} holds what does not belong there")
    return dict(zip(keys, values, strict=True))


def _read_rule_sets(spelled: object) -> tuple[RuleSet, ...]:
    value = read_value(spelled)
    if not isinstance(value, tuple) or set(map(type, value)) != {RuleSet}:
        raise InvalidValue("a state has at least one rule set")
    return value


def _reader(machine: LedgerMachine) -> LineReader:
    reader: LineReader = _inner(machine, "_reader")
    return reader


def _books(machine: LedgerMachine) -> dict[str, Any]:
    """Give the mappings that a state holds, by the name that they have there."""
    links = machine.links
    return {
        "terms": machine.book.terms,
        "holds": _inner(links, "_holds"),
        "reversed": _inner(links, "_reversed"),
        "proposals": _inner(links.approvals, "_open"),
        "overrides": links.overrides.open,
        "given": _inner(links.overrides, "_given"),
        "attestations": _inner(links.attestations, "_by_line"),
    }


def _inner(owner: object, name: str) -> Any:  # noqa: ANN401 - whatever that attribute is
    """Reach into an object: the one place outside the machine that has to know all of it."""
    return getattr(owner, name)


@contextmanager
def collecting_nothing() -> Iterator[None]:
    """Keep the collector from looking again and again at a million objects that are all needed."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
