"""Group cover: the last line's signature stands for its write group, and without it the group is torn."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest

import bibank as bb
from bibank import drafts
from bibank.audit import audit_lines
from bibank.journal.machine import LedgerMachine
from bibank.model.keyring import Keyring
from bibank.model.policy import Role
from bibank.risk.engine import RiskEngine
from bibank.signing import Ed25519Signer
from bibank.signing.trust import KeyringTrust
from bibank.store.jsonl.plan import survey_journal
from tests.journal.machines import Diary, spell
from tests.signing.forge import (
    NEXT,
    OWN,
    STRANGER,
    Forgery,
    Line,
    make,
    passes,
    refused,
    reopen,
    transfers,
    write_books,
    write_rotated,
)
from tests.store.journals import StillClock, tree

MISSING = "the signature that covers the last write group is missing"


@pytest.fixture
def books(tmp_path: Path) -> Path:
    """Nine lines under group cover: 1-2, 3, 4, 5-6 and 7-9 are groups; 2, 3, 4, 6 and 9 are signed."""
    return write_books(tmp_path / "books", mode="group")


def last_group(lines: list[Line]) -> int:
    """The first sequence of the last write group."""
    last = lines[-1]
    group: int = last.get("batch", {}).get("group", last["sequence"])
    return group


def torn_copies(home: Path) -> list[bytes]:
    """What recovery set aside, oldest first."""
    paths = (home / "journal").glob("*.torn-*")
    return [path.read_bytes() for path in sorted(paths, key=lambda path: (len(path.name), path.name))]


def test_only_the_last_line_of_a_group_is_signed(books: Path) -> None:
    """Under group cover every line says so, and the last one of each group is signed."""
    forgery = Forgery(books)
    assert [line["sequence"] for line in forgery.lines if "signatures" in line] == [2, 3, 4, 6, 9]
    assert all(line["batch"]["cover"] == "group" for line in forgery.lines)
    assert passes(books).signatures == 5


def test_an_uncovered_last_group_is_cut_back_to_its_start(books: Path) -> None:
    """A last group without its signature never happened: its bytes are set aside, whole batches too."""
    whole = b"".join(spell(line) + b"\n" for line in Forgery(books).lines[:6])
    forgery = Forgery(books)
    forgery.strip(9)
    forgery.save()
    data = forgery.path.read_bytes()
    before = tree(books)
    with pytest.raises(bb.JournalTorn, match=MISSING) as caught:
        bb.audit_home(books, level="signatures")
    assert (caught.value.line, tree(books)) == (7, before), "an audit repairs nothing"
    with reopen(books, mode="group") as ledger:
        assert ledger.head.sequence == 6
        assert ledger.deposit("A", "1 USDT", correlation_id="d2").sequence == 8
    assert forgery.path.read_bytes().startswith(whole)
    assert torn_copies(books) == [data[len(whole) :]]
    passes(books)


@pytest.mark.parametrize("kept", [7, 8])
def test_a_last_group_cut_between_its_lines(books: Path, kept: int) -> None:
    """Cutting off the end of a group, at a line, leaves a group without its signature: torn."""
    forgery = Forgery(books)
    del forgery.lines[kept:]
    forgery.save()
    with reopen(books) as ledger:
        assert ledger.head.sequence == 6
    assert len(torn_copies(books)) == 1
    passes(books)


def test_a_last_group_torn_at_every_byte(tmp_path: Path) -> None:
    """Wherever the last write of a group stopped, the group is gone as a whole and nothing before it is."""
    home = tmp_path / "books"
    with make(home, mode="group") as ledger:
        ledger.deposit("A", "100 USDT", correlation_id="d1")
        ledger.commit_each(transfers(2))
    forgery = Forgery(home)
    data = forgery.path.read_bytes()
    assert (len(forgery.lines), last_group(forgery.lines)) == (5, 4)
    start = sum(len(spell(line)) + 1 for line in forgery.lines[:3])
    for end in range(start, len(data)):
        fills = (0, len(data) - end) if end % 10 == 0 or end == start else (0,)
        for torn in (data[:end] + bytes(fill) for fill in fills):
            forgery.path.write_bytes(torn)
            plan = survey_journal(home / "journal")
            assert plan.head.sequence == 3, end
            if end == start:
                assert plan.torn is None, "nothing, or nothing but unwritten space"
            else:
                assert plan.torn is not None, end
                assert (plan.torn.offset, plan.torn.size) == (start, len(torn) - start), end
        if end % 50 == 0:
            reopen(home, mode="group").close()
            assert forgery.path.read_bytes() == data[:start]
            assert torn_copies(home)[-1] == torn[start:]
    forgery.path.write_bytes(data)
    assert passes(home).lines == 5


def test_a_whole_group_behind_an_uncovered_one(books: Path) -> None:
    """A group without its signature is no torn write when another group follows: it is refused."""
    forgery = Forgery(books)
    forgery.strip(6)
    reason = "line 6 ends a write group under group cover, and is not signed"
    refused(forgery.save(), reason, line=7)


def test_a_torn_group_behind_an_uncovered_one(books: Path) -> None:
    """Nor is it when the group that follows is torn itself."""
    forgery = Forgery(books)
    forgery.strip(6, 9)
    reason = "a write group follows one that lacks the signature covering it"
    refused(forgery.save(), reason, line=7)


@pytest.mark.parametrize("sequence", [4, 6, 9])
def test_a_covering_signature_that_is_wrong(books: Path, sequence: int) -> None:
    """A signature that is there and wrong is no torn write: nothing is cut, the ledger is refused."""
    forgery = Forgery(books)
    forgery[sequence]["signatures"][0]["signature"] = OWN.sign(b"something else").hex()
    refused(forgery.save(), "the signature of SYSTEM is not over this line", line=sequence)


def test_a_covering_signature_by_a_strangers_key(books: Path) -> None:
    """The last line signed by a key that is not in the keyring is refused, and not cut off."""
    forgery = Forgery(books)
    forgery.sign(9, STRANGER)
    refused(forgery.save(), "which is not in the keyring", line=9)


def test_a_covered_line_changed(books: Path) -> None:
    """A line without a signature of its own is covered through the chain: a change in it is found."""
    forgery = Forgery(books)
    forgery[7]["postings"][0]["amount"] = forgery[7]["postings"][1]["amount"] = "2"
    refused(forgery.save(), "hash", line=7)
    forgery.relink(7)
    refused(forgery.save(), "the signature of SYSTEM is not over this line", line=9)


@pytest.mark.parametrize("sequence", [7, 8, 9])
def test_mixed_cover_marks(books: Path, sequence: int) -> None:
    """Some lines of a group under cover and others not is no group."""
    forgery = Forgery(books)
    del forgery[sequence]["batch"]["cover"]
    forgery.relink(sequence, OWN)
    line = {7: 8}.get(sequence, sequence)
    refused(forgery.save(), "only some lines of write group 7 are under group cover", line=line)


def test_a_group_stripped_of_its_cover(books: Path) -> None:
    """Without the mark every line must be signed, and the mark is in the hash."""
    forgery = Forgery(books)
    for sequence in (7, 8, 9):
        del forgery[sequence]["batch"]["cover"]
    forgery.relink(7)
    refused(forgery.save(), "the line is not signed", line=7)


def test_forged_lines_under_a_cover_of_their_own(books: Path) -> None:
    """Unsigned lines appended as a covered group are what a crash may leave: set aside, never served."""
    forgery = Forgery(books)
    forgery.append()
    forgery[10]["batch"] = {"cover": "group"}
    forgery.relink(10)
    forgery.save()
    with reopen(books, mode="group") as ledger:
        assert ledger.head.sequence == 9
    assert torn_copies(books) == [spell(forgery[10]) + b"\n"]


def test_a_forged_line_that_extends_a_covered_group(books: Path) -> None:
    """A line appended to a group that is signed already takes its cover away, and with it the group."""
    forgery = Forgery(books)
    forgery.append()
    forgery[10]["batch"] = {"cover": "group", "group": 7}
    forgery.relink(10)
    forgery.save()
    with pytest.raises(bb.JournalTorn, match=MISSING):
        bb.audit_home(books, level="signatures")


def test_a_signature_within_a_group_covers_nothing_behind_it(books: Path) -> None:
    """A signature on an earlier line of a group is allowed, verified, and not enough."""
    forgery = Forgery(books)
    forgery.sign(7, OWN)
    assert passes(forgery.save()).signatures == 6
    forgery.sign(7, STRANGER)
    refused(forgery.save(), "which is not in the keyring", line=7)
    forgery.sign(7, OWN)
    forgery.strip(9)
    forgery.save()
    with pytest.raises(bb.JournalTorn, match=MISSING):
        bb.audit_home(books, level="signatures")


def test_a_rotation_under_group_cover(tmp_path: Path) -> None:
    """A rotation is a group of its own, covered by the new key."""
    home = write_rotated(tmp_path / "books", mode="group")
    assert passes(home, key=NEXT).signatures == 8
    forgery = Forgery(home)
    forgery.sign(11, OWN)
    refused(forgery.save(), "signs lines from 1 to 10, not line 11", line=11, key=NEXT)


def covered_unsigned_lines(tmp_path: Path) -> list[bytes]:
    """A journal of an unsigned ledger whose lines claim a cover that no key could give."""
    with make(tmp_path / "books", key=None) as ledger:
        ledger.deposit("A", "100 USDT", correlation_id="d1")
        ledger.deposit("A", "1 USDT", correlation_id="d2")
    forgery = Forgery(tmp_path / "books")
    forgery[3]["batch"] = {"cover": "group"}
    forgery.relink(3)
    return [spell(line) for line in forgery.lines]


@pytest.mark.parametrize("rules", [(), (Diary(),)], ids=["fast", "slow"])
def test_a_cover_that_nobody_gives(tmp_path: Path, rules: tuple[Diary, ...]) -> None:
    """Where the keyring asks for no signature, a line that claims a cover still needs one."""
    lines = covered_unsigned_lines(tmp_path)
    machine = LedgerMachine(RiskEngine(rules), KeyringTrust())
    for line in lines[:3]:
        machine.accept(line)
    with pytest.raises(bb.JournalCorrupt, match="line 3 ends a write group under group cover"):
        machine.check_end()
    with pytest.raises(bb.JournalCorrupt, match="line 3 ends a write group under group cover"):
        machine.accept(lines[3])


def test_a_bounded_audit_checks_the_cover_at_its_end() -> None:
    """An audit up to a date does not stop on a group whose covering signature is missing."""
    clock = StillClock("2026-01-25")
    ledger = bb.Ledger.in_memory({"USDT": "10"}, signer=OWN.signer, signing="group", clock=clock)
    ledger.deposit("A", "1 USDT", correlation_id="d1")
    clock.moment += timedelta(days=1)
    ledger.deposit("A", "1 USDT", correlation_id="d2")
    lines = list(ledger._committer.store.read())
    assert audit_lines(lines, until=date(2026, 1, 25), level="signatures").covered == 3
    lines[2] = lines[2].partition(b',"signatures"')[0] + b"}"
    with pytest.raises(bb.JournalCorrupt, match="under group cover"):
        audit_lines(lines, until=date(2026, 1, 25), level="signatures")


@pytest.mark.parametrize("where", ["memory", "home", "reopened", "bound"])
def test_a_first_key_signs_groups_where_the_ledger_was_asked_to(tmp_path: Path, where: str) -> None:
    """What `signing` said when an unsigned ledger was made or opened holds for the key that it gets later."""
    signer = Ed25519Signer(bytes(range(32)), signer_id="SYSTEM")
    path = tmp_path / "books"
    if where in ("home", "reopened"):
        ledger = bb.Ledger.create(path, opening={"USDT": "9"}, keyring=Keyring.unsigned(), signing="group")
    else:
        ledger = bb.Ledger.in_memory({"USDT": "9"}, signing="group")
    if where == "reopened":
        ledger.close()
        ledger = bb.Ledger.open(path, signing="group")
    with ledger.bind(correlation_id="r") if where == "bound" else ledger as used:
        used.keyring.add(signer, roles=(Role.SYSTEM,), correlation_id="k")
        entries = used.commit_batch([drafts.deposit("A", "1 USDT", correlation_id="r")] * 3)
        assert [entry.batch.cover for entry in entries] == ["group"] * 3
        assert [len(entry.signatures) for entry in entries] == [0, 0, 1]
        assert used.audit(level="signatures").lines == 6
