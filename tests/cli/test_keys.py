"""Keys on the command line: making them, choosing which one signs, and never showing a secret."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from bibank.cli import signers
from bibank.keystore import from_key_file, make_key_file
from bibank.ledger import Ledger
from bibank.signing import Cost
from tests.cli.command import ROOT, TIMEOUT_SECONDS, Command, Outcome

SEED = "0123456789abcdef" * 4
PASSPHRASE = "correct horse canary staple"
CHEAP = Cost(operations=2, memory_bytes=64 * 1024 * 1024)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A key file outside the home."""
    make_key_file(tmp_path / "own.key", signer_id="SYSTEM")
    return tmp_path / "own.key"


@pytest.fixture
def encrypted(tmp_path: Path) -> Path:
    """The same under a passphrase."""
    make_key_file(tmp_path / "sealed.key", signer_id="SYSTEM", passphrase=PASSPHRASE, cost=CHEAP)
    return tmp_path / "sealed.key"


def seed_of(key: Path) -> str:
    """The secret of a key file."""
    seed: str = json.loads(key.read_bytes())["seed"]
    return seed


def shows(outcome: Outcome, secret: str) -> bool:
    """Whether a command showed a secret anywhere, in any case."""
    return secret.lower() in (outcome.out + outcome.err).lower()


# ------------------------------------------------------------------ keygen


def test_keygen(bibank: Command, tmp_path: Path) -> None:
    """`keygen` makes a private file and prints signer, key id and public key, and never the secret."""
    key = tmp_path / "keys" / "anna.key"
    outcome = bibank.run("keygen", "--output", str(key), "--signer-id", "anna_ops", home=False)
    signer = from_key_file(key)
    first, second = outcome.out.splitlines()
    assert (outcome.code, signer.signer_id) == (0, "ANNA_OPS")
    assert first.startswith("made key ")
    assert first.endswith(f" of ANNA_OPS in {key}")
    assert second == f"ed25519 public key {signer.public_key}"
    assert outcome.err == "note: the file is not encrypted: whoever can read it can sign\n"
    assert key.stat().st_mode & 0o777 == 0o600
    assert not shows(outcome, seed_of(key))


def test_keygen_json(bibank: Command, tmp_path: Path) -> None:
    """As JSON it is one document, without the secret, and nothing on stderr."""
    key = tmp_path / "own.key"
    outcome = bibank.run("keygen", "--output", str(key), "--json", home=False)
    assert outcome.document == {
        "file": str(key),
        "encrypted": False,
        "signer_id": "SYSTEM",
        "key_id": outcome.document["key_id"],
        "algorithm": "ed25519",
        "public_key": from_key_file(key).public_key,
    }
    assert len(outcome.document["key_id"]) == 16
    assert outcome.err == ""
    assert not shows(outcome, seed_of(key))


@pytest.mark.parametrize("options", [(), ("--encrypt",)])
def test_keygen_never_overwrites(bibank: Command, key: Path, options: tuple[str, ...]) -> None:
    """A file that is there stays as it is, with exit code 7, before anybody is asked for a passphrase."""
    before = key.read_bytes()
    outcome = bibank.run("keygen", "--output", str(key), *options, "--json", home=False)
    assert (outcome.code, outcome.error["code"]) == (7, "keystore")
    assert "never overwritten" in outcome.error["message"]
    assert key.read_bytes() == before
    assert not shows(outcome, seed_of(key))


def test_keygen_refuses_what_is_no_signer_id(bibank: Command, tmp_path: Path) -> None:
    """A name that no signer can have is a usage error, and no file is made."""
    outcome = bibank.run("keygen", "--output", str(tmp_path / "k"), "--signer-id", "a b", home=False)
    assert (outcome.code, list(tmp_path.iterdir())) == (2, [])


def test_keygen_under_a_passphrase_of_the_environment(bibank: Command, tmp_path: Path) -> None:
    """With --encrypt the passphrase may come from the environment, and is shown nowhere."""
    key = tmp_path / "sealed.key"
    outcome = bibank.run(
        "keygen", "--output", str(key), "--encrypt", "--json", home=False, BIBANK_KEY_PASSPHRASE=PASSPHRASE
    )
    assert (outcome.code, outcome.document["encrypted"]) == (0, True)
    assert not shows(outcome, PASSPHRASE)
    assert "seed" not in json.loads(key.read_bytes())
    assert from_key_file(key, passphrase=PASSPHRASE).public_key == outcome.document["public_key"]


def test_an_empty_passphrase_is_none(bibank: Command, tmp_path: Path) -> None:
    """An empty variable does not make a key that looks encrypted."""
    key = tmp_path / "sealed.key"
    outcome = bibank.run("keygen", "--output", str(key), "--encrypt", home=False, BIBANK_KEY_PASSPHRASE="")
    assert (outcome.code, key.exists()) == (7, False)


def test_without_a_terminal_a_passphrase_is_not_asked_for(
    bibank: Command, tmp_path: Path, encrypted: Path
) -> None:
    """A script that has no passphrase is told which variable to set, with exit code 7."""
    for words in (
        ("keygen", "--output", str(tmp_path / "new.key"), "--encrypt"),
        ("init", "--key-file", str(encrypted)),
    ):
        outcome = bibank.run(*words, "--json")
        assert (outcome.code, outcome.error["code"]) == (7, "keystore")
        assert "BIBANK_KEY_PASSPHRASE" in outcome.error["message"]
    assert not (tmp_path / "new.key").exists()
    assert not bibank.home.exists()


def at_a_terminal(*words: str, answers: dict[str, str]) -> tuple[int, str, str]:
    """Run the command at a terminal, answer its prompts in turn; give exit code, stdout, and the screen."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "bibank", *words],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("BIBANK_")},
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
        start_new_session=True,  # so that there is no other terminal to ask at
        encoding="utf-8",
    )
    os.close(theirs)
    screen = b""
    try:
        for prompt, answer in answers.items():
            while not screen.endswith(prompt.encode()):  # what is typed earlier is thrown away
                assert select.select([ours], [], [], TIMEOUT_SECONDS)[0], screen
                screen += os.read(ours, 65_536)
            os.write(ours, answer.encode() + b"\n")
        out, _ = process.communicate(timeout=TIMEOUT_SECONDS)
        with suppress(OSError):  # the other end is closed: that was all
            while piece := os.read(ours, 65_536):
                screen += piece
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    return process.returncode, out, screen.decode()


def test_a_passphrase_is_asked_for_twice(tmp_path: Path) -> None:
    """At a terminal --encrypt asks twice, and what is typed does not appear."""
    key = tmp_path / "sealed.key"
    code, out, screen = at_a_terminal(
        "keygen",
        "--output",
        str(key),
        "--encrypt",
        answers={"Passphrase of the new key: ": PASSPHRASE, "Once more: ": PASSPHRASE},
    )
    assert code == 0, screen
    assert PASSPHRASE not in out + screen
    assert from_key_file(key, passphrase=PASSPHRASE).public_key in out


def test_asking_hides_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both prompts are hidden, and go to stderr."""
    asked: list[dict[str, object]] = []

    def prompt(text: str, **options: object) -> str:
        asked.append(options)
        return PASSPHRASE

    monkeypatch.setattr("click.prompt", prompt)
    monkeypatch.setattr(signers, "has_terminal", lambda: True)
    monkeypatch.delenv("BIBANK_KEY_PASSPHRASE", raising=False)
    assert signers.new_passphrase() == PASSPHRASE
    assert [(options["hide_input"], options["err"]) for options in asked] == [(True, True)]
    assert asked[0]["confirmation_prompt"] == "Once more"


# ------------------------------------------------------------------ which key signs


def signed_by(outcome: Outcome) -> list[str]:
    """The public keys that signed the entry that a command committed."""
    return [signature["public_key"] for signature in outcome.document["signatures"]]


def test_the_home_signs_with_its_own_key(books: Command) -> None:
    """Without anything else the key file of the home signs."""
    outcome = books.ok("deposit", "ALICE", "1", "USDT", "--json")
    assert signed_by(outcome) == [from_key_file(books.key).public_key]


def test_a_key_file_elsewhere(bibank: Command, key: Path) -> None:
    """A ledger made with a key file has none of its own, and needs that file for each commit."""
    outcome = bibank.ok("init", "--key-file", str(key))
    assert " of SYSTEM\n" in outcome.err
    assert not bibank.key.parent.exists()
    without = bibank.run("deposit", "ALICE", "1", "USDT", "--json")
    assert (without.code, without.error["code"]) == (7, "keystore")
    made = bibank.ok("deposit", "ALICE", "1", "USDT", "--key-file", str(key), "--json")
    assert signed_by(made) == [from_key_file(key).public_key]
    for words in (("transfer", "ALICE", "BOB", "1", "USDT"), ("withdraw", "BOB", "1", "USDT")):
        bibank.ok(*words, "--key-file", str(key))
    assert bibank.ok("balance", "ALICE", "USDT", "--json").document["available"] == "0"


def test_an_encrypted_key_file(bibank: Command, encrypted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its passphrase comes from the environment or from the terminal; a wrong one ends with 7."""
    words = ("--key-file", str(encrypted), "--json")
    bibank.ok("init", *words, BIBANK_KEY_PASSPHRASE=PASSPHRASE)
    made = bibank.ok("deposit", "ALICE", "1", "USDT", *words, BIBANK_KEY_PASSPHRASE=PASSPHRASE)
    assert len(signed_by(made)) == 1
    wrong = bibank.run("deposit", "ALICE", "1", "USDT", *words, BIBANK_KEY_PASSPHRASE="battery")
    assert (wrong.code, wrong.error["code"]) == (7, "keystore")
    assert not shows(wrong, "battery")
    prompts: list[str] = []

    def prompt(text: str, **options: object) -> str:
        prompts.append(text)
        return PASSPHRASE

    monkeypatch.setattr("click.prompt", prompt)
    monkeypatch.setattr(signers, "has_terminal", lambda: True)
    asked = bibank.ok("deposit", "ALICE", "1", "USDT", *words)
    assert prompts == [f"Passphrase of {encrypted}"]
    assert not shows(asked, PASSPHRASE)


def test_a_key_in_the_environment(bibank: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """BIBANK_SYSTEM_KEY signs, is dropped before the ledger is opened, and is shown nowhere."""
    seen: list[bool] = []
    for name in ("create", "open"):
        real = getattr(Ledger, name)

        def spy(*arguments: object, real: object = real, **options: object) -> object:
            seen.append("BIBANK_SYSTEM_KEY" in os.environ)
            return real(*arguments, **options)  # type: ignore[operator]  # the method that it stands for

        monkeypatch.setattr(Ledger, name, spy)
    outcomes = [
        bibank.ok(*words, "--json", BIBANK_SYSTEM_KEY=SEED)
        for words in (("init",), ("deposit", "ALICE", "1", "USDT"))
    ]
    assert seen == [False, False]
    assert not bibank.key.parent.exists()
    assert bibank.run("deposit", "ALICE", "1", "USDT").code == 7
    assert not any(shows(outcome, SEED) for outcome in outcomes)


@pytest.mark.parametrize(
    "value", ["", "x", SEED[:-1], f"{SEED}0", SEED.upper(), f" {SEED}", SEED.replace("0", "g")]
)
def test_a_malformed_key_in_the_environment(books: Command, value: str) -> None:
    """It ends with 7, never with the home's key and never unsigned; and what it holds is not shown."""
    before = books.day.read_bytes()
    for words in (("deposit", "ALICE", "1", "USDT"), ("keyring", "rotate"), ("init", "--home", "elsewhere")):
        outcome = books.run(*words, "--json", BIBANK_SYSTEM_KEY=value)
        assert (outcome.code, outcome.error["code"], outcome.out) == (7, "keystore", "")
        assert len(value) < 2 or not shows(outcome, value)
    assert books.day.read_bytes() == before
    assert not Path("elsewhere").exists()


def test_a_key_file_overrules_the_environment(bibank: Command, key: Path) -> None:
    """What is written on the command line counts, whatever the variable holds."""
    bibank.ok("init", "--key-file", str(key), BIBANK_SYSTEM_KEY="malformed")
    made = bibank.ok(
        "deposit", "ALICE", "1", "USDT", "--key-file", str(key), "--json", BIBANK_SYSTEM_KEY=SEED
    )
    assert signed_by(made) == [from_key_file(key).public_key]


def test_another_key_than_the_ledgers(books: Command, key: Path) -> None:
    """A key that the keyring does not hold is a usage error, and commits nothing."""
    before = books.day.read_bytes()
    cases: list[tuple[tuple[str, ...], dict[str, str]]] = [
        (("--key-file", str(key)), {}),
        ((), {"BIBANK_SYSTEM_KEY": SEED}),
    ]
    for options, environment in cases:
        outcome = books.run("deposit", "ALICE", "1", "USDT", *options, "--json", home=True, **environment)
        assert (outcome.code, outcome.error["code"]) == (2, "configuration")
    assert books.day.read_bytes() == before


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o700 | 0o010])
def test_a_key_file_that_others_can_read(books: Command, key: Path, mode: int) -> None:
    """A key file that group or world can read ends with 7, the home's own too; the journal stays."""
    before = books.day.read_bytes()
    key.chmod(mode)
    books.key.chmod(mode)
    for words in (
        ("deposit", "ALICE", "1", "USDT", "--key-file", str(key)),
        ("deposit", "ALICE", "1", "USDT"),
        ("keyring", "add", "--key-file", str(key), "--role", "operator"),
        ("keyring", "rotate", "--key-file", str(key)),
        ("init", "--home", "elsewhere", "--key-file", str(key)),
    ):
        outcome = books.run(*words, "--json")
        assert (outcome.code, outcome.error["code"]) == (7, "keystore")
        assert "chmod 600" in outcome.error["message"]
        assert not shows(outcome, seed_of(key))
    assert books.day.read_bytes() == before
    assert not Path("elsewhere").exists()


def test_a_key_file_that_is_none(books: Command, tmp_path: Path) -> None:
    """A missing file and one of something else end with 7."""
    other = tmp_path / "other.key"
    other.write_text(SEED)
    other.chmod(0o600)
    for key in (other, tmp_path / "missing.key"):
        outcome = books.run("deposit", "ALICE", "1", "USDT", "--key-file", str(key), "--json")
        assert (outcome.code, outcome.error["code"]) == (7, "keystore")
        assert not shows(outcome, SEED)


def test_debugging_shows_no_secret(books: Command, key: Path) -> None:
    """BIBANK_DEBUG shows tracebacks, and no key."""
    outcome = books.run("deposit", "ALICE", "1", "USDT", BIBANK_SYSTEM_KEY=f"{SEED}!", BIBANK_DEBUG="1")
    assert (outcome.code, shows(outcome, SEED)) == (7, False)
    outcome = books.run("deposit", "ALICE", "1", "USDT", "--key-file", str(key), BIBANK_DEBUG="1")
    assert not shows(outcome, seed_of(key))
