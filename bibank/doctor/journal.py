"""What the doctor says of the journal: what it is, who writes it, HEAD, the tail, torn bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bibank.doctor.findings import Finding, note, ok, problem, trouble
from bibank.doctor.look import Look, last_recovery
from bibank.errors import JournalCorrupt, JournalTorn, StoreUnavailable
from bibank.model.record import JournalRecord
from bibank.model.timestamp import format_timestamp
from bibank.store.jsonl.head import HeadMark, newest
from bibank.store.jsonl.plan import LOCK_NAME
from bibank.store.jsonl.repair import torn_before

_MOST_NAMED = 5
"""Files of torn bytes that a finding names; it counts the others."""


def journal_findings(look: Look) -> Iterator[Finding]:
    """Judge what lies in the directory `journal`."""
    yield _home(look)
    yield _lock(look)
    yield _journal(look)
    yield _head(look)
    yield _recovery(look)


def _home(look: Look) -> Finding:
    size = sum(found.size for name in look.names if (found := look.files.stat(name)) is not None)
    files = f"{len(look.names)} day {'file' if len(look.names) == 1 else 'files'}, {size} bytes"
    lines = f"{look.survey.head.sequence} lines in " if look.survey is not None else ""
    if look.ledger_id is None or look.first is None:
        return note(
            "home", f"{look.home.path}: {lines}{files}; the first line does not say which ledger it is"
        )
    form = look.first.metadata.get("bb.format")
    return ok("home", f"{look.home.path}: ledger {look.ledger_id}, format {form}, {lines}{files}")


def _lock(look: Look) -> Finding:
    found = look.files.stat(LOCK_NAME)
    if found is not None and not (found.is_regular and found.links == 1):
        return problem(
            "lock",
            f"{LOCK_NAME} is not a plain file with one name, so nobody can write the home; remove it",
            StoreUnavailable,
        )
    if look.holder is None:
        return ok("lock", "free: no process has the home open for writing")
    if look.holder.pid is None:
        return ok("lock", "held by a process that did not leave its name; one process writes a home")
    return ok("lock", f"held by process {look.holder.pid} on {look.holder.host}; one process writes a home")


def _journal(look: Look) -> Finding:
    survey = look.survey
    if survey is None:
        assert look.trouble is not None
        return trouble("journal", look.trouble)
    torn = survey.torn
    if torn is None:
        return ok(
            "journal",
            f"ends in a whole batch, at line {survey.head.sequence}; no line was verified: audit does that",
        )
    behind = f"{torn.size} bytes follow the last whole batch, which ends at line {survey.head.sequence}"
    if look.holder is not None:
        return note("journal", f"{torn.file}:{torn.line}: {behind}: a write is under way")
    error = JournalTorn(
        f"{torn.reason}: {behind}; a write was interrupted. Open the ledger for writing: it sets them aside",
        sequence=survey.head.sequence + 1,
        file=torn.file,
        line=torn.line,
    )
    return trouble("journal", error)


def _head(look: Look) -> Finding:
    slots = look.slots
    mark = newest(slots) if slots is not None else None
    if slots is None or mark is None:
        what = "HEAD is missing" if slots is None else "neither slot of HEAD is whole"
        return problem(
            "head",
            f"{what}: nothing says any more that lines were not cut off. Restore the journal, HEAD included, "
            "from a copy",
            JournalCorrupt,
        )
    names = ", ".join("torn" if slot is None else f"line {slot.sequence}" for slot in _pair(slots))
    words = (
        f"its slots name {names}; the newest, line {mark.sequence}, is a lower bound of what is on the disk"
    )
    if look.survey is None:
        return note("head", f"{words}; how far it is behind the journal cannot be said")
    behind = look.survey.head.sequence - mark.sequence
    words += f", {behind} behind the journal" if behind > 0 else ", and the journal ends there"
    if None in _pair(slots):
        return note(
            "head", f"{words}. One torn slot is what a crash leaves: the next writing of HEAD goes over it"
        )
    if behind > 0 and look.holder is None:
        return note(
            "head",
            f"{words}: the last writer did not close the ledger, or wrote with durability='none'. "
            "The next opening writes these lines again, syncs them and moves HEAD",
        )
    return ok("head", words)


def _pair(slots: Sequence[HeadMark | None]) -> list[HeadMark | None]:
    """Give both slots; a file that is too short lacks one."""
    return [*slots, None, None][:2]


def _recovery(look: Look) -> Finding:
    """Say what was set aside, what the journal records of it, and what it is still owed."""
    torn = {name: before for name in look.files.listdir() if (before := torn_before(name)) is not None}
    survey = look.survey
    if survey is None:
        words = [_listed(look, torn)] if torn else ["no file of torn bytes is there"]
        return note("recovery", f"{'; '.join(words)}; what the journal records of it was not looked for")
    after = survey.head.sequence
    record = last_recovery(look, [before for before in torn.values() if before <= after])
    words = []
    if torn:
        words.append(_listed(look, torn))
    if record is not None:
        words.append(_recorded(record))
    if any(before == after + 1 and _size(look, name) for name, before in torn.items()):
        words.append(
            f"the record of what was set aside before line {after + 1} is owed: the next commit brings it"
        )
    ahead = [before for before in torn.values() if before > after + 1]
    if ahead:
        words.append(
            f"the journal does not reach line {max(ahead)}, before which bytes were set aside: lines cut off "
            "do that, and a power cut where durability is none: compare with a copy"
        )
    if words:
        return note("recovery", "; ".join(words))
    return ok("recovery", "no file of torn bytes is there, and no recovery in the newest lines")


def _listed(look: Look, torn: dict[str, int]) -> str:
    newest_first = sorted(torn.items(), key=lambda item: (item[1], item[0]), reverse=True)
    words = []
    for name, before in newest_first[:_MOST_NAMED]:
        words.append(f"{name} ({_size(look, name)} bytes, before line {before})")
    more = f" and {len(torn) - _MOST_NAMED} more" if len(torn) > _MOST_NAMED else ""
    return f"set aside: {', '.join(words)}{more}"


def _size(look: Look, name: str) -> int:
    found = look.files.stat(name)
    return found.size if found is not None else 0


def _recorded(record: JournalRecord) -> str:
    files = record.body.get("set_aside")
    count = len(files) if isinstance(files, tuple) else 0
    when = format_timestamp(record.timestamp)
    return f"the last recovery record found is line {record.sequence}, of {when}, and names {count} of them"
