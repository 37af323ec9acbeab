"""Public vectors of Ed25519: every case of Wycheproof and of CCTV goes through `verify_ed25519`."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bibank.signing import verify_ed25519

VECTORS = Path(__file__).parents[1] / "vectors"
WYCHEPROOF = json.loads((VECTORS / "wycheproof" / "ed25519_test.json").read_bytes())
CCTV = json.loads((VECTORS / "cctv-ed25519" / "ed25519vectors.json").read_bytes())
REFUSED_FLAGS = {"low_order_A", "low_order_R", "non_canonical_A", "non_canonical_R"}

CASES = [
    pytest.param(group["publicKey"]["pk"], case, id=f"tc{case['tcId']}")
    for group in WYCHEPROOF["testGroups"]
    for case in group["tests"]
]


def accepts(vector: dict[str, Any]) -> bool:
    """Judge one case of CCTV."""
    return verify_ed25519(
        bytes.fromhex(vector["key"]), vector["msg"].encode("ascii"), bytes.fromhex(vector["sig"])
    )


@pytest.mark.parametrize(("public_key", "case"), CASES)
def test_wycheproof(public_key: str, case: dict[str, Any]) -> None:
    """A case of Wycheproof gets the verdict that is published with it."""
    verdict = verify_ed25519(
        bytes.fromhex(public_key), bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"])
    )
    assert case["result"] in ("valid", "invalid")
    assert verdict is (case["result"] == "valid"), case["comment"]


def test_wycheproof_is_complete() -> None:
    """The file holds as many cases as it says, good ones and bad ones."""
    verdicts = Counter(case["result"] for group in WYCHEPROOF["testGroups"] for case in group["tests"])
    assert verdicts.total() == WYCHEPROOF["numberOfTests"] == 151
    assert set(verdicts) == {"valid", "invalid"}


def test_cctv_accepts_nothing_of_low_order_and_nothing_uncanonical() -> None:
    """Of 914 edge cases 43 verify, none of them with a low-order point or a second spelling."""
    accepted = [vector for vector in CCTV if accepts(vector)]
    assert len(CCTV) == 914
    assert len(accepted) == 43
    for vector in accepted:
        assert REFUSED_FLAGS.isdisjoint(vector["flags"] or ()), vector["number"]
    flags = {flag for vector in CCTV for flag in vector["flags"] or ()}
    assert flags >= REFUSED_FLAGS, "the flags that must never verify are those of the file"
    assert {flag for flag in flags if flag.startswith("non_canonical")} <= REFUSED_FLAGS


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_a_key_of_another_size_verifies_nothing(size: int) -> None:
    """A public key that is not 32 bytes, or a signature that is not 64, is false and no error."""
    assert not verify_ed25519(bytes(size), b"message", bytes(64))
    assert not verify_ed25519(bytes(32), b"message", bytes(size + 1))
