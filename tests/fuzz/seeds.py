"""Where the fuzzer begins: `python -m tests.fuzz.seeds` writes one small file for each idea into the corpus.

What the fuzzer has found since then lies beside them, under names of its own.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from unittest import mock

import attrs

import bibank as bb
from bibank import drafts
from bibank.model.keyring import Keyring
from bibank.risk.engine import RiskEngine
from bibank.rules import EntryLimit
from bibank.signing import keyfile
from bibank.signing.keyfile import Cost, Secret
from bibank.store.jsonl.head import HeadMark, encode_slot
from tests.fuzz.journals import join_days, spell, spell_line
from tests.fuzz.targets import CORPUS, PASSPHRASE, cheap_derivation
from tests.signing.forge import ANNA, BERT, OWN, write_books, write_rotated
from tests.store.journals import DAYS, StillClock, counted_bytes, day_files, write_journal

Files = dict[str, bytes]

_WORDS = ("proposal", "approval", "account_frozen", "limit_set", "attestation", "override")
"""Records that people sign."""

ALICE = "LIAB:USER:ALICE:USDT:AVAILABLE"


def journals(scratch: Path) -> Files:
    """Whole journals, and what a crash, a disk or somebody made of them."""
    write_journal(scratch / "unsigned", keyring=Keyring.unsigned())
    write_journal(scratch / "days")
    write_rotated(scratch / "signed")
    write_rotated(scratch / "covered", mode="group")
    write_books(scratch / "books")
    write_governed(scratch / "governed")
    names = ("unsigned", "days", "signed", "covered", "books", "governed")
    days = {name: day_files(scratch / name) for name in names}
    unsigned, books = days["unsigned"], join_days(days["books"])
    whole = join_days(unsigned)
    first, second, third = (unsigned[name] for name in sorted(unsigned))
    lines = books.splitlines(keepends=True)
    hole = bytes(512)
    return {
        "whole-unsigned": whole,
        "whole-three-days": join_days(days["days"]),
        "whole-signed": join_days(days["signed"]),
        "whole-governed": join_days(days["governed"]),
        "whole-covered": join_days(days["covered"]),
        "empty": b"",
        "one-newline": b"\n",
        "only-nuls": bytes(64),
        "only-garbage": b"\xff\xfe{]",
        "half-a-genesis": first[:300],
        "genesis-only": b"".join(lines[:2]),
        "genesis-without-keyring": lines[0],
        "torn-in-a-line": whole[:-40],
        "torn-before-a-newline": whole[:-1],
        "torn-in-a-batch": b"".join([first, b"\f", second, b"\f", *third.splitlines(keepends=True)[:3]]),
        "torn-with-a-hole": whole[:-700] + hole + whole[-188:],
        "hole-before-a-later-group": books[: len(lines[0]) + 20] + hole + books[len(lines[0]) + 532 :],
        "nuls-inside-an-older-line": join_days(
            {**unsigned, min(unsigned): first[:250] + bytes(64) + first[314:]}
        ),
        "nuls-behind": whole + bytes(100),
        "nuls-behind-an-older-day": b"\f".join([first + bytes(9), second, third]),
        "empty-newest-day": b"\f".join([first, second, b""]),
        "nuls-as-newest-day": b"\f".join([first, second, bytes(600)]),
        "missing-day": b"\f".join([first, b"", third]),
        "days-exchanged": b"\f".join([second, first, third]),
        "old-day-without-newline": b"\f".join([first, second[:-1], third]),
        "line-dropped": b"".join(lines[:4] + lines[5:]),
        "line-doubled": b"".join(lines[:5] + lines[4:]),
        "lines-swapped": b"".join([*lines[:3], lines[4], lines[3], *lines[5:]]),
        "carriage-returns": books.replace(b"\n", b"\r\n"),
        "byte-order-mark": b"\xef\xbb\xbf" + books,
        "other-format": books.replace(b"bibank/1", b"bibank/2", 1),
        "deep-first-line": b'{"metadata":' + b"[" * 2000 + b"\n" + books,
        "digits-changed": books.replace(b'"amount":"1"', b'"amount":"7"'),
        "cover-taken-off": join_days(days["covered"]).replace(b'"cover":"group",', b""),
    }


def write_governed(home: Path) -> None:
    """Write a journal with a freeze, a proposal, its approvals and its entry, an attestation, an override."""
    with bb.Ledger.create(
        home,
        opening={"USDT": "9"},
        signer=OWN.signer,
        clock=StillClock(),
        durability="none",
        entropy=counted_bytes,
        risk=RiskEngine([EntryLimit(name="a/1", money="9 USDT")]),
    ) as opened:
        ledger = opened.bind(correlation_id="g")
        anna, bert = ANNA.signer, BERT.signer
        for signer in (anna, bert):
            ledger.keyring.add(signer, roles=(bb.Role.OPERATOR,), authorised_by=(anna,))
        deposit = ledger.deposit("ALICE", "5 USDT")
        account = bb.AccountKey(ALICE)
        postings = [bb.Posting.debit(account, 4), bb.Posting.credit("ASSET:SYSTEM:VAULT:USDT:MAIN", 4)]
        correction = drafts.adjustment(
            postings, purpose=bb.AdjustmentPurpose.CORRECTION, reason="typed", correlation_id="g"
        )
        govern = ledger.governance
        proposal = govern.propose(correction, idempotency_key="p")
        for signer in (anna, bert):
            govern.approve(proposal.sequence, signer)
        govern.freeze(account, reason="court", authorised_by=(anna,))
        govern.limit(account, floor=-1, reason="credit", authorised_by=(anna,))
        govern.attest(deposit.sequence, bert)
        until = StillClock().now() + timedelta(days=1)
        govern.override(correction, rule="a/1", expires_at=until, reason="once", authorised_by=(anna,))


def signature_of(line: bytes) -> bytes:
    """Give the hex digits of a line's signature."""
    return json.loads(line)["signatures"][0]["signature"].encode()  # type: ignore[no-any-return]  # it is text


def lines(scratch: Path) -> Files:
    """One line of every kind, and each of them spelled wrongly in one way."""
    signed = next(iter(day_files(scratch / "signed").values())).splitlines()
    governed = next(iter(day_files(scratch / "governed").values())).splitlines()
    records = {json.loads(line)["record"]: line for line in governed if b'"record":' in line}
    words = {kind.replace("_", "-"): records[kind] for kind in _WORDS}
    everyday, change = signed[3], next(line for line in signed if b"keyring_changed" in line)
    bare = json.loads(everyday)
    del bare["signatures"]
    leg = bare["postings"][0]
    rich = {"note": "caff\u00e8 \U0001f600", "a": [1, {"b": None}]}
    return {
        "genesis": signed[0],
        "keyring-adopted": signed[1],
        "keyring-changed": change,
        "envelope-not-base64": change.replace(b'"sig":"', b'"sig":":', 1),
        "envelope-loose-base64": change.replace(b'=="}', b'/="}', 1),
        "envelope-of-another-type": change.replace(b"keyring_changed+json", b"approval+json"),
        "envelope-without-signatures": change.replace(b'"sig"', b'"sog"'),
        "everyday-signed": everyday,
        "everyday": spell_line(bare),
        "signature-of-another-line": everyday.replace(signature_of(everyday), signature_of(signed[2])),
        "in-a-batch": signed[4],
        "in-an-open-group": spell_line({**bare, "sequence": 5, "batch": {"group": 4}}),
        "with-metadata": spell_line({**bare, "metadata": rich}),
        "with-a-cause": spell_line({**bare, "causality_id": "3"}),
        "four-legs": spell_line({**bare, "postings": [leg, leg, *bare["postings"][1:] * 2]}),
        "trade": spell_line({**bare, "intent": "trade", "metadata": {"trade_id": "t", "base_asset": "BTC"}}),
        **words,
        "adjustment-approved": next(line for line in governed if b'"bb.proposal"' in line),
        "adjustment": spell_line(
            {
                **bare,
                "intent": "adjustment",
                "metadata": {"requires_approval": True, "reason": "x", "purpose": "CORRECTION"},
            }
        ),
        "largest-amount": everyday.replace(b'"1"', b'"1701411834604692317316873037158.84105727"'),
        "reserved-metadata": spell_line({**bare, "metadata": {"bb.hold": "1"}}),
        "float": everyday.replace(b'"sequence":4', b'"sequence":4.0'),
        "not-a-number": everyday.replace(b'"metadata":{}', b'"metadata":{"a":NaN}'),
        "large-integer": everyday.replace(b'"sequence":4', b'"sequence":' + b"4" * 40),
        "doubled-member": everyday.replace(b'"metadata":{}', b'"metadata":{},"metadata":{}'),
        "doubled-in-metadata": everyday.replace(b'"metadata":{}', b'"metadata":{"a":1,"a":1}'),
        "lone-surrogate-escaped": everyday.replace(b'"metadata":{}', b'"metadata":{"a":"\\ud800"}'),
        "lone-surrogate-raw": everyday.replace(b'"metadata":{}', b'"metadata":{"a":"\xed\xa0\x80"}'),
        "arabic-digit": everyday.replace(b'"amount":"1"', '"amount":"\u0661"'.encode()),
        "escaped-letter": everyday.replace(b'"transfer"', b'"\\u0074ransfer"'),
        "upper-case-hex": everyday.replace(b'"hash":"', b'"hash":"A', 1),
        "deep": everyday.replace(b'"metadata":{}', b'"metadata":{"a":' + b"[" * 40 + b"]" * 40 + b"}"),
        "nothing": b"",
        "null": b"null",
    }  # fmt: skip


def key_files() -> Files:
    """Key files in the clear and sealed, and such as contradict themselves."""
    seed = Secret(counted_bytes(32))
    with mock.patch.object(keyfile, "_derive", cheap_derivation):
        sealed = keyfile.encode_sealed(
            seed,
            signer_id="ANNA_OPS",
            passphrase=PASSPHRASE,
            salt=counted_bytes(16),
            nonce=counted_bytes(24),
            cost=Cost(operations=2, memory_bytes=64 * 1024 * 1024),
        )
    clear = keyfile.encode_clear(seed, signer_id="SYSTEM")
    members = json.loads(sealed)
    return {
        "clear": clear,
        "sealed": sealed,
        "clear-digest": clear.replace(b'"ed25519"', b'"ed25519-digest"'),
        "clear-without-newline": clear.rstrip(),
        "clear-with-spaces": json.dumps(json.loads(clear)).encode(),
        "clear-seed-twice": clear.replace(b'"seed":', b'"seed":"x","seed":'),
        "clear-other-seed": clear.replace(b'"seed":"00', b'"seed":"ff'),
        "clear-reserved-scheme": clear.replace(b'"ed25519"', b'"secp256k1"'),
        "clear-as-utf-16": clear.decode().encode("utf-16"),
        "sealed-with-float": spell({**members, "operations": 2.0}) + b"\n",
        "sealed-with-lone-surrogate": json.dumps({**members, "signer_id": "\ud800"}).encode(),
        "sealed-with-deep-member": sealed.replace(b'"ANNA_OPS"', b"[" * 1500 + b"]" * 1500),
        "sealed-too-dear": spell({**members, "memory_bytes": 2**70}) + b"\n",
        "sealed-altered": spell({**members, "signer_id": "BERT_OPS"}) + b"\n",
        "nothing": b"",
        "null": b"null",
    }


def heads() -> Files:
    """Slots of HEAD, whole, torn and sealed with values that they cannot hold."""
    mark = HeadMark(sequence=2, hash="ab" * 32, file=f"{DAYS[0]}.jsonl", end=1024)
    whole = encode_slot(mark)
    members = json.loads(whole.partition(b" ")[0])
    return {
        "whole": whole,
        "empty-journal": encode_slot(HeadMark()),
        "largest": encode_slot(attrs.evolve(mark, sequence=2**63 - 1, end=2**63 - 1)),
        "torn": whole[:100] + bytes(412),
        "of-nuls": bytes(512),
        "two-slots": whole * 2,
        "sequence-true": spell({**members, "sequence": True}),
        "sequence-float": spell({**members, "sequence": 2.0}),
        "too-large": spell({**members, "end": 2**63}),
        "negative": spell({**members, "end": -1}),
        "other-file": spell({**members, "file": "../2026-01-25.jsonl"}),
        "one-more-member": spell({**members, "x": 1}),
        "no-object": b"[1]",
        "deep": b"[" * 400,
        "nothing": b"",
    }


def texts() -> dict[str, Files]:
    """The values that are read from one text each."""
    return {
        "account": {
            "user": ALICE.encode(),
            "house": b"ASSET:SYSTEM:VAULT:USDT:MAIN",
            "longest": f"EQUITY:SYSTEM:{'A' * 64}:{'B' * 64}:{'C_' * 31}CC".encode(),
            "too-long": f"EXP:SYSTEM:{'A' * 65}:B:C".encode(),
            "six-parts": f"{ALICE}:X".encode(),
            "newline": f"{ALICE}\n".encode(),
            "lower-case": ALICE.lower().encode(),
            "underscores": b"REV:USER:A__B:_C:D_",
            "wide-letter": "LIAB:USER:\uff21:USDT:AVAILABLE".encode(),
            "no-text": b"\xff:\xfe",
        },
        "amount": {
            "zero": b"0",
            "smallest": b"0.00000001",
            "largest": b"1701411834604692317316873037158.84105727",
            "over-the-range": b"1701411834604692317316873037158.84105728",
            "loose-zeros": b"007.50000000",
            "nine-decimals": b"1.000000000",
            "sign": b"-1",
            "minus-zero": b"-0",
            "exponent": b"1E+999999999",
            "small-exponent": b"1E-999999999",
            "negative-range": b"-1701411834604692317316873037158.84105728",
            "infinity": b"Infinity",
            "signalling-nan": b"sNaN123",
            "underscore": b"1_000",
            "arabic-digits": "\u0661\u0662".encode(),
            "newline": b"1\n",
        },
        "money": {
            "plain": b"100 USDT",
            "smallest": b"0.00000001 BTC",
            "two-spaces": b"1  USDT",
            "no-asset": b"1 ",
            "no-space": b"1USDT",
            "lower-case": b"1 usdt",
            "no-break-space": "1\u00a0USDT".encode(),
            "newline": b"1 USDT\n",
            "longest": b"1 " + b"A" * 64,
            "underscores": b"1 A_B",
        },
        "timestamp": {
            "seconds": b"2026-01-25T12:00:00Z",
            "microseconds": b"2026-01-25T12:00:00.000001Z",
            "zero-fraction": b"2026-01-25T12:00:00.000000Z",
            "leap-day": b"2024-02-29T23:59:59Z",
            "no-leap-day": b"2026-02-29T00:00:00Z",
            "leap-second": b"2016-12-31T23:59:60Z",
            "midnight-as-24": b"2026-01-25T24:00:00Z",
            "offset": b"2026-01-25T12:00:00+00:00",
            "year-zero": b"0000-01-01T00:00:00Z",
            "last-year": b"9999-12-31T23:59:59.999999Z",
            "arabic-digits": "\u0662\u0660\u0662\u0666-01-25T12:00:00Z".encode(),
            "newline": b"2026-01-25T12:00:00Z\n",
        },
    }


def corpus(scratch: Path) -> dict[str, Files]:
    """Every seed, by target and name."""
    return {
        "journal": journals(scratch),
        "line": lines(scratch),
        "key_file": key_files(),
        "head": heads(),
        **texts(),
    }


def write(directory: Path, make: Callable[[Path], dict[str, Files]] = corpus) -> None:
    """Write the seeds, and leave whatever else lies there."""
    with tempfile.TemporaryDirectory() as scratch:
        for target, files in make(Path(scratch)).items():
            (directory / target).mkdir(parents=True, exist_ok=True)
            for name, data in files.items():
                (directory / target / name).write_bytes(data)


if __name__ == "__main__":
    write(CORPUS)
