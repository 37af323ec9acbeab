"""The oracle of verbs: what each verb must do to naive books, without a line of the library.

Dicts of whole numbers: balances by account text, open holds, reversed units and keys. A request is
(verb, arguments), both plain values. What a request comes to is a list of entries (intent, legs, note), a
leg is (account text, change of its balance in units, "debit" or "credit"). A wrong request gives the code
of its refusal and changes nothing.
"""

from __future__ import annotations

import copy
import json
from fractions import Fraction
from typing import Any, NamedTuple

UNIT = 10**8
Request = tuple[str, dict[str, Any]]
Leg = tuple[str, int, str]


FOLLOWING = ("post_hold", "void_hold", "reverse")
"""Verbs about an earlier line: their key is looked up before that line is."""


class Entry(NamedTuple):
    """One entry of the naive journal."""

    intent: str
    legs: tuple[Leg, ...]
    opens: dict[str, Any] | None = None
    hold: int | None = None
    reverses: int | None = None
    trade: int | None = None
    at: int | None = None


class Wrong(Exception):
    """A refusal, by its code."""


class Books:
    """What the books must be."""

    def __init__(self, opening: dict[str, int], *, now: int) -> None:
        self.now = now
        """Seconds after noon; the stamp never runs back."""
        self.stamp = now
        self.units: dict[str, int] = {}
        self.journal: dict[int, Entry] = {}
        self.holds: dict[int, dict[str, Any]] = {}
        self.paid: dict[int, int] = {}
        self.reversed: dict[int, int] = {}
        self.keys: dict[str, tuple[str, tuple[int, ...]]] = {}
        self.sequence = 0
        self._book(
            Entry("genesis", tuple(leg for asset in opening for leg in capital(asset, opening[asset])))
        )
        self.sequence += 1  # the adopted keyring stands in line 2

    # ------------------------------------------------------------------ requests

    def ask(self, mode: str, requests: list[Request], key: str | None = None) -> tuple[int, ...] | str:
        """Take requests as one batch under a key: its sequences, or the code of the refusal.

        `mode` is how they are asked for: the same in another way is another request.
        """
        asked = json.dumps([mode, requests], sort_keys=True)
        before = copy.deepcopy(self.__dict__)
        try:
            entries = []
            if mode != "one" or requests[0][0] not in FOLLOWING or key not in self.keys:
                for request in requests:  # what the caller is told before anything is judged
                    entries += self._expand(request)
            if key is not None and key in self.keys:
                known, sequences = self.keys[key]
                return sequences if known == asked else "idempotency_conflict"
            if not entries:
                return ()
            self.stamp = max(self.stamp, self.now)
            first = self.sequence + 1
            self._take(entries)
            sequences = tuple(range(first, self.sequence + 1))
            if key is not None:
                self.keys[key] = (asked, sequences)
        except Wrong as wrong:
            self.__dict__.clear()
            self.__dict__.update(before)
            return str(wrong)
        return sequences

    def _take(self, entries: list[Entry]) -> None:
        trade = None
        for entry in entries:
            if entry.intent == "trade":
                trade = self.sequence + 1
            tied = trade if entry.intent == "fee" and entry.reverses is None else None
            self._judge(entry)
            self._book(entry._replace(trade=tied))
        for entry in entries:
            if entry.hold is not None and entry.hold in self.holds:
                raise Wrong("hold_not_open")

    def _judge(self, entry: Entry) -> None:
        if entry.reverses is not None:
            original = self.journal[entry.reverses]
            whole = original.legs[0][1]
            if self.reversed.get(entry.reverses, 0) + abs(entry.legs[0][1]) > abs(whole):
                raise Wrong("already_reversed")
        if entry.opens is not None:
            expires = entry.opens["expires"]
            if expires is not None and expires <= self.stamp:
                raise Wrong("hold_expired")
        elif entry.hold is not None:
            self._judge_ending(entry, entry.hold)
        elif any(account.endswith(":LOCKED") for account, _, _ in entry.legs):
            raise Wrong("hold_not_open")
        after = dict(self.units)
        for account, change, _ in entry.legs:
            after[account] = after.get(account, 0) + change
        for account, units in after.items():
            if account[:4] in ("ASSE", "LIAB") and units < 0 and units < self.units.get(account, 0):
                raise Wrong("insufficient_balance")

    def _judge_ending(self, entry: Entry, sequence: int) -> None:
        hold = self.holds.get(sequence)
        if hold is None:
            raise Wrong("hold_not_open")
        pays = any(side == "credit" and account != hold["account"] for account, _, side in entry.legs)
        if pays and hold["expires"] is not None and self.stamp >= hold["expires"]:
            raise Wrong("hold_expired")
        taken = sum(-change for _, change, side in entry.legs if side == "debit")
        if taken > hold["units"] - self.paid.get(sequence, 0):
            raise Wrong("hold_not_open")

    def _book(self, entry: Entry) -> None:
        self.sequence += 1
        self.journal[self.sequence] = entry
        for account, change, _ in entry.legs:
            self.units[account] = self.units.get(account, 0) + change
        if entry.opens is not None:
            self.holds[self.sequence] = entry.opens
        if entry.hold is not None:
            taken = sum(-change for _, change, side in entry.legs if side == "debit")
            self.paid[entry.hold] = self.paid.get(entry.hold, 0) + taken
            if self.paid[entry.hold] == self.holds[entry.hold]["units"]:
                del self.holds[entry.hold], self.paid[entry.hold]
        if entry.reverses is not None:
            part = abs(entry.legs[0][1])
            self.reversed[entry.reverses] = self.reversed.get(entry.reverses, 0) + part

    # ------------------------------------------------------------------ what a verb comes to

    def _expand(self, request: Request) -> list[Entry]:
        verb, asked = request
        found: list[Entry] = getattr(self, f"_expand_{verb}")(asked)
        return [entry._replace(at=asked.get("at")) for entry in found]

    def _expand_deposit(self, asked: dict[str, Any]) -> list[Entry]:
        return [Entry("deposit", move(vault(asked["asset"]), available(asked), asked["units"]))]

    def _expand_withdraw(self, asked: dict[str, Any]) -> list[Entry]:
        return [Entry("withdrawal", move(available(asked), vault(asked["asset"]), asked["units"]))]

    def _expand_transfer(self, asked: dict[str, Any]) -> list[Entry]:
        payee = account(asked["payee"], asked["asset"])
        return [Entry("transfer", move(available(asked), payee, asked["units"]))]

    def _expand_fee(self, asked: dict[str, Any]) -> list[Entry]:
        revenue = f"REV:SYSTEM:FEE:{asked['asset']}:{asked['kind'].upper()}"
        return [Entry("fee", move(available(asked), revenue, asked["units"]))]

    def _expand_trade(self, asked: dict[str, Any]) -> list[Entry]:
        maker, taker = asked["maker"], asked["taker"]
        legs: list[Leg] = []
        for giver, receiver, asset, units in (
            (maker, taker, asked["given"], asked["given_units"]),
            (taker, maker, asked["received"], asked["received_units"]),
        ):
            legs += move(account(giver, asset), account(receiver, asset), units)
        return [
            Entry("trade", tuple(legs)),
            *(entry for fee in asked["fees"] for entry in self._expand_fee(fee)),
        ]

    def _expand_hold(self, asked: dict[str, Any]) -> list[Entry]:
        payer = available(asked)
        payee = None if asked["payee"] is None else account(asked["payee"], asked["asset"])
        if payee == payer:
            raise Wrong("intent_violation")
        opens = {"account": payer, "units": asked["units"], "payee": payee, "expires": asked["expires"]}
        return [Entry("transfer", move(payer, locked(payer), asked["units"]), opens=opens)]

    def _opened(self, sequence: int) -> dict[str, Any]:
        if sequence > self.sequence or sequence == 2:
            raise Wrong("unknown_sequence")
        opens = self.journal[sequence].opens
        if opens is None:
            raise Wrong("invalid_value")
        return opens

    def _expand_post_hold(self, asked: dict[str, Any]) -> list[Entry]:
        hold = self._opened(asked["sequence"])
        paid = hold["units"] if asked["units"] is None else asked["units"]
        if not 0 < paid <= hold["units"]:
            raise Wrong("invalid_value")
        source, rest, cited = locked(hold["account"]), hold["units"] - paid, asked["sequence"]
        back = ((hold["account"], rest, "credit"),) if rest else ()
        if hold["payee"] is not None:
            legs = ((source, -hold["units"], "debit"), (hold["payee"], paid, "credit"), *back)
            return [Entry("transfer", legs, hold=cited)]
        outside = vault(hold["account"].split(":")[3])
        entries = [Entry("withdrawal", move(source, outside, paid), hold=cited)]
        if rest:
            entries.append(Entry("transfer", ((source, -rest, "debit"), *back), hold=cited))
        return entries

    def _expand_void_hold(self, asked: dict[str, Any]) -> list[Entry]:
        hold = self._opened(asked["sequence"])
        legs = move(locked(hold["account"]), hold["account"], hold["units"])
        return [Entry("transfer", legs, hold=asked["sequence"])]

    def _expand_reverse(self, asked: dict[str, Any]) -> list[Entry]:
        sequence, part = asked["sequence"], asked["units"]
        if sequence > self.sequence or sequence == 2:
            raise Wrong("unknown_sequence")
        original = self.journal[sequence]
        if original.intent == "genesis" or original.opens or original.hold or original.reverses:
            raise Wrong("not_reversible")
        if part is not None and len(original.legs) != 2:
            raise Wrong("not_reversible")
        other = {"deposit": "withdrawal", "withdrawal": "deposit"}.get(original.intent, original.intent)
        legs = []
        for name, change, side in original.legs:
            units = abs(change) if part is None else part
            legs.append((name, -units if change > 0 else units, "debit" if side == "credit" else "credit"))
        return [Entry(other, tuple(legs), reverses=sequence)]

    def expire(self) -> tuple[int, ...]:
        """Void every hold that has expired."""
        first = self.sequence + 1
        late = [n for n, hold in self.holds.items() if hold["expires"] is not None]
        for sequence in [n for n in late if self.holds[n]["expires"] <= max(self.now, self.stamp)]:
            assert isinstance(self.ask("drafts", [("void_hold", {"sequence": sequence})]), tuple)
        return tuple(range(first, self.sequence + 1))

    def copy(self) -> Books:
        """Give books that may be asked what would happen."""
        return copy.deepcopy(self)


# --------------------------------------------------------------------------- spelling


def account(owner: str, asset: str) -> str:
    """An owner's everyday account; a house desk says that it is one."""
    return f"LIAB:{owner if ':' in owner else 'USER:' + owner}:{asset}:AVAILABLE"


def available(asked: dict[str, Any]) -> str:
    """The account of who gives or gets."""
    return account(asked["owner"], asked["asset"])


def locked(text: str) -> str:
    """The held part of an account."""
    return text.replace("AVAILABLE", "LOCKED")


def vault(asset: str) -> str:
    """The house's account of an asset."""
    return f"ASSET:SYSTEM:VAULT:{asset}:MAIN"


def capital(asset: str, units: int) -> tuple[Leg, ...]:
    """The two legs of an opening."""
    return move(vault(asset), f"EQUITY:SYSTEM:CAPITAL:{asset}:MAIN", units)


def move(debit: str, credit: str, units: int) -> tuple[Leg, ...]:
    """Debit one account and credit another."""
    signs = {"ASSE": 1, "EXP:": 1}
    return (
        (debit, units * signs.get(debit[:4], -1), "debit"),
        (credit, -units * signs.get(credit[:4], -1), "credit"),
    )


def text(units: int) -> str:
    """Spell units as people write them."""
    whole, part = divmod(units, UNIT)
    return f"{whole}.{part:08d}".rstrip("0").rstrip(".")


def price(base: int, quote: int) -> str:
    """Quote over base: a decimal of at most 8 places, or a reduced fraction."""
    found = Fraction(quote, base)
    exact = found * UNIT
    return text(int(exact)) if exact.denominator == 1 else f"{found.numerator}/{found.denominator}"
