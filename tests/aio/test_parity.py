"""The face for asyncio has what the ledger has: its names, its parameters, awaited where the disk is.

The tables say which is which. A public name of the ledger that stands in none of them fails here.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

import bibank as bb
from bibank.aio import LedgerOpening

AWAITED = """
    adopt_rules attestations audit close commit commit_batch commit_each deposit entries entry fee fee_totals
    flush_head fork hold line pending post_hold preview project record records reverse snapshot statement
    trade trades transfer trial_balance void_expired_holds void_hold withdraw
"""
"""What touches the disk."""

PLAIN = "account_terms bind holds terms_of"
"""What looks at memory only."""

EITHER = "accounts balance balances"
"""Plain; awaited as of a point in time, which is answered from the disk."""

PROPERTIES = "bus governance head keyring ledger_id rules"

OPENINGS = "create open open_or_create"
"""Awaited, or entered with `async with`."""

EXCEPTIONS = {
    "batch": "gives an AsyncBatch, which is entered with `async with`",
    "in_memory": "plain: there is no disk",
    "verified_lines": "gives lines to projections one by one, from threads: ask `sync_ledger` for it there",
}
"""Names that are treated in another way, or that are not there, and why."""

FACES: dict[str, tuple[type, type, str, str]] = {
    "batch": (
        bb.Batch,
        bb.AsyncBatch,
        "post_hold preview reverse void_hold",
        "add deposit fee hold trade transfer withdraw",
    ),
    "governance": (
        bb.Governance,
        bb.AsyncGovernance,
        "approve attest close commit draft_approval draft_attestation freeze limit override propose reopen",
        "draft_decision draft_override draft_proposal",
    ),
    "keyring": (bb.LedgerKeyring, bb.AsyncKeyring, "add commit revoke rotate", "draft"),
}
"""The other faces: what they stand for, what is awaited, what is plain; all else is a property."""


def public(thing: type) -> set[str]:
    """Name the public attributes of a class."""
    return {name for name in dir(thing) if not name.startswith("_")}


def same_parameters(one: Callable[..., Any], other: Callable[..., Any]) -> bool:
    """Compare names, kinds, defaults and annotations."""
    return inspect.signature(one).parameters == inspect.signature(other).parameters


def returned(method: Callable[..., Any]) -> Any:
    """Give the annotation of what a method returns."""
    return inspect.signature(method).return_annotation


def test_every_public_name_stands_in_one_table() -> None:
    """Nothing of the ledger is forgotten, and nothing is in two tables."""
    tables = [AWAITED, PLAIN, EITHER, PROPERTIES, OPENINGS, " ".join(EXCEPTIONS)]
    names = [name for table in tables for name in table.split()]
    assert sorted(names) == sorted(public(bb.Ledger))


def test_nothing_else_is_there() -> None:
    """The face has no names of its own but the way to the ledger that blocks."""
    assert public(bb.AsyncLedger) - public(bb.Ledger) == {"sync_ledger"}
    assert public(bb.Ledger) - public(bb.AsyncLedger) == {"verified_lines"}


@pytest.mark.parametrize("name", AWAITED.split())
def test_what_touches_the_disk_is_awaited(name: str) -> None:
    """A coroutine function with the same parameters and result."""
    found, blocking = getattr(bb.AsyncLedger, name), getattr(bb.Ledger, name)
    assert inspect.iscoroutinefunction(found)
    assert same_parameters(found, blocking)
    assert returned(found) == returned(blocking)
    assert found.__doc__


@pytest.mark.parametrize("name", PLAIN.split())
def test_what_looks_at_memory_is_plain(name: str) -> None:
    """No coroutine, the same parameters and result."""
    found, blocking = getattr(bb.AsyncLedger, name), getattr(bb.Ledger, name)
    assert not inspect.iscoroutinefunction(found)
    assert same_parameters(found, blocking)
    assert returned(found) == returned(blocking)
    assert found.__doc__


@pytest.mark.parametrize("name", EITHER.split())
def test_what_may_be_asked_as_of_a_point_in_time(name: str) -> None:
    """The same parameters; the result, or what is awaited for it."""
    found, blocking = getattr(bb.AsyncLedger, name), getattr(bb.Ledger, name)
    assert not inspect.iscoroutinefunction(found)
    assert same_parameters(found, blocking)
    assert returned(found) == f"{returned(blocking)} | Awaitable[{returned(blocking)}]"


@pytest.mark.parametrize("name", PROPERTIES.split())
def test_properties_are_properties(name: str) -> None:
    """What is no call there is none here."""
    found = inspect.getattr_static(bb.AsyncLedger, name)
    assert isinstance(found, property)
    assert found.__doc__ is not None


@pytest.mark.parametrize("name", OPENINGS.split())
def test_openings_have_the_same_parameters(name: str) -> None:
    """They are no coroutine functions: what they give is awaited, or entered."""
    found, blocking = getattr(bb.AsyncLedger, name), getattr(bb.Ledger, name)
    assert not inspect.iscoroutinefunction(found)
    assert same_parameters(found, blocking)
    opening = found("nowhere")
    assert isinstance(opening, LedgerOpening)
    assert hasattr(opening, "__await__")
    assert hasattr(opening, "__aenter__")


def test_the_exceptions_have_the_same_parameters_too() -> None:
    """What is treated in another way is asked for in the same."""
    assert same_parameters(bb.AsyncLedger.batch, bb.Ledger.batch)
    assert same_parameters(bb.AsyncLedger.in_memory, bb.Ledger.in_memory)


@pytest.mark.parametrize("face", FACES)
def test_the_other_faces(face: str) -> None:
    """Batch, governance and keyring have all names, the same parameters, and await what their table says."""
    blocking, found, awaited, plain = FACES[face]
    properties = public(blocking) - {*awaited.split(), *plain.split()}
    assert public(found) == public(blocking)
    for name in properties:
        assert isinstance(inspect.getattr_static(found, name), property)
    for name in (*awaited.split(), *plain.split()):
        method = getattr(found, name)
        assert inspect.iscoroutinefunction(method) == (name in awaited.split())
        assert same_parameters(method, getattr(blocking, name))
        assert returned(method) == returned(getattr(blocking, name))


def test_a_difference_is_seen() -> None:
    """A check that cannot fail is none: another default, or another name, is told apart."""

    def one(self: object, a: int = 1) -> None: ...
    def other(self: object, a: int = 2) -> None: ...
    def third(self: object, b: int = 1) -> None: ...

    assert not same_parameters(one, other)
    assert not same_parameters(one, third)
