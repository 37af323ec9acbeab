"""Forks: in a child the bus is inert; subscriptions, cursors and threads stay the parent's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.bus.ears import Ear, deposit, in_memory

FORK = """
import os, sys, threading
import bibank as bb
ledger = bb.Ledger.create(sys.argv[1], opening={"USDT": "5"})
heard = []
came = threading.Event()
def listen(event):
    heard.append(event.sequence)
    came.set()
pumped = []
ledger.bus.subscribe(listen, name="threaded", delivery="thread")
ledger.bus.subscribe(pumped.append, name="pumped")
ledger.deposit("A", "1 USDT", correlation_id="r")
came.wait(20)
child = os.fork()
if child == 0:
    for call in (ledger.bus.pump, lambda: ledger.bus.replay_from(1), lambda: ledger.bus.subscribe(print),
                 lambda: ledger.bus.forget("pumped"), lambda: ledger.bus.resume("pumped")):
        try:
            call()
        except bb.BibankError as error:
            print("child:", type(error).__name__, flush=True)
    ledger.bus.close()
    ledger.close()
    print("child heard", pumped, flush=True)
    os._exit(0)
os.waitpid(child, 0)
with bb.LedgerReader.open(sys.argv[1]) as reader:
    for name in ("threaded", "pumped"):
        try:
            reader.bus.subscribe(print, name=name)
        except bb.SubscriberBusy:
            print("parent: still has", name, flush=True)
came.clear()
ledger.deposit("A", "1 USDT", correlation_id="r")
came.wait(20)
print("parent:", heard, ledger.bus.pump(), flush=True)
ledger.close()
"""


def in_child(path: Path, body: str) -> list[str]:
    """Run a script that forks; give what was printed."""
    done = subprocess.run(
        [sys.executable, "-c", body, str(path)], capture_output=True, text=True, check=False, timeout=60
    )
    assert not done.stderr, done.stderr
    return done.stdout.splitlines()


def test_a_forked_child_tells_nothing_and_takes_nothing(tmp_path: Path) -> None:
    """The subscriptions are the parent's, who goes on telling and keeps the cursors."""
    assert in_child(tmp_path / "books", FORK) == [
        *["child: LedgerClosed"] * 5,
        "child heard []",
        "parent: still has threaded",
        "parent: still has pumped",
        "parent: [3, 4] 2",
    ]


CLOSED_BESIDE_A_CHILD = """
import os, sys
reading, writing = os.pipe()
def wait_for_the_parent():
    os.close(writing)
    os.read(reading, 1)
os.register_at_fork(after_in_child=wait_for_the_parent)  # before the library can do anything in the child
import bibank as bb
ledger = bb.Ledger.create(sys.argv[1])
ledger.bus.subscribe(print, name="ear")
child = os.fork()
if child == 0:
    os._exit(0)
ledger.bus.unsubscribe("ear")
ledger.bus.subscribe(print, name="ear")
print("subscribed again beside a living child")
os.close(writing)
os.waitpid(child, 0)
ledger.close()
"""


def test_a_living_child_does_not_keep_a_name(tmp_path: Path) -> None:
    """Who leaves gives its name free, whatever forked children do."""
    assert in_child(tmp_path / "books", CLOSED_BESIDE_A_CHILD) == ["subscribed again beside a living child"]


def test_a_fork_of_a_ledger_has_a_bus_of_its_own() -> None:
    """A what-if tells its own subscribers, and the ledger's hear nothing of it."""
    ledger = in_memory()
    ear, dreamer = Ear(), Ear("dreamer")
    ledger.bus.subscribe(ear)
    deposit(ledger)
    fork = ledger.fork()
    fork.bus.subscribe(dreamer, after_sequence=0)
    deposit(fork, 2)
    ledger.bus.pump()
    fork.bus.pump()
    assert (ear.sequences, dreamer.sequences) == ([3], [1, 3, 4, 5])
