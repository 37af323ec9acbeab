"""The canary: a known seed and passphrase go through everything, and must not be seen anywhere again."""

from __future__ import annotations

import base64
import copy
import logging
import pickle
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import attrs
import pytest

import bibank as bb
from bibank.home import Home
from bibank.model.keyring import SYSTEM_SIGNER
from bibank.projections import JournalLines, SqliteBooks, catch_up
from bibank.signing import Cost, Ed25519Signer, Role, from_environment, from_key_file, make_key_file
from bibank.signing.keyfile import Secret
from tests.signing.forge import Key, transfers

SEED = bytes.fromhex("c0ffee5eedc0ffee5eedc0ffee5eedc0ffee5eedc0ffee5eedc0ffee5eedc0ff")
PASSPHRASE = "canary-passphrase-7h3-qu1ck"
CHEAP = Cost(operations=2, memory_bytes=64 * 1024 * 1024)
NEXT, ANNA = Key(2), Key(3, "ANNA_OPS")


def spellings(secret: bytes) -> set[str]:
    """Every way in which a secret may show in a text, parts of it included."""
    found = {
        secret.hex(),
        secret.hex().upper(),
        secret.hex(" "),
        repr(secret)[2:-1],
        str(list(secret))[1:-1],
        base64.b64encode(secret).decode().rstrip("="),
        base64.urlsafe_b64encode(secret).decode().rstrip("="),
        base64.b32encode(secret).decode().rstrip("="),
        secret.decode("latin-1"),
    }
    return {
        part for text in found for part in (text[: max(8, len(text) // 2)], text[-max(8, len(text) // 2) :])
    }


MARKS = spellings(SEED) | spellings(PASSPHRASE.encode()) | {PASSPHRASE}


def check_text(text: str, where: str) -> None:
    """Demand that a text shows nothing."""
    shown = [mark for mark in MARKS if mark in text]
    assert not shown, f"{where} shows {shown}"


def check_bytes(data: bytes, where: str) -> None:
    """Demand that bytes show nothing."""
    check_text(data.decode("latin-1"), where)


def fixed(size: int) -> bytes:
    """Stand for randomness."""
    return SEED if size == 32 else bytes(range(size))


# --------------------------------------------------------------------------- errors


def errors_of(error: BaseException | None, seen: set[int] | None = None) -> Iterator[BaseException]:
    """Walk an error, its causes and contexts."""
    seen = set() if seen is None else seen
    if error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        yield from errors_of(error.__cause__, seen)
        yield from errors_of(error.__context__, seen)


def library_frames(trace: TracebackType | None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give place and locals of the frames of the library."""
    while trace is not None:
        name = str(trace.tb_frame.f_globals.get("__name__"))
        if name.partition(".")[0] == "bibank":
            yield f"{name}:{trace.tb_lineno}", dict(trace.tb_frame.f_locals)
        trace = trace.tb_next


def check_error(error: BaseException) -> None:
    """Demand that an error shows nothing: text, attributes, and the locals of the library's frames."""
    for found in errors_of(error):
        check_text(str(found) + repr(found) + repr(vars(found)), f"text of {type(found).__name__}")
        for place, names in library_frames(found.__traceback__):
            for name, value in names.items():
                check_text(shown(value), f"local {name} at {place}")
        rendered = traceback.TracebackException.from_exception(found, capture_locals=True)
        for frame in rendered.stack:
            if "/bibank/" in frame.filename:
                check_text(str(frame.locals), f"{frame.filename}:{frame.lineno}")
    if isinstance(error, bb.BibankError):
        check_bytes(pickle.dumps(error), "the pickled error")


def shown(value: object) -> str:
    """Show a value as a debugger would."""
    try:
        return repr(value)
    except Exception as error:  # noqa: BLE001 - whatever a half-made object's repr does
        return f"<{type(error).__name__}>"


def caught(attempt: Callable[[], object]) -> BaseException:
    """Run what must fail, and give its error."""
    try:
        attempt()
    except bb.BibankError as error:
        return error
    raise AssertionError("it must fail")


class Leaky:
    """An environment that shows everything, as `os.environ` does."""

    def __init__(self, value: str) -> None:
        self.value = value

    def get(self, name: str, default: str | None = None) -> str | None:
        """Give the one variable there is."""
        return self.value if name == "KEY" else default

    def __repr__(self) -> str:
        return f"environ({{'KEY': {self.value!r}}})"


def key_file(path: Path, data: bytes, *, mode: int = 0o600) -> Path:
    """Write a key file."""
    path.write_bytes(data)
    path.chmod(mode)
    return path


def failing_attempts(tmp_path: Path) -> Iterator[tuple[str, Callable[[], object]]]:
    """Everything that fails with a secret at hand."""
    any_: Any
    clear = tmp_path / "clear.key"
    make_key_file(clear, signer_id="SYSTEM", entropy=fixed)
    sealed = tmp_path / "sealed.key"
    make_key_file(sealed, signer_id="SYSTEM", passphrase=PASSPHRASE, cost=CHEAP, entropy=fixed)
    data, hidden = clear.read_bytes(), sealed.read_bytes()
    spoiled = {
        "format": data.replace(b"bibank-key/1", b"bibank-key/2"),
        "extra": data.replace(b"{", b'{"extra":1,', 1),
        "upper": data.replace(SEED.hex().encode(), SEED.hex().upper().encode()),
        "short": data.replace(SEED.hex().encode(), SEED.hex()[:-2].encode()),
        "no-json": data[:-3],
        "no-utf8": data[:-3] + b"\xff",
        "public": data.replace(b'"public_key":"', b'"public_key":"00', 1),
        "signer": data.replace(b'"SYSTEM"', b'"system"'),
        "algorithm": data.replace(b'"ed25519"', b'"secp256k1"'),
        "unknown-algorithm": data.replace(b'"ed25519"', b'"rsa"'),
        "list": data.replace(b'"SYSTEM"', b"[]"),
        "long": data + b" " * 5000,
    }
    for name, changed in spoiled.items():
        assert changed != data
        path = key_file(tmp_path / f"{name}.key", changed)
        yield f"file {name}", partial(from_key_file, path)
        yield f"file {name}, passphrase", partial(from_key_file, path, passphrase=PASSPHRASE)
    yield "open to others", lambda: from_key_file(key_file(tmp_path / "open.key", data, mode=0o644))
    yield "exists", lambda: make_key_file(clear, signer_id="SYSTEM", passphrase=PASSPHRASE, entropy=fixed)
    altered = hidden.replace(b'"operations":2', b'"operations":3')
    yield "altered", lambda: from_key_file(key_file(tmp_path / "alt.key", altered), passphrase=PASSPHRASE)
    costly = hidden.replace(b'"operations":2', b'"operations":99')
    yield "costly", lambda: from_key_file(key_file(tmp_path / "cost.key", costly), passphrase=PASSPHRASE)
    yield "missing", lambda: from_key_file(tmp_path / "missing.key", passphrase=PASSPHRASE)
    yield "directory", lambda: from_key_file(tmp_path, passphrase=PASSPHRASE)
    yield "wrong", lambda: from_key_file(sealed, passphrase=PASSPHRASE + PASSPHRASE)
    for any_ in (bytearray(PASSPHRASE.encode()), [PASSPHRASE], PASSPHRASE + "\ud800"):
        yield "passphrase", partial(from_key_file, sealed, passphrase=any_)
        yield (
            "passphrase of a new key",
            partial(make_key_file, tmp_path / "new.key", signer_id="SYSTEM", passphrase=any_),
        )
    yield (
        "name of a new key",
        lambda: make_key_file(tmp_path / "new.key", signer_id="anna", passphrase=PASSPHRASE, entropy=fixed),
    )
    yield (
        "place of a new key",
        lambda: make_key_file(
            clear / "new.key", signer_id="ANNA", passphrase=PASSPHRASE, cost=CHEAP, entropy=fixed
        ),
    )
    yield (
        "entropy",
        lambda: make_key_file(tmp_path / "new.key", signer_id="ANNA", entropy=lambda size: SEED + b"!"),
    )
    for text in (SEED.hex().upper(), SEED.hex() + "0", SEED.hex()[:-1], f" {SEED.hex()}", f"0x{SEED.hex()}"):
        any_ = Leaky(text)
        yield "environment", partial(from_environment, "KEY", environment=any_)
    yield "variable", lambda: from_environment("OTHER", environment=Leaky(SEED.hex()))  # type: ignore[arg-type]  # on purpose
    yield (
        "signer id",
        lambda: from_environment(
            "KEY",
            signer_id="anna",
            environment=Leaky(SEED.hex()),  # type: ignore[arg-type]  # on purpose
        ),
    )
    for any_ in (SEED + b"!", SEED[:-1], bytearray(SEED), SEED.hex(), list(SEED)):
        yield "seed", partial(Ed25519Signer, any_, signer_id="SYSTEM")
    any_ = "ed25519"
    options: dict[str, Any]
    for options in (
        {"signer_id": "anna"},
        {"signer_id": 7},
        {"signer_id": "A", "algorithm": any_},
        {"signer_id": "A", "algorithm": bb.SignatureAlgorithm.SECP256K1},
    ):
        yield "signer", partial(Ed25519Signer, SEED, **options)
    signer = Ed25519Signer(SEED, signer_id="SYSTEM")
    any_ = "text"
    yield "sign", partial(signer.sign, any_)
    attempt: Callable[[object], object]
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        yield "copy", partial(attempt, signer)
        yield "copy of a secret", partial(attempt, Secret(SEED))


def test_no_error_shows_a_secret(tmp_path: Path) -> None:
    """Whatever fails with a secret at hand, neither text nor locals nor causes of the error show it."""
    count = 0
    for name, attempt in failing_attempts(tmp_path):
        error = caught(attempt)
        try:
            check_error(error)
        except AssertionError as found:
            raise AssertionError(f"{name}: {found}") from None
        count += 1
    assert count > 60


def test_a_failing_entropy_source_shows_nothing(tmp_path: Path) -> None:
    """An error from outside, in the middle of making a key, meets no secret in our frames."""

    def fail_late(size: int) -> bytes:
        if size != 32:
            raise OSError("no entropy")
        return SEED

    with pytest.raises(OSError, match="no entropy") as found:
        make_key_file(tmp_path / "a.key", signer_id="A", passphrase=PASSPHRASE, entropy=fail_late)
    check_error(found.value)
    assert list(tmp_path.iterdir()) == []


# --------------------------------------------------------------------------- values


def test_a_signer_shows_nothing() -> None:
    """Representations, dumps and formats of a signer and of what holds one show no secret."""
    signer = Ed25519Signer(SEED, signer_id="SYSTEM")
    ledger = bb.Ledger.in_memory(signer=signer)
    own = ledger._committer.signer
    held: Any
    for held in (signer, own, Secret(SEED), ledger, ledger.keyring, [signer], {"signer": signer}):
        check_text(f"{held} {held!r} {shown(getattr(held, '__dict__', None))}", type(held).__name__)
    for holder in (signer, Secret(SEED)):
        assert not hasattr(holder, "__dict__"), "vars() has nothing to show"
        with pytest.raises(attrs.exceptions.NotAnAttrsClassError):
            attrs.asdict(holder)  # type: ignore[arg-type]  # on purpose
        with pytest.raises(TypeError):
            vars(holder)
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            with pytest.raises(bb.KeystoreError, match="not copied or pickled"):
                pickle.dumps(holder, protocol)
        with pytest.raises(bb.KeystoreError):
            copy.copy(holder)
        with pytest.raises(bb.KeystoreError):
            copy.deepcopy({"held": holder})
        with pytest.raises(TypeError):
            bytes(holder)  # type: ignore[call-overload]  # on purpose


# --------------------------------------------------------------------------- logs and files


def work(home: Path, keys: Path) -> None:
    """Do everything that a home does with keys."""
    keys.mkdir()
    anna = make_key_file(keys / "ANNA.key", signer_id="ANNA_OPS", passphrase=PASSPHRASE, cost=CHEAP)
    assert from_key_file(keys / "ANNA.key", passphrase=PASSPHRASE).public_key == anna.public_key
    caught(lambda: from_key_file(keys / "ANNA.key", passphrase=PASSPHRASE + "!"))
    signer = from_environment("KEY", environment={"KEY": SEED.hex()})
    with bb.Ledger.create(home, opening={"USDT": "1000"}, signer=signer, durability="none") as ledger:
        ledger.deposit("A", "100 USDT", correlation_id="d1")
        ledger.commit_each(transfers(5))
        caught(lambda: ledger.transfer("NOBODY", "A", "1 USDT", correlation_id="t1"))
        ledger.keyring.add(anna, roles=(Role.OPERATOR,), correlation_id="k1")
        caught(lambda: ledger.keyring.rotate(NEXT.signer, correlation_id="k2"))
        ledger.keyring.rotate(NEXT.signer, authorised_by=[anna], correlation_id="k2")
        ledger.keyring.rotate(authorised_by=[anna], correlation_id="k3")
        ledger.deposit("A", "1 USDT", correlation_id="d2")
        ledger.audit(level="signatures", workers=2)
    caught(lambda: bb.Ledger.open(home, signer=signer))
    (day,) = (home / "journal").glob("*.jsonl")
    with day.open("ab") as file:
        file.write(b'{"sequence":99')
    with bb.Ledger.open(home, durability="none") as ledger:
        ledger.deposit("A", "1 USDT", correlation_id="d3")
    with SqliteBooks(home / "projection.db") as books:
        catch_up(books, JournalLines(Home(home).survey().read()))


def test_no_log_and_no_file_shows_a_secret(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither a log at DEBUG nor a file of the home, temporary ones included, shows seed or passphrase."""
    caplog.set_level(logging.DEBUG, logger="bibank")
    home, keys = tmp_path / "books", tmp_path / "keys"
    work(home, keys)
    assert caplog.records, "something was logged"
    for record in caplog.records:
        check_text(record.getMessage() + str(record.args) + str(record.exc_info), "a log record")
    check_text("".join(capfd.readouterr()), "the terminal")
    names = set()
    for path in sorted(tmp_path.rglob("*")):
        check_text(str(path.relative_to(tmp_path)), "a file name")
        if path.is_file():
            check_bytes(path.read_bytes(), str(path))
            names.add(path.name)
    assert {"keyring.json", "projection.db", "ANNA.key"} <= names
    assert not any(name.endswith(".new") or name.startswith(".SYSTEM") for name in names)


def test_only_the_key_file_holds_the_homes_own_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The zero-configuration key stands in its 0600 file and nowhere else."""
    monkeypatch.setattr("bibank.home.make_key_file", make_fixed)
    home = tmp_path / "books"
    with bb.Ledger.create(home, durability="none") as ledger:
        ledger.deposit("A", "100 USDT", correlation_id="d1")
    with bb.Ledger.open(home, durability="none") as ledger:
        ledger.deposit("A", "100 USDT", correlation_id="d2")
    holders = [
        path.relative_to(home).as_posix()
        for path in sorted(home.rglob("*"))
        if path.is_file() and any(mark in path.read_bytes().decode("latin-1") for mark in MARKS)
    ]
    assert holders == ["keys/SYSTEM.key"], "the canary does sing where a secret is"


def make_fixed(path: Path, *, signer_id: str = SYSTEM_SIGNER) -> Ed25519Signer:
    """Make a key file with the known seed."""
    return make_key_file(path, signer_id=signer_id, entropy=fixed)


def test_the_scan_finds_what_is_planted() -> None:
    """A scan that cannot fail is none: it finds a secret in a text, a local, a cause."""
    for text in (SEED.hex(), repr(SEED), base64.b64encode(SEED).decode(), f"x{PASSPHRASE}x"):
        with pytest.raises(AssertionError, match="shows"):
            check_text(text, "here")
    names: dict[str, Any] = {"__name__": "bibank.planted"}
    exec(LEAK, names)  # a planted frame of the library
    error = caught(lambda: names["leak"](SEED))
    with pytest.raises(AssertionError, match=r"local seed at bibank\.planted"):
        check_error(error)
    error = caught(lambda: names["chain"](SEED))
    with pytest.raises(AssertionError, match=r"local seed at bibank\.planted"):
        check_error(error)


LEAK = """
from bibank.errors import KeystoreError
def leak(seed):
    raise KeystoreError("no secret here")
def chain(seed):
    try:
        leak(seed)
    except KeystoreError:
        seed = None
        raise KeystoreError("nor here") from None
"""
