"""How commands end when something is wrong: exit codes, streams, and no tracebacks."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from io import StringIO

import click
import pytest

from bibank import errors
from bibank.cli import main, reading
from bibank.cli import progress as progress_module
from bibank.cli.application import application
from bibank.cli.failures import EXIT_CODES, describe, exit_code
from bibank.cli.progress import progress_bar, watching
from bibank.errors import BibankError, UnbalancedEntry
from bibank.model.amount import SignedAmount
from tests.cli.command import CORRECTION, ROOT, TIMEOUT_SECONDS, Command


def every_error(kind: type[BibankError] = BibankError) -> Iterator[type[BibankError]]:
    """Give the whole tree of errors."""
    yield kind
    for child in kind.__subclasses__():
        yield from every_error(child)


CODES = {
    errors.InvalidInput: 2,
    errors.InvalidAmount: 2,
    errors.MissingCorrelationId: 2,
    errors.ConfigurationError: 2,
    errors.RulesMismatch: 2,
    errors.Refused: 3,
    errors.InsufficientBalance: 3,
    errors.ApprovalRequired: 3,
    errors.HoldNotOpen: 3,
    errors.HoldExpired: 3,
    errors.NotReversible: 3,
    errors.AlreadyReversed: 3,
    errors.IdempotencyConflict: 3,
    errors.HeadConflict: 4,
    errors.IntegrityError: 5,
    errors.JournalTorn: 5,
    errors.CursorMismatch: 5,
    errors.ProjectionMismatch: 5,
    errors.CommitOutcomeUnknown: 6,
    errors.StoreError: 7,
    errors.StoreUnavailable: 7,
    errors.LedgerBusy: 7,
    errors.SubscriberBusy: 7,
    errors.LedgerPoisoned: 7,
    errors.HomeNotFound: 7,
    errors.HomeExists: 7,
    errors.KeystoreError: 7,
    errors.BibankError: 1,
}


@pytest.mark.parametrize(("kind", "code"), CODES.items(), ids=lambda value: getattr(value, "__name__", value))
def test_each_family_has_its_exit_code(kind: type[BibankError], code: int) -> None:
    """The exit code says who has to act."""
    assert exit_code(kind.__new__(kind)) == code


def test_the_table_covers_every_error_once() -> None:
    """Every error has a code, and no row of the table is hidden behind a row before it."""
    for kind in every_error():
        assert exit_code(kind.__new__(kind)) in range(1, 8)
    kinds = [kind for kind, _ in EXIT_CODES]
    for number, kind in enumerate(kinds):
        assert not any(issubclass(kind, earlier) for earlier in kinds[:number])


def test_typed_attributes_are_described() -> None:
    """The JSON of an error has its typed attributes as plain values."""
    found = describe(UnbalancedEntry(asset="USDT", imbalance=SignedAmount("-1.5")))
    assert (found["code"], found["asset"], found["imbalance"]) == ("unbalanced_entry", "USDT", "-1.5")


@pytest.mark.parametrize(
    "arguments",
    [
        ("balance",),
        ("balance", "A", "B", "C"),
        ("deposit", "ALICE", "5"),
        ("deposit", "ALICE", "5", "USDT", "--no-such-option"),
        ("transfer", "ALICE", "5", "USDT"),
        ("no-such-command",),
        ("entries", "--limit"),
        ("--no-such-option", "audit"),
        ("init", "--unsigned", "--key-file", "some.key"),
        ("keygen",),
        ("keyring", "no-such-command"),
        ("keyring", "add", "--key-file", "some.key"),
        ("keyring", "add", "--key-file", "some.key", "--role", "no-such-role"),
        ("keyring", "revoke", "0" * 16),
        ("audit", "--keyring", "no-such-file"),
        ("audit", "--workers", "0"),
    ],
)
def test_usage_errors(books: Command, arguments: tuple[str, ...]) -> None:
    """A command line that cannot be understood ends with 2, says why on stderr, and prints no data."""
    outcome = books.run(*arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert "Error: " in outcome.err
    as_json = books.run(*arguments, "--json")
    if "--limit" not in arguments:  # which takes what follows it for its value
        assert (as_json.code, as_json.error["code"]) == (2, "usage")


@pytest.mark.parametrize(
    "command",
    [
        ("init",),
        ("deposit", "ALICE", "1", "USDT"),
        ("transfer", "ALICE", "BOB", "1", "USDT"),
        ("withdraw", "ALICE", "1", "USDT"),
        ("trade", "ALICE", "BOB", "--sell", "1", "USDT", "--buy", "1", "BTC"),
        ("fee", "ALICE", "1", "USDT", "--type", "margin"),
        ("hold", "create", "ALICE", "1", "USDT", "--to", "SHOP"),
        ("hold", "post", "5"),
        ("hold", "void", "5"),
        ("hold", "void-expired"),
        ("hold", "list"),
        ("reverse", "4"),
        CORRECTION,
        ("propose", "withdrawal", "ALICE", "1", "USDT"),
        ("pending",),
        ("freeze", "LIAB:USER:ALICE:USDT:AVAILABLE", "--reason", "r"),
        ("limit", "LIAB:USER:ALICE:USDT:AVAILABLE", "--floor", "-1", "--reason", "r"),
        ("terms",),
        ("records",),
        ("balance", "ALICE"),
        ("entries",),
        ("replay",),
        ("audit",),
        ("keyring", "show"),
        ("keyring", "rotate"),
        ("keyring", "revoke", "0" * 16, "--last-trusted-sequence", "1"),
    ],
)
def test_there_is_no_default_place_for_money(bibank: Command, command: tuple[str, ...]) -> None:
    """Without --home and BIBANK_HOME every command is a usage error that says so."""
    for environment in ({}, {"BIBANK_HOME": ""}):
        outcome = bibank.run(*command, home=False, **environment)
        assert (outcome.code, outcome.out) == (2, "")
        assert "no default place for money: give --home PATH or set BIBANK_HOME" in outcome.err


def test_where_the_home_comes_from(books: Command) -> None:
    """The environment names the home; an option, before or behind the command, overrules it."""
    there, elsewhere = str(books.home), str(books.home / "nothing")
    assert books.run("audit", home=False, BIBANK_HOME=there).code == 0
    assert books.run("--home", there, "audit", home=False, BIBANK_HOME=elsewhere).code == 0
    assert books.run("audit", "--home", there, home=False, BIBANK_HOME=elsewhere).code == 0
    assert books.run("--home", elsewhere, "audit", "--home", there, home=False).code == 0
    assert books.run("--home", elsewhere, "audit", home=False, BIBANK_HOME=there).code == 7


def test_an_unexpected_exception(books: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug ends with 1 and one line; the traceback comes only with BIBANK_DEBUG."""

    def fail(*arguments: object) -> None:
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setattr(reading, "ask_books", fail)
    outcome = books.run("balance", "ALICE")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err == "internal error: RuntimeError: first line second line\n"
    assert books.run("balance", "ALICE", "--json").error["code"] == "internal"
    assert "Traceback" in books.run("balance", "ALICE", BIBANK_DEBUG="1").err


def test_an_interruption(books: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends with 130 and a word on stderr."""

    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(reading, "ask_books", interrupt)
    outcome = books.run("balance", "ALICE")
    assert (outcome.code, outcome.out, outcome.err.strip()) == (130, "", "interrupted")


def every_command(group: click.Group, *before: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Give each command with the words that call it, groups and what is in them."""
    for name, command in group.commands.items():
        yield (*before, name), command
        if isinstance(command, click.Group):
            yield from every_command(command, *before, name)


def test_help_and_version(bibank: Command) -> None:
    """Help lists the commands, and each has its own; the version is that of the package."""
    listed = bibank.run("--help", home=False)
    assert listed.code == 0
    assert all(name in listed.out for name in application.commands)
    for words, command in every_command(application):
        shown = bibank.run(*words, "--help", home=False)
        assert (shown.code, command.help is not None) == (0, True)
        assert "--json" in shown.out
    try:
        expected = version("bibank")
    except PackageNotFoundError:
        pytest.skip("the package is not installed here, so it has no version")
    assert bibank.run("--version", home=False).out == f"bibank, version {expected}\n"


# ------------------------------------------------------------------ in a process of its own


def test_the_command_in_a_process(bibank: Command) -> None:
    """The real thing: `python -m bibank` with its exit codes and both streams."""
    assert bibank.spawn("init", "--capital", "10 USDT").code == 0
    made = bibank.spawn("deposit", "alice", "7", "usdt")
    assert made.out.startswith("line 3: deposit SYSTEM:VAULT -> ALICE 7 USDT\n")
    assert made.err.startswith("correlation id: ")
    assert bibank.spawn("withdraw", "ALICE", "8", "USDT").code == 3
    assert bibank.spawn("balance", "ALICE", "USDT", "--json").document["available"] == "7"
    negative = bibank.spawn("deposit", "ALICE", "-5", "USDT")
    assert (negative.code, negative.err.count("\n")) == (2, 1)
    assert bibank.spawn("audit").err == ""


def test_the_entry_point(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The entry point takes the arguments of the process, and needs the extra."""
    monkeypatch.setattr(sys, "argv", ["bibank", "--help"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert (ended.value.code, capsys.readouterr().out.startswith("Usage: bibank ")) == (0, True)
    for missing, error in (("click", SystemExit), ("bibank.ledger", ModuleNotFoundError)):
        with monkeypatch.context() as patch:
            patch.delitem(sys.modules, "bibank.cli.application")
            patch.delitem(sys.modules, "bibank.cli.money")
            patch.setitem(sys.modules, missing, None)
            with pytest.raises(error):
                main()


def test_without_the_extra() -> None:
    """Without click or rich the command says what to install, and ends with 2."""
    script = "import sys; sys.modules['click'] = None; from bibank.cli import main; main()"
    finished = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, encoding="utf-8", check=False
    )
    assert (finished.returncode, finished.stdout) == (2, "")
    assert finished.stderr == "the bibank command needs its extra: pip install 'bibank[cli]'\n"


def test_another_missing_module_is_not_the_extra() -> None:
    """A module that is missing for another reason is not blamed on the extra."""
    script = "import sys; sys.modules['bibank.ledger'] = None; from bibank.cli import main; main()"
    finished = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, encoding="utf-8", check=False
    )
    assert finished.returncode == 1
    assert "bibank.ledger" in finished.stderr


def test_a_broken_pipe_is_quiet(books: Command) -> None:
    """When whoever reads the output has gone, the command ends without a word."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        finished = subprocess.run(
            [sys.executable, "-m", "bibank", "--home", str(books.home), "entries"],
            cwd=ROOT,
            stdout=writer,
            stderr=subprocess.PIPE,
            timeout=TIMEOUT_SECONDS,
            encoding="utf-8",
            check=False,
        )
    finally:
        os.close(writer)
    assert (finished.returncode, finished.stderr) == (141, "")


@pytest.mark.parametrize(
    ("command", "title"), [(("audit",), b"Auditing"), (("replay", "--reset"), b"Replaying")]
)
def test_a_bar_on_a_terminal(books: Command, command: tuple[str, ...], title: bytes) -> None:
    """On a terminal long work shows a bar on stderr, and stdout stays what it was."""
    books.ok("replay")
    ours, theirs = pty.openpty()
    try:
        finished = subprocess.run(
            [sys.executable, "-m", "bibank", "--home", str(books.home), *command],
            cwd=ROOT,
            env={**os.environ, "TERM": "xterm"},
            stdout=subprocess.PIPE,
            stderr=theirs,
            timeout=TIMEOUT_SECONDS,
            encoding="utf-8",
            check=False,
        )
        shown = os.read(ours, 65_536)
    finally:
        os.close(ours)
        os.close(theirs)
    assert finished.returncode == 0
    assert finished.stdout == books.ok(*command).out
    assert title in shown


class Terminal(StringIO):
    """A text stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


def test_progress_is_shown_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines pass a bar unchanged, on a terminal and elsewhere."""
    monkeypatch.setattr(progress_module, "PROGRESS_LINES", 2)
    monkeypatch.setenv("TERM", "xterm")
    for stream in (Terminal(), StringIO()):
        monkeypatch.setattr(sys, "stderr", stream)
        with watching("Counting", total=5) as watch:
            assert list(watch([b"1", b"2", b"3", b"4", b"5"])) == [b"1", b"2", b"3", b"4", b"5"]
        with progress_bar("Counting", total=5) as told:
            told(5)
        assert ("Counting" in stream.getvalue()) == stream.isatty()
