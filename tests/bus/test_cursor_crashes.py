"""Crashes in the middle of saving a cursor: the file is the old one or the new one, and nothing is lost.

A small model of the directory stands beside the real one. It learns of every call that concerns it, and says
what a power cut at that moment may leave: of the names any beginning of what was not synced, of a file's
content what was synced, or any part of the rest.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import attrs

import bibank as bb
from tests.bus.ears import Ear, deposit, home_at

NAME = "ear.json"
CALLS = ("open", "write", "fsync", "replace", "unlink", "close")


class Killed(BaseException):
    """The process is no more."""


@attrs.define
class File:
    """The content of a file: as written, and as far as it is on the disk for certain."""

    content: bytes = b""
    durable: bytes = b""

    def possible(self) -> set[bytes]:
        """What a power cut may leave of it."""
        if self.content == self.durable:
            return {self.durable}
        return {self.durable, self.content, self.content[: len(self.content) // 2], bytes(len(self.content))}


class Directory:
    """What a power cut may leave of the directory of the cursors; kills the process at one of its calls."""

    def __init__(self, path: Path, *, kill_at: int | None = None) -> None:
        self.path = path
        self.calls: list[str] = []
        self.kill_at = kill_at
        self.durable: dict[str, File] = {
            found.name: File(found.read_bytes(), found.read_bytes()) for found in path.iterdir()
        }
        self.pending: list[Callable[[dict[str, File]], object]] = []
        """Changes of names that are not synced."""
        self.handles: dict[int, File | None] = {}
        """Open files of ours; None for the directory itself."""
        self.states: set[bytes | None] = set()
        """Every content that the cursor file may have after a power cut at some moment; None without one."""

    def names(self, changes: int) -> dict[str, File]:
        """The names after some of the changes."""
        names = dict(self.durable)
        for change in self.pending[:changes]:
            change(names)
        return names

    def note(self) -> None:
        """Take down what a power cut at this moment may leave."""
        for changes in range(len(self.pending) + 1):
            found = self.names(changes).get(NAME)
            self.states |= {None} if found is None else found.possible()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Learn of every call that concerns the directory."""
        with ExitStack() as stack:
            for name in CALLS:
                stack.enter_context(patch.object(os, name, self._watch(name, getattr(os, name))))
            yield

    def _watch(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if not self._concerns(name, arguments):
                return real(*arguments, **options)
            self.note()
            self.calls.append(name)
            if self.kill_at is not None and len(self.calls) >= self.kill_at:
                raise Killed(name)  # also whatever is tried after it
            result = real(*arguments, **options)
            getattr(self, f"_{name}")(result, *arguments)
            self.note()
            return result

        return call

    def _concerns(self, name: str, arguments: tuple[Any, ...]) -> bool:
        if name in ("write", "fsync", "close"):
            return arguments[0] in self.handles
        path = Path(arguments[0])
        return path == self.path or (path.parent == self.path and not path.name.endswith(".lock"))

    def _open(self, handle: int, path: Path, flags: int, *_mode: int) -> None:
        name = Path(path).name
        if Path(path) == self.path:
            self.handles[handle] = None
        elif flags & os.O_CREAT:
            made = File()
            self.pending.append(lambda names: names.update({name: made}))
            self.handles[handle] = made

    def _write(self, taken: int, handle: int, data: bytes) -> None:
        file = self.handles[handle]
        assert file is not None
        file.content += bytes(data)[:taken]

    def _fsync(self, _result: None, handle: int) -> None:
        file = self.handles[handle]
        if file is not None:
            file.durable = file.content
        else:
            self.durable, self.pending = self.names(len(self.pending)), []

    def _replace(self, _result: None, source: Path, target: Path) -> None:
        old, new = Path(source).name, Path(target).name
        self.pending.append(lambda names: names.update({new: names.pop(old)}))

    def _unlink(self, _result: None, path: Path) -> None:
        name = Path(path).name
        self.pending.append(lambda names: names.pop(name, None))

    def _close(self, _result: None, handle: int) -> None:
        del self.handles[handle]


def home_with_a_cursor(path: Path) -> bytes:
    """Make a home of five lines whose `ear` is done with line 4; give its cursor file."""
    with home_at(path) as ledger:
        ledger.bus.subscribe(Ear())
        deposit(ledger, 3)
        ledger.bus.pump(limit=2)
    return (path / "cursors" / NAME).read_bytes()


def act(path: Path) -> None:
    """Save a cursor in every way: at the subscription, for a replay, and in the end."""
    with home_at(path) as ledger:
        ledger.bus.subscribe(Ear())
        ledger.bus.pump()
        ledger.bus.replay_from(3)
        ledger.bus.pump()


def check_goes_on(path: Path) -> int | None:
    """Demand that a subscriber is told everything behind some place, up to the end; give the first."""
    ear = Ear()
    with home_at(path) as ledger:
        ledger.bus.subscribe(ear, after_sequence=2)
        ledger.bus.pump()
        assert ear.sequences == list(range(6 - len(ear.sequences), 6))
    return ear.sequences[0] if ear.sequences else None


def test_a_power_cut_leaves_the_old_cursor_or_a_new_one(tmp_path: Path) -> None:
    """At no moment is there a file that says less than a whole cursor, or none at all where one was."""
    before = home_with_a_cursor(tmp_path / "books")
    directory = Directory(tmp_path / "books" / "cursors")
    with directory.watched():
        act(tmp_path / "books")
    assert directory.calls.count("replace") == 3
    assert before in directory.states
    assert None not in directory.states
    firsts = set()
    for number, content in enumerate(sorted(filter(None, directory.states))):
        copy = tmp_path / f"copy{number}"
        shutil.copytree(tmp_path / "books", copy)
        (copy / "cursors" / NAME).write_bytes(content)
        firsts.add(check_goes_on(copy))
    assert firsts == {None, 3, 5}


def test_a_first_cursor_is_there_or_not(tmp_path: Path) -> None:
    """Where there was none, a power cut leaves none or a whole one; behind `subscribe`, a whole one."""
    with home_at(tmp_path / "books") as ledger:
        ledger.bus.subscribe(Ear("other"))
        directory = Directory(tmp_path / "books" / "cursors")
        with directory.watched():
            ledger.bus.subscribe(Ear())
        whole = (tmp_path / "books" / "cursors" / NAME).read_bytes()
        assert directory.states == {None, whole}
        directory.states.clear()
        directory.note()
        assert directory.states == {whole}


def test_a_replay_has_gone_back_durably_when_it_returns(tmp_path: Path) -> None:
    """From then on no power cut leaves the cursor of before."""
    before = home_with_a_cursor(tmp_path / "books")
    with home_at(tmp_path / "books") as ledger:
        ledger.bus.subscribe(Ear())
        directory = Directory(tmp_path / "books" / "cursors")
        with directory.watched():
            ledger.bus.replay_from(3)
            directory.states.clear()
            directory.note()
            assert len(directory.states) == 1
            assert before not in directory.states


def test_a_kill_at_any_call_leaves_a_cursor_to_go_on_from(tmp_path: Path) -> None:
    """The process ends before a call to the directory, for each of them; the next one goes on."""
    home_with_a_cursor(tmp_path / "before")
    number, firsts = 0, set()
    while True:
        number += 1
        books = tmp_path / f"books{number}"
        shutil.copytree(tmp_path / "before", books)
        directory = Directory(books / "cursors", kill_at=number)
        with directory.watched(), suppress(Killed):
            act(books)
        if len(directory.calls) < number:
            break
        killed = tmp_path / f"killed{number}"
        shutil.copytree(books, killed)  # another place: what the killed one has locked is not in our way
        firsts.add(check_goes_on(killed))
    assert number > 12
    assert firsts == {None, 3, 5}


def test_a_ledger_is_not_disturbed_by_a_subscriber_that_cannot_be_saved(tmp_path: Path) -> None:
    """An interrupt while a cursor is saved comes out of `pump`, and of nothing else."""
    home_with_a_cursor(tmp_path / "books")
    with home_at(tmp_path / "books") as ledger:
        ear = Ear()
        ledger.bus.subscribe(ear)
        directory = Directory(tmp_path / "books" / "cursors", kill_at=1)
        with directory.watched():
            assert deposit(ledger, 2) == [6, 7]
            with suppress(Killed):
                ledger.bus.pump()
            assert deposit(ledger) == [8]
        ledger.bus.pump()
        assert sorted(set(ear.sequences)) == [5, 6, 7, 8]
        with bb.LedgerReader.open(tmp_path / "books") as reader:
            assert reader.ledger_id == ledger.ledger_id
