"""Planted mutants: each durability rule broken once, to see that the harness notices.

A mutant is a change of the library's source text, made in memory. The text that it replaces has to be
there, so a mutant that no longer fits is an error and not a survivor.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import attrs


@attrs.frozen(kw_only=True)
class Mutant:
    """A rule, and how it is broken: in a module, a text is replaced by another."""

    name: str
    module: str
    old: str
    new: str


WRITER, HEAD, PLAN = "bibank.store.jsonl.writer", "bibank.store.jsonl.head", "bibank.store.jsonl.plan"
REPAIR, TAIL, SURVEY = "bibank.store.jsonl.repair", "bibank.store.jsonl.tail", "bibank.store.jsonl.survey"
FILES, MACHINE = "bibank.store.jsonl.files", "bibank.journal.machine"
SEALING, QUEUE = "bibank.sealing", "bibank.write_queue"

_FIRST_IMPORT = "from __future__ import annotations\n"
_EARLY_HEAD = """self._head_file.write(HeadMark(
                sequence=group.head.sequence, hash=group.head.hash, file=name, end=end + len(data)))
            if self._syncs:"""
_RETRIED = """try:
                    self._files.fdatasync(handle)
                except OSError:
                    self._files.fdatasync(handle)"""
_SHRUGGED = """with suppress(OSError):
                    self._files.fdatasync(handle)"""

MUTANTS = (
    Mutant(
        name="a group is not synced",
        module=WRITER,
        old="            if self._syncs:\n                self._files.fdatasync(handle)",
        new="            pass",
    ),
    Mutant(
        name="a new day file is not made known to its directory",
        module=WRITER,
        old="        try:\n            self._files.fsync_dir()",
        new="        try:\n            pass",
    ),
    Mutant(
        name="a failed sync is tried again",
        module=WRITER,
        old="self._files.fdatasync(handle)",
        new=_RETRIED,
    ),
    Mutant(
        name="a failed sync is taken for a good one",
        module=WRITER,
        old="self._files.fdatasync(handle)",
        new=_SHRUGGED,
    ),
    Mutant(
        name="HEAD names a group before it is synced",
        module=WRITER,
        old="            if self._syncs:\n                self._files.fdatasync(handle)",
        new=f"            {_EARLY_HEAD}\n                self._files.fdatasync(handle)",
    ),
    Mutant(
        name="preallocated space is taken for content",
        module=WRITER,
        old="write_all_at(self._files, handle, data, offset=end)",
        new="write_all_at(self._files, handle, data, offset=max(self._allocated, end))",
    ),
    Mutant(
        name="HEAD is made without a sync",
        module=HEAD,
        old="            files.fdatasync(handle)\n            files.fsync_dir()\n",
        new="            files.fsync_dir()\n",
    ),
    Mutant(
        name="HEAD is one slot",
        module=HEAD,
        old="_SLOTS = 2",
        new="_SLOTS = 1",
    ),
    Mutant(
        name="unsynced bytes are served without being written again",
        module=PLAN,
        old="            rewrite(self._files, days.files, self.mark)\n",
        new="",
    ),
    Mutant(
        name="torn bytes stay where they are",
        module=PLAN,
        old="            if found is not None and found.size > size:",
        new="            if False:",
    ),
    Mutant(
        name="torn bytes are cut off and not set aside",
        module=PLAN,
        old="        if self.torn is not None:\n            repaired.append",
        new="        if False:\n            repaired.append",
    ),
    Mutant(
        name="the copy of torn bytes is not synced",
        module=REPAIR,
        old="            offset += len(part)\n        files.fdatasync(handle)\n",
        new="            offset += len(part)\n",
    ),
    Mutant(
        name="the copy of torn bytes is not known to its directory",
        module=REPAIR,
        old="    files.fsync_dir()\n\n\ndef _parts",
        new="\n\ndef _parts",
    ),
    Mutant(
        name="bytes are written again and not synced",
        module=REPAIR,
        old="                start += len(part)\n            files.fdatasync(handle)\n",
        new="                start += len(part)\n",
    ),
    Mutant(
        name="a crash forgets that a recovery record is owed",
        module=REPAIR,
        old="if torn_before(name) == sequence",
        new="if False",
    ),
    Mutant(
        name="a recovery is never recorded",
        module=QUEUE,
        old="store.set_aside if isinstance(store, RepairedStore) else ()",
        new="()",
    ),
    Mutant(
        name="what a batch leaves half written counts",
        module=TAIL,
        old="        if line.sequence == line.batch.first + line.batch.size - 1:\n            self.whole",
        new="        if True:\n            self.whole",
    ),
    Mutant(
        name="holes among the last lines go unseen",
        module=TAIL,
        old='        if b"\\0" in data:\n            return True',
        new="        pass",
    ),
    Mutant(
        name="a group without its signature counts as whole",
        module=TAIL,
        old="    return line.batch.cover is not None and not line.signatures",
        new="    return False",
    ),
    Mutant(
        name="NULs behind the last line count as damage",
        module=TAIL,
        old='            return start + len(data.rstrip(b"\\0"))',
        new="            return start + len(data)",
    ),
    Mutant(
        name="a day that was begun and not written to counts as the newest",
        module=SURVEY,
        old="    while names and not content_end(files, names[-1]):",
        new="    while names and not content_end(files, names[-1]) and False:",
    ),
    Mutant(
        name="stamps run back with the clock",
        module=MACHINE,
        old="        if position.sequence and moment <= position.moment:",
        new="        if position.sequence and moment == position.moment:",
    ),
    Mutant(
        name="a short write is not continued",
        module=FILES,
        old="        offset += taken\n",
        new="        offset += taken\n        break\n",
    ),
    Mutant(
        name="readers see a group before it is synced",
        module=QUEUE,
        old="            self.store.append(lines)\n",
        new="            self.durable = group.head\n            self.store.append(lines)\n",
    ),
    Mutant(
        name="the free-space floor is ignored",
        module=WRITER,
        old="            if free < need:",
        new="            if free < size:",
    ),
    Mutant(
        name="closing leaves unwritten space",
        module=WRITER,
        old="            self._trim()\n        except StoreUnavailable as error:\n            logger",
        new="            pass\n        except StoreUnavailable as error:\n            logger",
    ),
    Mutant(
        name="closing leaves HEAD where it is",
        module=WRITER,
        old="self._head_file.mark.head:\n            self._write_head()",
        new="self._head_file.mark.head:\n            pass",
    ),
    Mutant(
        name="a group that was not written drops its recovery record",
        module=QUEUE,
        old="            self.recovered = self.recovered or group.recovered\n",
        new="",
    ),
    Mutant(
        name="a refused commit drops the recovery record before it",
        module=SEALING,
        old="        except (Refused, InvalidInput):\n",
        new="        except (Refused, InvalidInput):\n            self._queue.recovered = ()\n",
    ),
    Mutant(
        name="a write that failed is said not to have happened",
        module=WRITER,
        old='            raise CommitOutcomeUnknown(f"{self._poison}; reopen',
        new='            raise StoreUnavailable(f"{self._poison}; reopen',
    ),
    Mutant(
        name="an interrupted close is not finished by the next",
        module=WRITER,
        old="            self._let_go()\n\n    def _finish",
        new="            if not closed:\n                self._let_go()\n\n    def _finish",
    ),
    Mutant(
        name="an interrupted close leaves HEAD open",
        module=HEAD,
        old="            self._files.close(self._handle)\n            self._handle = None",
        new="            handle, self._handle = self._handle, None\n            self._files.close(handle)",
    ),
)

CONTROLS = tuple(
    Mutant(name=f"nothing is broken in {module}", module=module, old=_FIRST_IMPORT, new=_FIRST_IMPORT)
    for module in sorted({mutant.module for mutant in MUTANTS})
)
"""Modules planted as they are: what the harness catches here is its own doing."""


@contextmanager
def planted(mutant: Mutant) -> Iterator[None]:
    """Run the library with a mutant in it: its module is compiled anew and takes the old one's place."""
    module = importlib.import_module(mutant.module)
    source = inspect.getsource(module)
    if source.count(mutant.old) != 1:
        raise LookupError(f"{mutant.name}: the text to replace stands {source.count(mutant.old)} times")
    before = dict(vars(module))
    code = compile(source.replace(mutant.old, mutant.new), f"<{mutant.module}, mutated>", "exec")
    mutated = ModuleType(mutant.module)
    mutated.__dict__.update(
        {name: before[name] for name in ("__file__", "__package__", "__spec__", "__loader__")}
    )
    sys.modules[mutant.module] = mutated
    exec(code, mutated.__dict__)
    own = {
        id(value): mutated.__dict__[name]
        for name, value in before.items()
        if getattr(value, "__module__", None) == mutant.module and name in mutated.__dict__
    }
    replaced = []
    for other in list(sys.modules.values()):
        if other is mutated or not getattr(other, "__name__", "").startswith(("bibank", "tests.faults")):
            continue
        for name, value in list(vars(other).items()):
            if id(value) in own:
                replaced.append((other, name, value))
                setattr(other, name, own[id(value)])
    try:
        yield
    finally:
        for other, name, value in replaced:
            setattr(other, name, value)
        sys.modules[mutant.module] = module
