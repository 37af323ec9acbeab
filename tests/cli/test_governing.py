"""The commands `propose`, `pending`, `approve` and `sign`."""

from __future__ import annotations

import json
import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import attrs
import pytest

import bibank as bb
from bibank.keystore import from_key_file, make_key_file
from bibank.model.keyring import NewKey
from bibank.model.policy import SIGNED_POLICIES
from bibank.signing import ApprovalTerms, Keyring, Purpose, Role
from tests.cli.command import ALICE, CORRECTION, VAULT, Command, Key, cells, refused

# ------------------------------------------------------------------ propose
SHOWN = "adjustment debit LIAB:USER:ALICE:USDT:AVAILABLE 45, credit ASSET:SYSTEM:VAULT:USDT:MAIN 45"
"""The correction, by whole account keys."""


def test_propose_for_people(governed: Command, key: Key) -> None:
    """It prints the line of the proposal, and what it waits for; who proposes is a signer."""
    line, stamp, waits = governed.ok(*CORRECTION, *key("anna")).out.splitlines()
    assert line == f"line 8: proposal by ANNA_OPS: {SHOWN}"
    assert re.fullmatch(r"\S+Z [0-9a-f]{64}", stamp)
    assert re.fullmatch(r"proposal 8 needs 2 more approvals until \S+Z", waits)
    assert governed.ok(*CORRECTION).out.startswith("line 9: proposal by SYSTEM: adjustment")


def test_propose_as_json(governed: Command, key: Key) -> None:
    """As JSON it is the record, under the correlation id of the request."""
    document = governed.ok(*CORRECTION, *key("anna"), "--correlation-id", "case-7", "--json").document
    assert (document["sequence"], document["kind"], document["subject"]) == (8, "proposal", "ANNA_OPS")
    payload = document["body"]["payload"]
    assert (document["correlation_id"], payload["correlation_id"]) == ("case-7", "case-7")
    assert payload["postings"] == [
        {"account": ALICE, "amount": "45", "side": "debit"},
        {"account": VAULT, "amount": "45", "side": "credit"},
    ]
    assert payload["metadata"]["reason"] == "50 was typed for 5"


def test_names_in_lower_case(governed: Command) -> None:
    """Account keys are upper-cased, a purpose is read in any case."""
    words = [word.lower() for word in CORRECTION[:-1]]
    assert governed.ok(*words, CORRECTION[-1], "--json").document["sequence"] == 8
    (row,) = governed.ok("pending", "--json").documents
    assert (row["purpose"], row["postings"][0]["account"]) == ("CORRECTION", ALICE)


def test_several_postings(governed: Command) -> None:
    """Both sides can be repeated; what is proposed has them in this order, debits first."""
    bob = ALICE.replace("ALICE", "BOB")
    governed.ok(
        *("propose", "adjustment", "--credit", VAULT, "3", "--debit", ALICE, "1", "--debit", bob, "2"),
        *("--purpose", "correction", "--reason", "both", "--effective-at", "2026-01-01T00:00:00Z"),
    )
    (row,) = governed.ok("pending", "--json").documents
    assert [(p["account"], p["amount"]) for p in row["postings"]] == [(ALICE, "1"), (bob, "2"), (VAULT, "3")]
    (record,) = governed.ok("records", "--kind", "proposal", "--json").documents
    assert record["body"]["payload"]["metadata"]["bb.effective_at"] == "2026-01-01T00:00:00Z"


def test_a_correlation_id_is_made_up(governed: Command) -> None:
    """Without one the proposal, and so the entry, gets a UUID, which is told."""
    outcome = governed.ok(*CORRECTION)
    label, _, trace = outcome.err.strip().partition(": ")
    assert (label, UUID(trace).version) == ("correlation id", 7)
    assert governed.ok("pending", "--json").document["correlation_id"] == trace


def test_too_few_persons(books: Command, key: Key) -> None:
    """Nothing is proposed that too few could approve."""
    assert refused(books, *CORRECTION) == "approval_required"
    books.ok("keyring", "add", *key("anna"), "--role", "operator")
    assert refused(books, *CORRECTION, *key("anna")) == "approval_required"


def test_who_may_not_propose(governed: Command, key: Key) -> None:
    """Somebody who is not in the keyring proposes nothing."""
    assert refused(governed, *CORRECTION, *key("mallory")) == "unknown_key"


# ------------------------------------------------------------------ pending


def test_pending(proposed: Command, key: Key) -> None:
    """The table says what is proposed, by whom and why, who has approved it, and until when it waits."""
    proposed.ok("approve", "8", *key("ben"))
    head, _, row = proposed.ok("pending").out.splitlines()
    columns = ["line", "proposer", "purpose", "needed", "approved by", "expires at", "reason", "entry"]
    assert re.split(r"  +", head.strip()) == columns
    *shown, until, reason, entry = re.split(r"  +", row.strip())
    assert shown == ["8", "ANNA_OPS", "CORRECTION", "2", "BEN_OPS"]
    assert (reason, entry) == ("50 was typed for 5", SHOWN)
    (document,) = proposed.ok("pending", "--json").documents
    assert (document["sequence"], document["approved_by"], document["needed"]) == (8, ["BEN_OPS"], 2)
    assert document["expires_at"] == until


def test_pending_beside_a_writer(proposed: Command) -> None:
    """The listing takes no lock; nothing is listed where nothing waits."""
    with bb.Ledger.open(proposed.home):
        assert len(proposed.ok("pending", "--json").documents) == 1


def test_nothing_is_pending(books: Command) -> None:
    """Where nothing waits, there is a table without rows, or no document."""
    assert cells(books.ok("pending").out) == []
    assert books.ok("pending", "--json").out == ""


def test_what_a_reason_says_to_a_terminal(governed: Command) -> None:
    """A character that turns the direction of writing is spelled out, so that a row is what it looks like."""
    hidden = "typed\u202e 5"
    governed.ok(*CORRECTION[:-1], hidden)
    assert "typed\\u202e 5" in governed.ok("pending").out
    assert "typed\\u202e 5" in governed.ok("records", "--kind", "proposal").out
    assert governed.ok("pending", "--json").document["reason"] == hidden


# ------------------------------------------------------------------ approve


def test_approve_for_people(proposed: Command, key: Key) -> None:
    """The first approval says what is missing, the second is followed by the entry."""
    line, _, what, waits = proposed.ok("approve", "8", *key("ben")).out.splitlines()
    assert what == f"approved: {SHOWN}"
    assert line == "line 9: approval of line 8 by BEN_OPS"
    assert waits.startswith("proposal 8 needs 1 more approval until ")
    lines = proposed.ok("approve", "8", *key("cleo")).out.splitlines()
    assert lines[0] == "line 10: approval of line 8 by CLEO_OPS"
    assert lines[2] == f"line 11: {SHOWN}"
    assert len(lines) == 4
    assert proposed.ok("balance", "ALICE", "USDT", "--json").document["available"] == "15"
    assert proposed.ok("pending", "--json").out == ""
    assert proposed.ok("audit", "--verify-signatures", "--json").document["signatures"] == 11


def test_approve_as_json(proposed: Command, key: Key) -> None:
    """As JSON there are the record, the entry once there is one, and how many approvals are missing."""
    first = proposed.ok("approve", "8", *key("ben"), "--json", "--correlation-id", "a1").document
    assert (first["record"]["kind"], first["record"]["correlation_id"]) == ("approval", "a1")
    assert (first["entry"], first["missing"]) == (None, 1)
    second = proposed.ok("approve", "8", *key("cleo"), "--json").document
    assert (second["record"]["sequence"], second["missing"]) == (10, 0)
    entry = second["entry"]
    assert (entry["sequence"], entry["intent"], entry["causality_id"]) == (11, "adjustment", "8")
    assert entry["correlation_id"] == "case-7"


def test_who_may_not_approve(proposed: Command, key: Key) -> None:
    """Neither the proposer, nor the ledger's own key, nor a stranger, nor anybody twice."""
    assert refused(proposed, "approve", "8", *key("anna")) == "own_proposal"
    assert refused(proposed, "approve", "8", *key("mallory")) == "unknown_key"
    assert refused(proposed, "approve", "8", "--key-file", str(proposed.key)) == "wrong_role"
    proposed.ok("approve", "8", *key("ben"))
    assert refused(proposed, "approve", "8", *key("ben")) == "same_key"
    proposed.ok("approve", "8", *key("cleo"))
    assert refused(proposed, "approve", "8", *key("cleo")) == "not_pending"
    text = proposed.run("approve", "8", *key("cleo"), "--correlation-id", "a9")
    assert (text.code, text.err) == (3, "error: line 8 is no open proposal; nothing would pass\n")


def test_an_expired_proposal(governed: Command, key: Key) -> None:
    """What has expired is neither listed nor approved."""

    class Yesterweek:
        def now(self) -> datetime:
            return datetime.now(UTC) + timedelta(days=-8)

    shutil.rmtree(governed.home)
    people = Path(key("anna")[1]).parent
    anna, ben, cleo = (from_key_file(people / f"{name}.key") for name in ("anna", "ben", "cleo"))
    with bb.Ledger.create(governed.home, opening={"USDT": "10"}, clock=Yesterweek()) as opened:
        ledger = opened.bind(correlation_id="r1")
        for operator, others in ((anna, [anna]), (ben, [anna]), (cleo, [anna, ben])):
            ledger.keyring.add(operator, roles=[Role.OPERATOR], authorised_by=others)
        draft = bb.drafts.adjustment(
            [bb.Posting.debit("EXP:SYSTEM:RENT:USDT:MAIN", 1), bb.Posting.credit(VAULT, 1)],
            purpose=bb.AdjustmentPurpose.EXPENSE,
            reason="rent",
            correlation_id="e1",
        )
        assert ledger.governance.propose(draft).sequence == 6
    assert refused(governed, "approve", "6", *key("ben")) == "expired"
    governed.ok("deposit", "ALICE", "1", "USDT")
    assert governed.ok("pending", "--json").out == ""


def test_a_rule_that_refuses_the_entry(proposed: Command, key: Key) -> None:
    """Then the approval is not written either, and can be given later."""
    proposed.ok("approve", "8", *key("ben"))
    proposed.ok("withdraw", "ALICE", "60", "USDT")
    assert refused(proposed, "approve", "8", *key("cleo")) == "insufficient_balance"
    proposed.ok("deposit", "ALICE", "60", "USDT")
    proposed.ok("approve", "8", *key("cleo"))


# ------------------------------------------------------------------ withdrawals above a sum


@pytest.fixture
def limited(bibank: Command, people: Path) -> Command:
    """The command, on a ledger of `own.key` that sends more than 100 USDT away only with an approval."""
    own = make_key_file(people / "own.key", signer_id="SYSTEM")
    signers = (own, *(from_key_file(people / f"{name}.key") for name in ("anna", "ben")))
    keys = tuple(
        NewKey(
            signer_id=signer.signer_id,
            algorithm=signer.algorithm,
            public_key=signer.public_key,
            roles=(Role.SYSTEM if signer is own else Role.OPERATOR,),
        )
        for signer in signers
    )
    policy = attrs.evolve(
        SIGNED_POLICIES[Purpose.ADJUSTMENT],
        threshold=1,
        approvals=ApprovalTerms(
            expires_after_seconds=3600,
            thresholds={bb.AdjustmentPurpose.CAPITAL: 2},
            withdrawals_above=("100 USDT",),
        ),
    )
    keyring = Keyring.first(keys, {**SIGNED_POLICIES, Purpose.ADJUSTMENT: policy})
    with bb.Ledger.create(bibank.home, opening={"USDT": "1000"}, signer=own, keyring=keyring) as ledger:
        ledger.deposit("ALICE", "500 USDT", correlation_id="r1")
    return bibank


def test_a_withdrawal_above_the_limit(limited: Command, people: Path, key: Key) -> None:
    """It is refused, proposed, approved, and gone; the ledger's own key lies elsewhere."""
    own, signed_by = str(people / "own.key"), ("--signed-by", str(people / "own.key"))
    assert refused(limited, "withdraw", "ALICE", "101", "USDT", "--key-file", own) == "approval_required"
    words = ("propose", "withdrawal", "alice", "101", "usdt", *key("anna"))
    without = limited.run(*words, "--json")
    assert (without.code, without.error["code"]) == (7, "keystore")
    line, *_ = limited.ok(*words, *signed_by).out.splitlines()
    assert line == "line 4: proposal by ANNA_OPS: withdrawal ALICE -> SYSTEM:VAULT 101 USDT"
    (row,) = limited.ok("pending", "--json").documents
    assert (row["purpose"], row["reason"], row["needed"]) == (None, None, 1)
    (shown,) = cells(limited.ok("pending").out)
    assert (*shown[:2], shown[-1]) == ("4", "ANNA_OPS", "withdrawal ALICE -> SYSTEM:VAULT 101 USDT")
    document = limited.ok("approve", "4", *key("ben"), *signed_by, "--json").document
    assert (document["entry"]["intent"], document["missing"]) == ("withdrawal", 0)


def test_the_terms_are_shown(limited: Command) -> None:
    """`keyring show` says how many approvals what needs, where the policy has terms of its own."""
    text = limited.ok("keyring", "show").out
    *_, capital, expense, _, _, withdrawal, waits = text.splitlines()
    assert re.split(r"  +", capital) == ["adjustment for CAPITAL", "2"]
    assert re.split(r"  +", expense) == ["adjustment for EXPENSE", "1"]
    assert re.split(r"  +", withdrawal) == ["withdrawal above 100 USDT", "1"]
    assert waits == "a proposal waits for them for 3600 seconds"
    policies = {row["purpose"]: row for row in limited.ok("keyring", "show", "--json").document["policies"]}
    assert policies["adjustment"]["approvals"] == {
        "expires_after_seconds": 3600,
        "thresholds": [{"purpose": "CAPITAL", "threshold": 2}],
        "withdrawals_above": ["100 USDT"],
    }
    assert policies["line"]["approvals"] is None


def test_a_withdrawal_that_needs_no_approval(limited: Command, people: Path) -> None:
    """It is not proposed, but made."""
    signed_by = ("--signed-by", str(people / "own.key"))
    outcome = limited.run("propose", "withdrawal", "ALICE", "100", "USDT", "--json", *signed_by)
    assert (outcome.code, outcome.error["code"]) == (2, "invalid_value")


def test_the_ledgers_own_key_from_the_environment(limited: Command, people: Path, key: Key) -> None:
    """A person's key file does not take the place of the ledger's key from the environment."""
    seed = json.loads((people / "own.key").read_bytes())["seed"]
    record = limited.ok(
        "propose", "withdrawal", "ALICE", "101", "USDT", *key("anna"), "--json", BIBANK_SYSTEM_KEY=seed
    ).document
    assert (record["subject"], record["signatures"][0]["signer_id"]) == ("ANNA_OPS", "SYSTEM")


# ------------------------------------------------------------------ sign


def test_sign(governed: Command, key: Key) -> None:
    """Any key of the keyring signs any line, once; the line stays as it is."""
    words = ("sign", "--entry-sequence", "3")
    before = governed.day.read_bytes()
    assert governed.ok(*words, *key("ben")).out.startswith("line 8: attestation of line 3 by BEN_OPS\n")
    assert governed.day.read_bytes().startswith(before)
    document = governed.ok(*words, "--key-file", str(governed.key), "--json").document
    assert (document["kind"], document["subject"], document["causality_id"]) == ("attestation", "SYSTEM", "3")
    governed.ok("sign", "--entry-sequence", "8", *key("ben"))
    assert refused(governed, *words, *key("ben")) == "same_key"
    assert refused(governed, *words, *key("mallory")) == "unknown_key"
    with bb.LedgerReader.open(governed.home) as reader:
        assert [(row.line, row.signer_id) for row in reader.attestations(3)] == [
            (3, "BEN_OPS"),
            (3, "SYSTEM"),
        ]


# ------------------------------------------------------------------ retries


def test_a_retry_gives_the_first_result(governed: Command, key: Key) -> None:
    """The second try under a key prints what the first committed, whatever has happened since."""
    commands = [
        (*CORRECTION, *key("anna")),
        ("approve", "8", *key("ben")),
        ("approve", "8", *key("cleo")),
        ("sign", "--entry-sequence", "3", *key("ben")),
    ]
    done: list[Any] = [
        governed.ok(*words, "--idempotency-key", f"k{number}", "--json").document
        for number, words in enumerate(commands)
    ]
    before = governed.day.read_bytes()
    for number, words in enumerate(commands):
        again = governed.ok(*words, "--idempotency-key", f"k{number}", "--json")
        assert {**again.document, "missing": 0} == {**done[number], "missing": 0}
        assert "was committed before under this key" in again.error["note"]
    assert governed.day.read_bytes() == before
    assert "proposal 8 waits no more" in governed.ok(*commands[1], "--idempotency-key", "k1").out
    assert len(governed.ok(*commands[0], "--idempotency-key", "k0").out.splitlines()) == 2
    assert refused(governed, *commands[3], "--idempotency-key", "k0") == "idempotency_conflict"


# ------------------------------------------------------------------ keys and arguments


def test_encrypted_keys_take_a_passphrase(proposed: Command, people: Path) -> None:
    """Without a terminal the passphrase comes from the environment; without either nothing is signed."""
    sealed = str(people / "sealed.key")
    signer = make_key_file(people / "sealed.key", signer_id="DORA_OPS", passphrase="correct horse")
    with bb.Ledger.open(proposed.home) as ledger:
        others = [from_key_file(people / f"{name}.key") for name in ("anna", "ben")]
        ledger.keyring.add(signer, roles=[Role.OPERATOR], authorised_by=others, correlation_id="k2")
    before = proposed.day.read_bytes()
    for words in (
        ("approve", "8", "--key-file", sealed),
        (*CORRECTION, "--key-file", sealed),
        ("sign", "--entry-sequence", "3", "--key-file", sealed),
        ("freeze", ALICE, "--reason", "r", "--authorise", sealed),
    ):
        for environment in ({}, {"BIBANK_KEY_PASSPHRASE": "wrong"}):
            outcome = proposed.run(*words, "--json", home=True, **environment)
            assert (outcome.code, outcome.error["code"]) == (7, "keystore"), outcome
        assert proposed.day.read_bytes() == before
    line, *_ = proposed.ok(
        "approve", "8", "--key-file", sealed, BIBANK_KEY_PASSPHRASE="correct horse"
    ).out.splitlines()
    assert line == "line 10: approval of line 8 by DORA_OPS"


@pytest.mark.parametrize(
    "words",
    [
        ("propose", "transfer"),
        CORRECTION[:-2],
        (*CORRECTION[:2], *CORRECTION[5:]),
        (*CORRECTION[:5], *CORRECTION[8:]),
        (*CORRECTION[:9], "FUN", *CORRECTION[10:]),
        (*CORRECTION, "--dry-run"),
        ("propose", "withdrawal", "ALICE", "1"),
        ("pending", "8"),
        ("approve", "8"),
        ("approve", "--key-file", "x.key"),
        ("approve", "-8", "--key-file", "x.key"),
        ("approve", "8.0", "--key-file", "x.key"),
        ("approve", "\u0668", "--key-file", "x.key"),
        ("sign", "--key-file", "x.key"),
        ("sign", "--entry-sequence", "3"),
        ("sign", "--entry-sequence", "x", "--key-file", "x.key"),
        ("records", "--kind", "entry"),
        ("records", "--limit", "-1"),
    ],
)
def test_usage(governed: Command, words: tuple[str, ...]) -> None:
    """What cannot be understood ends with 2."""
    outcome = governed.run(*words)
    assert (outcome.code, outcome.out) == (2, "")
    assert "Error: " in outcome.err


def adjustment(
    *, debit: str = ALICE, amount: str = "45", credit: str = VAULT, reason: str = "r"
) -> tuple[str, ...]:
    """The words of a proposal, with something wrong in one of them."""
    sides = ("--debit", debit, amount, "--credit", credit, "45")
    return ("propose", "adjustment", *sides, "--purpose", "CORRECTION", "--reason", reason)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (adjustment(amount="44"), "unbalanced_entry"),
        (adjustment(amount="-45"), "amount_underflow"),
        (adjustment(amount="4.5e1"), "invalid_amount"),
        (adjustment(debit="ALICE"), "invalid_account_key"),
        (adjustment(credit=VAULT.replace("USDT", "BTC")), "unbalanced_entry"),
        (adjustment(reason=""), "intent_violation"),
        (adjustment(reason="a\nb"), "invalid_metadata"),
        ((*adjustment(), "--effective-at", "soon"), "invalid_timestamp"),
        ((*adjustment(), "--correlation-id", ""), "missing_correlation_id"),
        (("propose", "withdrawal", "ALICE", "-5", "USDT"), "amount_underflow"),
        (("propose", "withdrawal", "a b", "5", "USDT"), "invalid_account_key"),
        (("propose", "withdrawal", "ALICE", "5", "USDT"), "invalid_value"),
        (("approve", "3"), "unknown_sequence"),
        (("approve", "5"), "unknown_sequence"),
        (("approve", "99"), "unknown_sequence"),
        (("approve", "0"), "unknown_sequence"),
        (("sign", "--entry-sequence", "99"), "unknown_sequence"),
        (("sign", "--entry-sequence", "0"), "unknown_sequence"),
    ],
)
def test_hostile_arguments(governed: Command, key: Key, words: tuple[str, ...], code: str) -> None:
    """They are typed errors with exit code 2, and nothing is written."""
    before = governed.day.read_bytes()
    outcome = governed.run(*words, *key("ben"), "--json")
    assert (outcome.code, outcome.out, outcome.error["code"]) == (2, "", code)
    assert governed.day.read_bytes() == before


def test_an_unsigned_ledger_proposes_nothing(bibank: Command, key: Key) -> None:
    """It has no key of its own, and no operator."""
    bibank.ok("init", "--unsigned", "--capital", "10 USDT")
    outcome = bibank.run(*CORRECTION, "--json")
    assert (outcome.code, outcome.error["code"]) == (2, "configuration")
    assert refused(bibank, *CORRECTION, *key("anna")) == "approval_required"
