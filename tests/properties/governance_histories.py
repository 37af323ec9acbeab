"""Random histories of governance: what is asked, how a ledger is asked, and how the answers are compared."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from hypothesis import strategies as st

import bibank as bb
from bibank import drafts
from bibank.errors import NotAuthorised
from bibank.rules import Refusal, RiskView
from bibank.signing import (
    AdjustmentPurpose,
    ApprovalTerms,
    Ed25519Signer,
    Envelope,
    KeyringChange,
    NewKey,
    Policy,
    Purpose,
    Role,
)
from tests.properties.governance_oracle import CEILING, PEOPLE, Answer, Books
from tests.properties.governance_spelling import Asked, account, asset_of, capital, locked, vault

Line = bb.JournalEntry | bb.JournalRecord
NOON = datetime(2026, 1, 25, 12, tzinfo=UTC)
OPENING = {"USDT": 1_000, "BTC": 100}
SIGNERS = {
    name: Ed25519Signer(name.encode().rjust(32, b"."), signer_id=person)
    for name, (person, _) in PEOPLE.items()
}
KEY_IDS = {
    name: sha256(bytes.fromhex(signer.public_key)).hexdigest()[:16] for name, signer in SIGNERS.items()
}


class MovedClock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.seconds = 0

    def now(self) -> datetime:
        """Give the time that was set."""
        return moment(self.seconds)


def moment(seconds: int) -> datetime:
    """Give a time by its distance from noon."""
    return NOON + timedelta(seconds=seconds)


class Ceiling:
    """The host's own rule: no transfer of more than 50."""

    name = "ceiling/1"

    def check(self, entry: bb.UnsignedEntry, view: RiskView) -> Refusal | None:
        """Look at the largest posting; held money is of no concern."""
        if entry.intent is not bb.TransactionIntent.TRANSFER:
            return None
        if any(posting.account.sub_account == "LOCKED" for posting in entry.postings):
            return None
        if max(posting.amount.units for posting in entry.postings) <= CEILING * 10**8:
            return None
        return Refusal(message="too much at once", advice="less would pass")


# --------------------------------------------------------------------------- what is asked

ALICE, BOB, CAROL = (account(owner, "USDT") for owner in ("ALICE", "BOB", "CAROL"))
_units = st.sampled_from([1, 1, 5, 5, 20, 60])
_assets = st.sampled_from(["USDT", "USDT", "USDT", "BTC"])
_traces = st.sampled_from(["t1", "t1", "t2"])
names = st.sampled_from(sorted(PEOPLE))
keys = st.sampled_from([None, None, None, "k1", 'k"2'])
accounts = st.sampled_from(
    [ALICE, ALICE, ALICE, BOB, BOB, locked(ALICE), vault("USDT"), capital("USDT"), CAROL]
)
"""Accounts that are decided about: two that move, held money, some of the house, one not yet made."""


@st.composite
def everyday(draw: st.DrawFn) -> Asked:
    """A deposit, a withdrawal or a transfer."""
    kind = draw(st.sampled_from(["deposit", "deposit", "transfer", "transfer", "withdrawal"]))
    one, two = draw(
        st.sampled_from([("ALICE", "BOB"), ("BOB", "ALICE"), ("ALICE", "CAROL"), ("CAROL", "BOB")])
    )
    asset, units = draw(_assets), draw(_units)
    pair = {
        "deposit": (vault(asset), account(one, asset)),
        "withdrawal": (account(one, asset), vault(asset)),
        "transfer": (account(one, asset), account(two, asset)),
    }[kind]
    legs = [(pair[0], "debit", units), (pair[1], "credit", units)]
    return {"intent": kind, "legs": legs, "purpose": None, "trace": draw(_traces)}


@st.composite
def adjustments(draw: st.DrawFn) -> Asked:
    """An adjustment of any purpose; some take from an account and give the same back."""
    pairs = [(ALICE, vault("USDT")), (vault("USDT"), ALICE), (ALICE, BOB), (BOB, ALICE), (ALICE, ALICE)]
    legs = []
    for debit, credit in draw(st.lists(st.sampled_from(pairs), min_size=1, max_size=2)):
        units = draw(_units)
        legs += [(debit, "debit", units), (credit, "credit", units)]
    purpose = draw(st.sampled_from(["CORRECTION", "CORRECTION", "CAPITAL", "EXPENSE", "REVENUE_PAYOUT"]))
    return {"intent": "adjustment", "legs": legs, "purpose": purpose, "trace": draw(_traces)}


@st.composite
def decisions(draw: st.DrawFn) -> Asked:
    """A decision about an account."""
    kinds = ["account_frozen", "account_reopened", "account_reopened", "account_closed", "limit_set"]
    kind = draw(st.sampled_from(kinds))
    floor = draw(st.sampled_from([-100, -10, 0, 1])) if kind == "limit_set" else None
    return {"kind": kind, "account": draw(accounts), "floor": floor, "reason": draw(_traces)}


proposable = st.one_of(
    adjustments(), adjustments(), everyday().filter(lambda entry: entry["intent"] == "withdrawal")
)

TERMS: dict[str, dict[str, Any]] = {
    "none": {"threshold": 0, "thresholds": {}, "above": {}, "expires": 7 * 86_400},
    "plain": {"threshold": 2, "thresholds": {}, "above": {}, "expires": 7 * 86_400},
    "high": {"threshold": 3, "thresholds": {"EXPENSE": 1}, "above": {"USDT": 5}, "expires": 3_600},
    "rich": {
        "threshold": 2,
        "thresholds": {"CAPITAL": 3, "EXPENSE": 1},
        "above": {"USDT": 50},
        "expires": 600,
    },
}
"""Policies for adjustments. The first gives up approvals, and is always refused."""

_policies = st.one_of(
    st.sampled_from(sorted(TERMS)).map(lambda name: {"adjustment": TERMS[name]}),
    st.fixed_dictionaries({"rules": st.sampled_from([1, 2])}),
    st.fixed_dictionaries({"keyring": st.sampled_from([1, 2])}),
)
_people = st.sampled_from(sorted(name for name, (_, role) in PEOPLE.items() if role != "system"))
_newcomers = st.sampled_from(["anna2", "ben2", "dora1", "anna1", "cleo1"])
_ended = st.tuples(_people, st.sampled_from(["retire", "revoke"]))


@st.composite
def keyring_changes(draw: st.DrawFn) -> Asked:
    """A key more, a key less, another policy; sometimes nothing, or what cannot be."""
    what = draw(st.sampled_from(["add", "add", "end", "end", "policy", "policy", "swap", "nothing"]))
    asked: Asked = {"add": [], "retire": {}, "revoke": {}, "policies": {}}
    if what in ("add", "swap"):
        asked["add"] = [draw(_newcomers)]
    if what in ("end", "swap"):
        name, how = draw(_ended)
        if name not in asked["add"]:
            asked[how] = {name: f"{how}d"}
    if what == "policy":
        asked["policies"] = draw(_policies)
    return asked


# --------------------------------------------------------------------------- asking a ledger


DECIDE = {
    "account_frozen": "freeze",
    "account_reopened": "reopen",
    "account_closed": "close",
    "limit_set": "limit",
}
"""The verb of each kind of record about an account."""


def draft_of(entry: Asked) -> bb.UnsignedEntry:
    """Write an entry."""
    postings = [
        (bb.Posting.debit if side == "debit" else bb.Posting.credit)(bb.AccountKey(name), units)
        for name, side, units in entry["legs"]
    ]
    if entry["intent"] == "adjustment":
        return drafts.adjustment(
            postings,
            purpose=AdjustmentPurpose(entry["purpose"]),
            reason="so",
            correlation_id=entry["trace"],
        )
    intent = bb.TransactionIntent(entry["intent"])
    return bb.UnsignedEntry(intent=intent, correlation_id=entry["trace"], postings=postings)


def policy_of(purpose: str, value: Any) -> Policy:
    """Write a policy."""
    if purpose != "adjustment":
        return Policy(role=Role.OPERATOR, threshold=value)
    plain = not value["thresholds"] and not value["above"]
    terms = ApprovalTerms(
        expires_after_seconds=value["expires"],
        thresholds={AdjustmentPurpose(name): number for name, number in value["thresholds"].items()},
        withdrawals_above=[f"{units} {asset}" for asset, units in value["above"].items()],
    )
    return Policy(role=Role.OPERATOR, threshold=value["threshold"], approvals=None if plain else terms)


def new_key(name: str) -> NewKey:
    """Describe a key that is to be added."""
    person, role = PEOPLE[name]
    signer = SIGNERS[name]
    return NewKey(
        signer_id=person, algorithm=signer.algorithm, public_key=signer.public_key, roles=(Role(role),)
    )


def signed(envelope: Envelope, by: list[str]) -> Envelope:
    """Have an envelope signed by keys, each once."""
    for name in by:
        envelope = envelope.signed_by(SIGNERS[name])
    return envelope


def _change(ledger: bb.Ledger, books: Books, asked: Asked, by: list[str]) -> tuple[int, ...]:
    change = KeyringChange(
        add=tuple(map(new_key, asked["add"])),
        retire=tuple(KEY_IDS[name] for name in asked["retire"]),
        revoke={KEY_IDS[name]: books.sequence for name in asked["revoke"]},
        policies={Purpose(name): policy_of(name, value) for name, value in asked["policies"].items()},
    )
    envelope = signed(ledger.keyring.draft(change), sorted({*books.signers(by), *asked["add"]}))
    successor = SIGNERS[asked["add"][0]] if books.own in asked["retire"] else None
    return (ledger.keyring.commit(envelope, correlation_id="k", signer=successor).sequence,)


def envelope_of(ledger: bb.Ledger, verb: str, asked: Asked, by: Any) -> Envelope:
    """Have a decision or an approval signed, to be committed later."""
    if verb == "approve":
        return signed(ledger.governance.draft_approval(asked["sequence"]), [by])
    floor = asked["floor"]
    draft = ledger.governance.draft_decision(
        bb.RecordKind(asked["kind"]),
        bb.AccountKey(asked["account"]),
        reason=asked["reason"],
        floor=None if floor is None else bb.SignedAmount(floor),
    )
    return signed(draft, by)


def _ask(
    ledger: bb.Ledger, books: Books, verb: str, asked: Asked, by: Any, key: str | None
) -> tuple[int, ...]:
    govern = ledger.governance
    common: Any = {"correlation_id": "r", "idempotency_key": key}
    match verb:
        case "book":
            entries = [draft_of(entry) for entry in asked["entries"]]
            if len(entries) == 1:
                return (ledger.commit(entries[0], idempotency_key=key).sequence,)
            return tuple(done.sequence for done in ledger.commit_batch(entries, idempotency_key=key))
        case "hold":
            money = bb.Money(asked["units"], asset_of(asked["account"]))
            return (ledger.hold(bb.AccountKey(asked["account"]), money, to=bb.WITHDRAWAL, **common).id,)
        case "void":
            return tuple(done.sequence for done in ledger.void_hold(asked["hold"], **common))
        case "decide":
            decide = getattr(govern, DECIDE[asked["kind"]])
            if asked["floor"] is not None:
                common["floor"] = asked["floor"]
            common |= {"reason": asked["reason"], "authorised_by": [SIGNERS[name] for name in by]}
            record: bb.JournalRecord = decide(bb.AccountKey(asked["account"]), **common)
            return (record.sequence,)
        case "propose":
            signer = None if by is None else SIGNERS[by]
            draft = draft_of(asked["entry"])
            return (govern.propose(draft, proposed_by=signer, idempotency_key=key).sequence,)
        case "approve":
            done = govern.approve(asked["sequence"], SIGNERS[by], **common)
            return (done.record.sequence, *((done.entry.sequence,) if done.entry is not None else ()))
        case "attest":
            return (govern.attest(asked["sequence"], SIGNERS[by], **common).sequence,)
        case "override":
            common |= {"reason": asked["reason"], "authorised_by": [SIGNERS[name] for name in by]}
            common |= {"rule": Ceiling.name, "expires_at": moment(asked["expires"])}
            return (govern.override(draft_of(asked["entry"]), **common).sequence,)
        case _:
            return _change(ledger, books, asked, by)


def code_of(error: bb.BibankError) -> str:
    """Spell a refusal as the oracle does."""
    return f"not_authorised:{error.reason}" if isinstance(error, NotAuthorised) else error.code


def ask(
    ledger: bb.Ledger, books: Books, verb: str, asked: Asked, by: Any = None, key: str | None = None
) -> tuple[int, ...] | str:
    """Ask a ledger; give sequences or the code of the error. The books say only who signs by itself."""
    try:
        return _ask(ledger, books, verb, asked, by, key)
    except bb.BibankError as error:
        return code_of(error)


def deliver(ledger: bb.Ledger, envelope: Envelope) -> tuple[int, ...] | str:
    """Commit what was signed beforehand."""
    try:
        return tuple(line.sequence for line in ledger.governance.commit(envelope, correlation_id="late"))
    except bb.BibankError as error:
        return code_of(error)


def check_answer(found: tuple[int, ...] | str, expected: Answer) -> None:
    """Demand the sequences of the oracle, or one of its refusals."""
    if isinstance(expected, tuple):
        assert found == expected
    else:
        assert found in expected, (found, expected)


# --------------------------------------------------------------------------- comparing


def check_books(ledger: bb.Ledger | bb.LedgerReader, books: Books) -> None:
    """Demand that balances, terms of accounts, and what is pending are the oracle's."""
    assert ledger.head.sequence == books.sequence
    found = {str(row.account): row.balance.units for row in ledger.accounts()}
    assert found == {name: units * 10**8 for name, units in books.units.items()}
    assert [
        (str(row.account), row.status.value, None if row.floor is None else row.floor.units, row.sequence)
        for row in ledger.account_terms()
    ] == [
        (
            name,
            terms["status"],
            None if terms["floor"] is None else terms["floor"] * 10**8,
            terms["sequence"],
        )
        for name, terms in sorted(books.terms.items())
    ]
    assert [
        (
            row.sequence,
            row.proposer,
            row.intent.value,
            None if row.purpose is None else row.purpose.value,
            row.approved_by,
            row.needed,
            int((row.expires_at - NOON).total_seconds()),
        )
        for row in ledger.pending()
    ] == books.pending()


def check_lines(ledger: bb.Ledger | bb.LedgerReader, books: Books) -> None:
    """Demand that every line is of the oracle's kind, and every entry carried out names what approved it."""
    lines = {number: ledger.line(number) for number in books.lines}
    for number, kind in books.lines.items():
        line = lines[number]
        assert (line.kind if isinstance(line, bb.JournalRecord) else line.intent).value == kind
        if not isinstance(line, bb.JournalEntry):
            continue
        cited = books.causes.get(number)
        if cited is None:
            assert "bb.proposal" not in line.metadata
            continue
        assert (line.causality_id, line.batch.first, line.batch.size) == (str(cited), number - 1, 2)
        assert line.metadata["bb.proposal"] == _digest(lines[cited], "payload")
        given = [lines[seq] for seq in range(cited, number) if _approves(lines[seq], cited)]
        counted = {_digest(record): _key_of(record) for record in given}
        named = line.metadata["bb.approvals"]
        assert isinstance(named, tuple)
        assert list(named) == sorted(str(name) for name in named)
        approvals = books.proposals[cited]["approvals"]
        assert sorted(counted[str(name)] for name in named) == sorted(KEY_IDS[name] for name in approvals)
    assert sorted((row.line, row.key_id) for row in ledger.attestations()) == sorted(
        (line, KEY_IDS[name]) for line, name in books.attested
    )


def _body(line: Line) -> dict[str, Any]:
    assert isinstance(line, bb.JournalRecord)
    body: dict[str, Any] = json.loads(json.dumps(line.body, default=_plain))
    return {name: value for name, value in body.items() if not name.startswith("bb.")}


def _plain(value: Any) -> Any:
    return dict(value.items())


def _digest(line: Line, member: str | None = None) -> str:
    body = _body(line) if member is None else _body(line)[member]
    spelled = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return sha256(spelled.encode()).hexdigest()


def _approves(line: Line, cited: int) -> bool:
    return (
        isinstance(line, bb.JournalRecord)
        and line.kind.value == "approval"
        and _body(line)["payload"]["sequence"] == cited
    )


def _key_of(line: Line) -> str:
    (signature,) = _body(line)["signatures"]
    return str(signature["keyid"])
