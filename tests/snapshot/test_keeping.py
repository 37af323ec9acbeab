"""When snapshots are made, how many are kept, and what happens when one cannot be made: nothing else."""

from __future__ import annotations

import os
import stat
from datetime import timedelta
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

import bibank as bb
from bibank import drafts
from bibank.home import Home
from bibank.journal.accounts import AccountColumns
from bibank.signing import Envelope, KeyringChange, Policy, Purpose, Role
from bibank.snapshots import files, keeper
from bibank.store.jsonl.writer import FREE_SPACE_FLOOR, PREALLOCATE_BYTES
from tests.ledger.operators import ANNA, OWN, agreeing, govern
from tests.snapshot.homes import Clock, create, reopen

_FAR = timedelta(days=9_999)


def sequences(home: Path) -> list[int]:
    """List the lines that a home has snapshots of."""
    return sorted(int(path.stem) for path in (home / "snapshots").glob("*.json"))


def deposits(ledger: bb.Ledger, count: int) -> None:
    """Add so many lines to one account."""
    for _ in range(count):
        ledger.deposit("ALICE", "1 USDT", correlation_id="d")


def test_a_snapshot_is_private_whole_and_says_where_it_is(tmp_path: Path) -> None:
    """0600 in a directory of 0700, that no repository takes in."""
    home = tmp_path / "books"
    with create(home, Clock()) as ledger:
        made = ledger.snapshot()
        assert ledger.snapshot() == made
        assert (made.sequence, made.hash) == (ledger.head.sequence, ledger.head.hash)
    assert made.path == home / "snapshots" / "0000000000000000002.json"
    assert stat.S_IMODE(made.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(made.path.parent.stat().st_mode) == 0o700
    assert (made.path.parent / ".gitignore").read_bytes() == b"*\n"


def test_two_are_kept(tmp_path: Path) -> None:
    """The newest, and one to fall back on."""
    home = tmp_path / "books"
    with create(home, Clock()) as ledger:
        for _ in range(4):
            deposits(ledger, 1)
            ledger.snapshot()
    assert sequences(home) == [5, 6]


def test_they_are_made_by_count(tmp_path: Path) -> None:
    """Every so many lines, by whichever kind of commit reaches them; a larger state waits for more lines."""
    home = tmp_path / "books"
    with create(home, Clock(), snapshot_every=10) as ledger:
        deposits(ledger, 7)
        assert sequences(home) == []
        deposits(ledger, 1)
        assert sequences(home) == [10]
        ledger.commit_each([drafts.deposit("ALICE", "1 USDT", correlation_id="e") for _ in range(12)])
        assert sequences(home) == [10, 22]
        everyone = [drafts.deposit(f"U{n}", "1 USDT", correlation_id="e") for n in range(123)]
        ledger.commit_batch(everyone)  # with ALICE, the vaults and the capital there are 128 accounts
        assert sequences(home) == [22, 145]
        deposits(ledger, 15)
        assert sequences(home) == [22, 145], "128 accounts put it off to 16 lines"
        deposits(ledger, 1)
        assert sequences(home) == [145, 161]


def test_keys_do_not_put_snapshots_off(tmp_path: Path) -> None:
    """Where every line bears a key, they come all the same; and the keeper is not asked at each commit."""
    home = tmp_path / "books"
    with create(home, Clock(), snapshot_every=10) as ledger:
        kept: Any = ledger._keeper
        asked: list[int] = []

        def when_due() -> None:
            asked.append(ledger.head.sequence)
            kept.when_due()

        ledger._committer.when_due = when_due
        made = set()
        for number in range(98):
            ledger.deposit("ALICE", "1 USDT", correlation_id="d", idempotency_key=f"k{number}")
            made |= set(sequences(home))
        assert sorted(made) == list(range(10, 101, 10))
        assert asked == sorted(made)
        machine: Any = ledger._committer.machine
        assert len(machine.links.keys) == 98
        machine.links.keys._size = 16 * 15  # as if there were so many
        deposits(ledger, 14)
        assert max(sequences(home)) == 100
        deposits(ledger, 1)
        assert max(sequences(home)) == 115


@pytest.mark.parametrize(
    ("every", "lines", "made"), [(None, 30, []), (100, 30, []), (10, 7, []), (20, 18, [20])]
)
def test_one_is_made_on_close(every: int | None, lines: int, made: list[int], tmp_path: Path) -> None:
    """When enough lines came since the newest, and never without leave."""
    home = tmp_path / "books"
    create(home, Clock(), snapshot_every=None).close()
    with reopen(home, Clock(), snapshot_every=every) as ledger:
        ledger.commit_each([drafts.deposit("ALICE", "1 USDT", correlation_id="d")] * lines)
        before = sequences(home)
    assert (sequences(home), set(before) <= set(made)) == (made, True)


def test_one_is_made_on_close_after_a_thousand_lines(tmp_path: Path) -> None:
    """By default; lines that were replayed count, and the next close has nothing to do."""
    home = tmp_path / "books"
    with create(home, Clock(), snapshot_every=None) as ledger:
        ledger.commit_each([drafts.deposit("ALICE", "1 USDT", correlation_id="d")] * 1_000)
    bb.Ledger.open(home, signer=OWN.signer, max_clock_jump=_FAR).close()
    assert sequences(home) == [1002]
    changed = (home / "snapshots" / f"{1002:019d}.json").stat().st_mtime_ns
    bb.Ledger.open(home, signer=OWN.signer, max_clock_jump=_FAR).close()
    assert (home / "snapshots" / f"{1002:019d}.json").stat().st_mtime_ns == changed


def test_a_snapshot_that_cannot_be_written_fails_no_commit_and_no_close(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged; asked for, it is an error; what was committed stands."""
    home = tmp_path / "books"
    with create(home, Clock(), snapshot_every=5) as ledger:
        (home / "snapshots").write_bytes(b"")
        deposits(ledger, 4)
        assert "no snapshot was made: cannot make" in caplog.text
        with pytest.raises(bb.StoreUnavailable):
            ledger.snapshot()
        deposits(ledger, 1)
        assert caplog.text.count("no snapshot was made") == 1, "and not again for every commit"
    assert caplog.text.count("no snapshot was made") == 2, "but on close"
    with reopen(home, Clock()) as ledger:
        assert ledger.head.sequence == 7


def test_a_rule_that_remembers_what_cannot_be_spelled_fails_no_commit(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An integer of more digits than Python writes."""

    class Huge:
        name = "huge/1"

        def check(self, entry: Any, view: Any) -> None:
            """Let it pass."""

        def apply(self, line: Any, state: Any) -> None:
            """Remember too much."""
            state["x"] = 10**5_000

    with create(tmp_path / "books", Clock(), Huge(), snapshot_every=3) as ledger:
        deposits(ledger, 2)
        with pytest.raises(bb.InvalidValue, match="does not spell"):
            ledger.snapshot()
    assert "no snapshot was made" in caplog.text


def test_a_snapshot_leaves_free_what_the_journal_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """On a nearly full disk none is made, nothing of it stays, and commits go on."""
    home = tmp_path / "books"
    floor = FREE_SPACE_FLOOR + PREALLOCATE_BYTES
    with create(home, Clock(), snapshot_every=4) as ledger:
        made = ledger.snapshot()
        size = made.path.stat().st_size
        free = floor + size // 2
        monkeypatch.setattr(Home, "free_bytes", lambda self: free)
        deposits(ledger, 5)
        assert "no snapshot was made: " in caplog.text
        with pytest.raises(bb.StoreFull, match="are free"):
            ledger.snapshot()
        assert set(os.listdir(home / "snapshots")) == {".gitignore", made.path.name}
        free = floor + 2 * size
        assert ledger.snapshot().sequence == 7


def test_a_disk_that_fills_up_meanwhile_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal goes on beside a large snapshot: the free space is looked at again and again."""
    home = tmp_path / "books"
    free = FREE_SPACE_FLOOR + PREALLOCATE_BYTES + 4_000
    written = os.write

    def write(handle: int, data: Any) -> int:
        nonlocal free
        taken = written(handle, data)
        free -= 3 * taken  # somebody else writes twice as much
        return taken

    with create(home, Clock()) as ledger:
        monkeypatch.setattr("bibank.home._WRITE_BYTES", 1_000)
        monkeypatch.setattr(Home, "free_bytes", lambda self: free)
        with monkeypatch.context() as patched:
            patched.setattr(os, "write", write)
            with pytest.raises(bb.StoreFull):
                files.write_snapshot(
                    Home(home), Envelope(kind="snapshot", payload={"a": 1}), b"x" * 3_000, sequence=2
                )
        assert free > FREE_SPACE_FLOOR
        assert os.listdir(home / "snapshots") == [".gitignore"]
        deposits(ledger, 1)


def test_snapshots_of_later_lines_do_not_drive_out_the_new_one(tmp_path: Path) -> None:
    """Strays of a journal that is gone: what was just made stays, and so do they."""
    home = tmp_path / "books"
    with create(home, Clock()) as ledger:
        made = ledger.snapshot()
        for sequence in (100, 200):
            (made.path.parent / f"{sequence:019d}.json").write_bytes(b"stray")
        for _ in range(3):
            deposits(ledger, 1)
            assert ledger.snapshot().path.is_file()
    assert sequences(home) == [4, 5, 100, 200]


def test_commits_go_on_while_a_state_is_sorted_and_spelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under the locks it is copied, and nothing else; what is committed meanwhile is not in it."""
    home = tmp_path / "books"
    gone_through = AccountColumns.__iter__
    with create(home, Clock()) as ledger:
        deposits(ledger, 1)

        def committing(self: AccountColumns) -> Any:
            thread = Thread(target=deposits, args=(ledger, 1))
            thread.start()
            thread.join(timeout=20)
            assert not thread.is_alive(), "the commit waits for the snapshot"
            return gone_through(self)

        monkeypatch.setattr(AccountColumns, "__iter__", committing)
        made = ledger.snapshot()
        monkeypatch.undo()
        assert (made.sequence, ledger.head.sequence) == (3, 4)
    assert [verdict.problem for verdict in bb.verify_snapshots(home)] == [None]


def test_a_failing_signer_fails_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key service may sign lines and refuse a snapshot."""
    home = tmp_path / "books"
    with create(home, Clock()) as ledger:

        def refuse(self: Any, signer: Any) -> Any:
            raise bb.KeystoreError("the service is away")

        monkeypatch.setattr("bibank.signing.dsse.Envelope.signed_by", refuse)
        with pytest.raises(bb.KeystoreError):
            ledger.snapshot()
        deposits(ledger, 1)
    assert sequences(home) == []


@pytest.mark.parametrize("options", [{"verify": "chain"}, {"durability": "none"}])
def test_an_opening_that_vouches_for_nothing_makes_none(options: Any, tmp_path: Path) -> None:
    """Signatures that nobody verified, lines that may not be on the disk."""
    home = tmp_path / "books"
    create(home, Clock()).close()
    with reopen(home, Clock(), snapshot_every=2, **options) as ledger:
        deposits(ledger, 3)
        with pytest.raises(bb.ConfigurationError, match="no snapshot is made"):
            ledger.snapshot()
    assert not (home / "snapshots").exists()


def test_ledgers_without_a_home_have_none(tmp_path: Path) -> None:
    """In memory, and forks."""
    ledger = bb.Ledger.in_memory({"USDT": "9"})
    with create(tmp_path / "books", Clock()) as other:
        for found in (ledger, ledger.fork(), other.fork()):
            with pytest.raises(bb.ConfigurationError, match="without a home"):
                found.snapshot()
        assert other.bind(correlation_id="x").snapshot().sequence == 2


@pytest.mark.parametrize("every", [0, -1, True, 1.5, "10"])
def test_a_misspelled_count_is_refused(every: Any, tmp_path: Path) -> None:
    """Before anything is made."""
    with pytest.raises(bb.ConfigurationError, match="snapshot_every"):
        create(tmp_path / "books", Clock(), snapshot_every=every)
    assert list(tmp_path.iterdir()) == []


def test_a_policy_that_the_own_key_cannot_satisfy_leaves_none(tmp_path: Path) -> None:
    """Operators are to sign snapshots: the ledger's key alone does not."""
    home = tmp_path / "books"
    with create(home, Clock()) as ledger:
        govern(ledger)
        change = KeyringChange(policies={Purpose.SNAPSHOT: Policy(role=Role.OPERATOR, threshold=1)})
        envelope = ledger.keyring.draft(change)
        for signer in agreeing(ledger):
            envelope = envelope.signed_by(signer)
        ledger.keyring.commit(envelope, correlation_id="k")
        with pytest.raises(bb.ConfigurationError, match="which the ledger's own key cannot give"):
            ledger.snapshot()
    assert sequences(home) == []
    assert ANNA.signer.signer_id


def test_a_poisoned_or_closed_ledger_makes_none(tmp_path: Path) -> None:
    """What memory knows then may not be on the disk."""
    home = tmp_path / "books"
    ledger = create(home, Clock(), snapshot_every=3)
    deposits(ledger, 3)
    committer: Any = ledger._committer
    committer._queue.poison = "a test"
    with pytest.raises(bb.LedgerPoisoned):
        ledger.snapshot()
    before = sequences(home)
    ledger.close()
    with pytest.raises(bb.LedgerClosed):
        ledger.snapshot()
    assert sequences(home) == before


def test_head_names_the_line_before_the_snapshot_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a power cut between the two could leave a snapshot ahead of its journal."""
    home = tmp_path / "books"
    seen: list[int] = []
    written = files.write_snapshot

    def write(*args: Any, **named: Any) -> Path:
        seen.append(bb.LedgerReader.open(home).head.sequence)
        return written(*args, **named)

    monkeypatch.setattr(keeper, "write_snapshot", write)
    with create(home, Clock()) as ledger:
        deposits(ledger, 5)
        assert ledger.snapshot().sequence == seen[0] == 7


def test_snapshots_in_the_middle_of_many_threads_are_of_whole_lines(tmp_path: Path) -> None:
    """Each is what the journal says at its line, while others commit."""
    home = tmp_path / "books"
    with create(home, Clock(), snapshot_every=25) as ledger:
        threads = [Thread(target=deposits, args=(ledger, 40)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(5):
            ledger.snapshot()
        for thread in threads:
            thread.join()
        ledger.snapshot()
    verdicts = bb.verify_snapshots(home)
    assert [verdict.problem for verdict in verdicts] == [None, None]
    assert verdicts[0].sequence == 162


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_a_crash_while_it_is_written_leaves_the_older_one(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the step, the directory holds whole snapshots and, at most, a file with another name."""
    home = tmp_path / "books"

    class Crash(BaseException):
        """The process ends here."""

    def crash(*args: Any, **named: Any) -> Any:
        raise Crash

    with create(home, Clock()) as ledger:
        ledger.snapshot()
        deposits(ledger, 1)
        with monkeypatch.context() as patched:
            patched.setattr(os, step, crash)
            with pytest.raises(Crash):
                files.write_snapshot(ledger._home, *_spelled(ledger), sequence=3)  # type: ignore[arg-type]  # it has one
    assert sequences(home) == [2]
    with reopen(home, Clock()) as ledger:
        assert ledger.head.sequence == 3


def _spelled(ledger: bb.Ledger) -> tuple[Any, bytes]:
    """Any envelope and state will do."""
    return Envelope(kind="snapshot", payload={"a": 1}), b"{}"
