"""Journals for the fuzzer: bytes as a directory of day files, and damaged journals made consistent again.

Byte flips alone stop at the first hash. So the targets try each input twice: as it is, and numbered, linked,
hashed and signed anew by :func:`relinked`, as an attacker with all the keys would.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from bibank.store.jsonl.files import FileStat
from bibank.store.jsonl.head import EMPTY, HEAD_NAME, HeadMark, encode_slot
from tests.signing.forge import (
    ANNA,
    ANNA_AGAIN,
    BERT,
    NEXT,
    OWN,
    Key,
    envelope,
    fingerprint_of,
    pae,
    signature,
)
from tests.store.journals import DAYS, counted_bytes

DAY_BREAK = b"\f"
"""What separates the day files in one input: no line holds this byte as it is."""

ORDER = (
    *("sequence", "prev_hash", "hash", "timestamp", "intent", "record", "subject", "correlation_id"),
    *("causality_id", "batch", "postings", "metadata", "body", "signatures"),
)

Line = dict[str, Any]

_HEX_DIGITS, _BASE64_DIGITS = 128, 88
"""The length of a signature in a line, and of one in an envelope."""


@attrs.frozen
class _CountedKey(Key):
    """The key of the journals that the tests of the store write."""

    @property
    def seed(self) -> bytes:
        """The private half."""
        return counted_bytes(32)


KEYS = {key.public_key: key for key in (OWN, NEXT, ANNA, BERT, ANNA_AGAIN, _CountedKey(0))}
KEYS_BY_ID = {key.key_id: key for key in KEYS.values()}


class MemoryFiles:
    """`Files` over a dict, of which only the reading half is there."""

    def __init__(self, content: Mapping[str, bytes]) -> None:
        self.content = content

    def listdir(self) -> list[str]:
        """Name the files."""
        return sorted(self.content)

    def stat(self, name: str) -> FileStat | None:
        """Describe a file."""
        found = self.content.get(name)
        return None if found is None else FileStat(size=len(found), is_regular=True, links=1, owner=0)

    def read(self, name: str, *, offset: int, size: int) -> bytes:
        """Read a part of a file."""
        return self.content[name][offset : offset + size]

    def release(self) -> None:
        """Nothing is held."""

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"whoever reads a journal has no need of {name}")


def journal_directory(days: Mapping[str, bytes], mark: HeadMark = EMPTY) -> Any:
    """Give the directory of a journal that holds these day files, with a HEAD that names a line or none."""
    return MemoryFiles({**days, HEAD_NAME: encode_slot(mark) * 2})


def split_days(data: bytes) -> dict[str, bytes]:
    """Read an input as up to three day files."""
    parts = data.split(DAY_BREAK, len(DAYS) - 1)
    return {f"{day}.jsonl": part for day, part in zip(DAYS, parts, strict=False)}


def join_days(days: Mapping[str, bytes]) -> bytes:
    """Write day files as one input."""
    return DAY_BREAK.join(days[name] for name in sorted(days))


def spell(value: object) -> bytes:
    """Spell a JSON value as the format does, by the standard library alone."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "surrogatepass")


def spell_line(line: Mapping[str, Any]) -> bytes:
    """Spell a line: its members in the order of the format, unknown ones behind them, the rest sorted."""
    names = [name for name in ORDER if name in line] + sorted(line.keys() - set(ORDER))
    return b"{" + b",".join(spell(name) + b":" + spell(line[name]) for name in names) + b"}"


def parse(data: bytes) -> Line | None:
    """Read a JSON object, leniently; None when it is none."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


@attrs.define
class Relinker:
    """Makes lines follow from each other, as far as they can be read."""

    ledger_id: str = ""
    fingerprint: str = ""
    head: Line | None = None
    proposals: dict[int, str] = attrs.field(factory=dict)
    approvals: dict[int, list[str]] = attrs.field(factory=dict)

    def line(self, data: bytes) -> bytes:
        """Number, link, hash and sign one line; give it unchanged when it cannot be read."""
        found = parse(data)
        if found is None:
            return data
        try:
            self._settle(found)
            spelled = spell_line(found)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return data  # of a shape that nobody could hash or sign
        self.head = found
        return spelled

    def _settle(self, line: Line) -> None:
        head = self.head
        line["sequence"] = 1 if head is None else head["sequence"] + 1
        line["prev_hash"] = "GENESIS" if head is None else head["hash"]
        if line.get("record") == "keyring_adopted":
            line["subject"] = line["body"]["ledger"] = self.ledger_id
        if line.get("record") == "keyring_changed":
            self._sign_change(line)
        elif "payload" in line.get("body", {}):
            self._sign_word(line)
        elif "bb.proposal" in line.get("metadata", {}):
            cited = int(line["causality_id"])
            line["metadata"]["bb.proposal"] = self.proposals[cited]
            line["metadata"]["bb.approvals"] = sorted(self.approvals[cited])
        bare = {name: value for name, value in line.items() if name not in ("hash", "signatures")}
        line["hash"] = hashlib.sha256(spell({**bare, "ledger": self.ledger_id})).hexdigest()
        if "signatures" in line:
            line["signatures"] = [self._signed(line, claim) for claim in line["signatures"]]

    def _sign_change(self, line: Line) -> None:
        payload = line["body"]["payload"]
        payload["ledger"], payload["previous"] = self.ledger_id, self.fingerprint
        claims = line["body"]["signatures"]
        for claim in claims:
            key = KEYS_BY_ID.get(claim["keyid"])
            if key is not None and len(claim["sig"]) == _BASE64_DIGITS:
                claim["sig"] = envelope(payload, (key,))["signatures"][0]["sig"]
        self.fingerprint = fingerprint_of(self.fingerprint, payload["change"])

    def _sign_word(self, line: Line) -> None:
        """Sign what people sign in a record anew, and let approvals be of the proposals as they are now."""
        body = line["body"]
        payload = body["payload"]
        payload["ledger"] = self.ledger_id
        if line["record"] == "approval":
            payload["proposal"] = self.proposals.get(payload["sequence"], payload["proposal"])
        for claim in body["signatures"]:
            key = KEYS_BY_ID.get(claim["keyid"])
            if key is not None and len(claim["sig"]) == _BASE64_DIGITS:
                claim["sig"] = base64.b64encode(key.sign(pae(line["record"], spell(payload)))).decode()
        if line["record"] == "proposal":
            self.proposals[line["sequence"]] = hashlib.sha256(spell(payload)).hexdigest()
        elif line["record"] == "approval":
            signed = {name: body[name] for name in ("payload", "payloadType", "signatures")}
            digest = hashlib.sha256(spell(signed)).hexdigest()
            self.approvals.setdefault(payload["sequence"], []).append(digest)

    def _signed(self, line: Line, claim: Line) -> Line:
        key = KEYS.get(claim["public_key"])
        if key is None or len(claim["signature"]) != _HEX_DIGITS:
            return claim  # somebody else's, or changed to what no key would make
        named = attrs.evolve(key, signer_id=claim["signer_id"], algorithm=claim["algorithm"])
        fresh = signature(line, named, ledger_id=self.ledger_id, signed_at=claim["signed_at"])
        return {**claim, **fresh}


def certified(genesis: Line, adopted: Line) -> str:
    """Give line 1 the ledger id that follows from the keyring in line 2, and return it."""
    metadata = genesis["metadata"]
    keyring = {name: value for name, value in adopted["body"].items() if name != "ledger"}
    metadata["bb.keyring"] = hashlib.sha256(spell(keyring)).hexdigest()
    raw = bytes.fromhex(metadata["bb.keyring"] + metadata["bb.nonce"])
    name = str(metadata["bb.ledger"]).partition("/")[0]
    metadata["bb.ledger"] = f"{name}/{hashlib.sha256(raw).hexdigest()[:32]}"
    return str(metadata["bb.ledger"])


def relinked(days: Mapping[str, bytes]) -> dict[str, bytes]:
    """Make the lines of day files follow from each other; whatever has no newline stays as it is."""
    lines = {name: content.split(b"\n") for name, content in days.items()}
    every = [line for name in sorted(lines) for line in lines[name][:-1]]
    relinker = Relinker()
    if len(every) > 1:
        genesis, adopted = parse(every[0]), parse(every[1])
        try:
            if genesis is not None and adopted is not None:
                relinker.ledger_id = certified(genesis, adopted)
                relinker.fingerprint = genesis["metadata"]["bb.keyring"]
                lines[min(name for name in lines if len(lines[name]) > 1)][0] = spell_line(genesis)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            pass  # no ledger could be named by it
    return {
        name: b"\n".join([*map(relinker.line, lines[name][:-1]), lines[name][-1]]) for name in sorted(lines)
    }


def after(lines: Iterable[bytes]) -> Relinker:
    """Give a relinker that stands behind lines which are in order."""
    relinker = Relinker()
    for data in lines:
        line = json.loads(data)
        if relinker.head is None:
            relinker.ledger_id = line["metadata"]["bb.ledger"]
            relinker.fingerprint = line["metadata"]["bb.keyring"]
        if line.get("record") == "keyring_changed":
            relinker.fingerprint = fingerprint_of(relinker.fingerprint, line["body"]["payload"]["change"])
        relinker.head = line
    return relinker
