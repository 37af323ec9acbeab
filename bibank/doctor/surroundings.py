"""What the doctor says of everything beside the journal: clock, space, keys, keyring, projection."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from bibank.clock import MAX_CLOCK_JUMP, NOTED_CLOCK_JUMP
from bibank.doctor.findings import Finding, note, ok, problem, trouble
from bibank.doctor.look import Look
from bibank.errors import (
    BibankError,
    ClockJumped,
    IntegrityError,
    KeystoreError,
    PinMismatch,
    ProjectionMismatch,
    StoreFull,
    StoreUnavailable,
)
from bibank.home import KEYRING_NAME
from bibank.keystore import from_key_file, is_encrypted
from bibank.model.timestamp import format_timestamp
from bibank.projection.database import read_meta
from bibank.store.jsonl.writer import FREE_SPACE_FLOOR, PREALLOCATE_BYTES

LOW_SPACE = 8 * FREE_SPACE_FLOOR
"""Less free space than this is worth a word, before commits are refused."""

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def clock_finding(look: Look, now: datetime) -> Finding:
    """Hold the clock against the time of the last line."""
    says = f"the clock says {format_timestamp(now)}"
    if look.last is None:
        return note("clock", f"{says}; there is no last line to hold it against")
    after = look.last.timestamp
    distance = abs(now - after)
    where = "after" if now >= after else "before"
    words = f"{says}, {distance} {where} the last line's {format_timestamp(after)}"
    if distance > MAX_CLOCK_JUMP:
        return problem(
            "clock",
            f"{words}: commits are refused beyond {MAX_CLOCK_JUMP.days} days. Mend the clock, or, if it is "
            "right, open the ledger with a larger max_clock_jump",
            ClockJumped,
        )
    if distance > NOTED_CLOCK_JUMP:
        why = (
            "nothing was written since, or the clock is wrong" if now >= after else "one of the two is wrong"
        )
        return note("clock", f"{words}: {why}. Lines never run back in time")
    return ok("clock", words)


def space_finding(look: Look) -> Finding:
    """Hold the free space against what recovery needs."""
    try:
        free = look.files.free_bytes()
    except StoreUnavailable as error:
        return trouble("space", error)
    words = f"{free} bytes are free; {FREE_SPACE_FLOOR} of them stay free for recovery"
    if free < FREE_SPACE_FLOOR + PREALLOCATE_BYTES:
        return problem("space", f"{words}, so commits are refused. Make room", StoreFull)
    return note("space", f"{words}. It is getting tight") if free < LOW_SPACE else ok("space", words)


def key_findings(look: Look) -> Iterator[Finding]:
    """Judge the directory of private keys, and each key in it."""
    keys = look.home.keys
    try:
        found = os.lstat(keys)
    except FileNotFoundError:
        yield ok(
            "keys", "the home holds no private key: whoever writes gives a signer, or the ledger is unsigned"
        )
        return
    except OSError as error:
        yield trouble("keys", StoreUnavailable(f"cannot look at {keys}: {error.strerror}"))
        return
    yield _key_directory(keys, found)
    if stat.S_ISDIR(found.st_mode):
        for path in sorted(keys.glob("*.key")):
            yield _key(path)


def _key_directory(keys: Path, found: os.stat_result) -> Finding:
    mode = stat.S_IMODE(found.st_mode)
    if not stat.S_ISDIR(found.st_mode):
        return problem("keys", f"{keys} is not a directory", KeystoreError)
    if found.st_uid not in (os.geteuid(), 0):
        return problem("keys", f"{keys} belongs to another user (uid {found.st_uid})", KeystoreError)
    if mode & _OTHERS:
        return problem("keys", f"{keys} is open to others (mode {mode:04o}); chmod 700 it", KeystoreError)
    try:
        ignores = (keys / ".gitignore").read_bytes() == b"*\n"
    except OSError:
        ignores = False
    words = f"{keys} is open to its owner only (mode {mode:04o})"
    if not ignores:
        return note(
            "keys",
            f"{words}, and has no .gitignore of '*': keep private keys out of repositories and backups",
        )
    return ok("keys", words)


def _key(path: Path) -> Finding:
    """Judge a key file as an opening would, which loads a plain one."""
    check = f"key {path.name}"
    try:
        if is_encrypted(path):
            return ok(check, "encrypted: whoever copies the disk needs the passphrase too")
        from_key_file(path)
    except BibankError as error:
        return trouble(check, error)
    if path.name.startswith("."):
        return note(check, "left over by an interrupted rotation; no line is signed with it. Delete it")
    return note(
        check,
        "a plain file, of mode 0600. Beside the journal it proves against accidents and edits by whoever "
        "cannot read keys/, and nothing against whoever can",
    )


def keyring_finding(look: Look) -> Finding:
    """Hold the cache of the keyring against the journal's first line."""
    try:
        found = look.home.read_keyring()
    except (IntegrityError, StoreUnavailable) as error:
        return trouble("keyring", error)
    if found is None:
        return note("keyring", f"{KEYRING_NAME} is not there; the next opening copies it from the journal")
    if look.ledger_id is None:
        return note(
            "keyring", f"{KEYRING_NAME} is of ledger {found.ledger_id}; the journal does not say its own"
        )
    if found.ledger_id != look.ledger_id:
        return problem(
            "keyring",
            f"{KEYRING_NAME} is of ledger {found.ledger_id}, the journal of {look.ledger_id}: one of the two "
            "is not this home's. Where it is the file, delete it and it comes back",
            PinMismatch,
        )
    return ok(
        "keyring",
        f"{KEYRING_NAME} is of the journal's ledger; opening and audit compare the rest with the journal",
    )


def projection_finding(look: Look) -> Finding:
    """Say how far the projection of the books has come. Whatever is wrong with it, it comes back."""
    path = look.home.projection
    try:
        size = os.lstat(path).st_size
    except FileNotFoundError:
        return ok("projection", "not there; it is made when something asks for balances or history")
    except OSError as error:
        return trouble("projection", StoreUnavailable(f"cannot look at {path}: {error.strerror}"))
    words = f"{path.name} has {size} bytes"
    try:
        meta = read_meta(path)
    except ProjectionMismatch as error:
        return note("projection", f"{error}: the next question to it does that")
    except StoreUnavailable as error:
        return trouble("projection", error)
    if meta is None:
        return ok("projection", f"{words}, and is in use, or was when its process ended; it was left alone")
    if look.ledger_id is not None and meta.ledger_id not in ("", look.ledger_id):
        return note("projection", f"{words}, of ledger {meta.ledger_id}: the next question to it rebuilds it")
    reached = meta.position.sequence
    words += f" and stands at line {reached}"
    if look.survey is None:
        return ok("projection", words)
    behind = look.survey.head.sequence - reached
    if behind < 0:
        return note("projection", f"{words}, ahead of the journal: the next question to it rebuilds it")
    if behind:
        words += f", {behind} behind the journal; the next question to it brings it up to date"
    return ok("projection", words)
