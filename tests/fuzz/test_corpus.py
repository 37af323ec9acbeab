"""The corpus of the fuzzer, replayed in the ordinary tests; and the oracle, which must see planted faults."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from bibank.journal import codec, reader
from bibank.model import account, amount, money, timestamp
from bibank.signing import keyfile
from bibank.store.jsonl import head, tail
from tests.fuzz import mutation, seeds, targets
from tests.fuzz.journals import Relinker, relinked, split_days
from tests.fuzz.targets import CORPUS, TARGETS

runner: Any = importlib.import_module("tests.fuzz.__main__")

INPUTS = [(path.parent.name, path.name) for path in sorted(CORPUS.glob("*/*"))]


@pytest.mark.parametrize(("target", "name"), INPUTS, ids=map("/".join, INPUTS))
def test_corpus(target: str, name: str) -> None:
    """What the fuzzer begins with, and what it found once, keeps the rule of its target."""
    TARGETS[target]((CORPUS / target / name).read_bytes())


def test_every_target_has_a_corpus_and_a_share() -> None:
    """A target that is not run, or begins with nothing, finds nothing."""
    assert {target for target, _ in INPUTS} == set(TARGETS) == set(runner.SHARES)
    longest = {name: max(len(path.read_bytes()) for path in (CORPUS / name).iterdir()) for name in TARGETS}
    assert all(size <= runner.SHARES[name].bytes for name, size in longest.items()), longest


def test_the_seeds_are_in_the_corpus(tmp_path: Path) -> None:
    """`python -m tests.fuzz.seeds` writes the same bytes at each run, and they are the ones in the corpus."""
    seeds.write(tmp_path)
    written = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.glob("*/*")}
    assert len(written) > 100
    assert written == {name: (CORPUS / name).read_bytes() for name in written}


# --------------------------------------------------------------------------- what gets past the hashes


def test_a_changed_journal_is_made_consistent_again() -> None:
    """Relinking leaves a whole journal as it is, and turns a changed one into one that replays."""
    for name in ("whole-unsigned", "whole-three-days", "whole-signed", "whole-covered"):
        days = split_days((CORPUS / "journal" / name).read_bytes())
        assert relinked(days) == days
        old, new = b'"correlation_id":"', b'"correlation_id":"x'
        again = relinked({day: content.replace(old, new) for day, content in days.items()})
        lines = [line for day in sorted(again) for line in again[day].splitlines()]
        assert targets.replayed(lines, diary=False)["position"]["sequence"] == len(lines) > 8


def test_what_cannot_be_relinked_stays() -> None:
    """Lines of another shape, and a genesis that names nothing, are left to the parsers."""
    odd = [b"", b"null", b"{", b'{"record":"keyring_changed"}', b'{"signatures":[1]}', b"[" * 100_000]
    for data in odd:
        assert Relinker().line(data) == data
    days = {"2026-01-25.jsonl": b'{"metadata":1}\n{"body":1}\ntail'}
    assert relinked(days)["2026-01-25.jsonl"].endswith(b"\ntail")


def test_mutations_stay_in_bounds() -> None:
    """A mutation of anything gives bytes of at most the size that was asked for, the same for a seed."""
    names = [name for target, name in INPUTS if target == "journal"]
    for seed in range(400):
        data = (CORPUS / "journal" / names[seed % len(names)]).read_bytes()
        lines = data.split(b"\n")
        for mutate, given in (
            (mutation.mutate_journal, data),
            (mutation.mutate_line, lines[seed % len(lines)]),
        ):
            made = mutate(given, 16_384, seed, cut)
            assert made == mutate(given, 16_384, seed, cut)
            assert len(made) <= 16_384
            assert len(mutate(given, 50, seed, cut)) <= 50


def cut(data: bytes, size: int) -> bytes:
    """Stand for the fuzzer's own mutation."""
    return data[:size]


# --------------------------------------------------------------------------- planted faults


def corpus_fails(target: str) -> bool:
    """Tell whether some input in a target's corpus breaks its rule now."""
    for path in sorted((CORPUS / target).iterdir()):
        try:
            TARGETS[target](path.read_bytes())
        except AssertionError:
            return True
    return False


def broken(*_: object, **__: object) -> Any:
    """Fail as a parser must not."""
    raise KeyError("planted")


def believe(*_: object) -> bool:
    """Let a signature pass without a look."""
    return True


class Anything(bytes):
    """Bytes that equal all others."""

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = bytes.__hash__


ANYTHING = Anything()


PLANTED: dict[str, tuple[str, Any, str, Any]] = {
    "line: an error of another type": ("line", codec, "parse_timestamp", broken),
    "line: a spelling is not compared": ("line", codec, "encode_line", lambda line: ANYTHING),
    "line: an error text without bound": ("line", codec, "excerpt", lambda value: repr(value) * 100),
    "line: the fast way believes signatures": (
        "line",
        reader.LineReader,
        "_accept_signature",
        believe,
    ),
    "journal: an error of another type": ("journal", tail, "decode_line", broken),
    "journal: a tear takes a line too many": ("journal", tail, "segments", lambda *_, **__: iter(())),
    "account: an error of another type": ("account", account, "is_part", broken),
    "account: lower case passes": ("account", account, "is_part", bool),
    "amount: nine decimals pass": (
        "amount",
        amount,
        "text_to_units",
        len,
    ),
    "amount: an error of another type": ("amount", amount, "_decimal_to_units", broken),
    "money: any asset passes": ("money", money, "check_asset", lambda asset: asset),
    "timestamp: an error of another type": ("timestamp", timestamp, "excerpt", broken),
    "key_file: any spelling passes": ("key_file", keyfile, "_is_spelling", lambda data, members: True),
    "head: any spelling passes": ("head", head, "encode_slot", lambda mark: ANYTHING),
}


@pytest.mark.parametrize("name", PLANTED)
def test_the_oracle_sees_a_planted_fault(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """With a fault in one parser its target fails on the corpus alone, and without it it does not."""
    target, module, attribute, instead = PLANTED[name]
    assert not corpus_fails(target)
    monkeypatch.setattr(module, attribute, instead)
    try:
        assert corpus_fails(target)
    finally:
        targets._places.clear()  # machines that have read with the fault
