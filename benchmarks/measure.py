"""Measuring: the unit before, the work, the unit after, once a round; the median of the rounds counts."""

from __future__ import annotations

import gc
from collections.abc import Callable
from statistics import median
from typing import Literal

import attrs

from benchmarks.units import Unit

Work = Callable[[], float]
"""Does the work of one round and gives the seconds of one operation, by the clock that suits it."""


@attrs.frozen
class Spread:
    """What the rounds gave: the median, and how far they lie apart."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        """Sum up the values of the rounds."""
        return cls(median(values), min(values), max(values))


@attrs.frozen(kw_only=True)
class Bar:
    """What a figure has to reach."""

    at: float
    sense: Literal[">=", "<="]

    def met_by(self, value: float) -> bool:
        """Tell whether a value reaches the bar."""
        return value >= self.at if self.sense == ">=" else value <= self.at

    def __str__(self) -> str:
        return f"{self.sense} {self.at:g}"


def at_least(value: float) -> Bar:
    """A bar for what should be large."""
    return Bar(at=value, sense=">=")


def at_most(value: float) -> Bar:
    """A bar for what should be small."""
    return Bar(at=value, sense="<=")


@attrs.frozen(kw_only=True)
class Row:
    """One figure. `unit` names what `figure` counts: S, V, F or J rates, `x` for a factor, ms, B.

    A figure of None was not measured; `absolute` says why.
    """

    family: str
    name: str
    figure: Spread | None
    unit: str
    bar: Bar | None
    absolute: str
    settings: str

    @property
    def verdict(self) -> Literal["ok", "MISS", "-", "skip"]:
        """Compare the median with the bar."""
        if self.figure is None:
            return "skip"
        if self.bar is None:
            return "-"
        return "ok" if self.bar.met_by(self.figure.median) else "MISS"


@attrs.frozen(kw_only=True)
class Paired:
    """Rounds of a unit and of some work, interleaved. Rates and costs are per operation."""

    rate: Spread
    """How often the work is done while the unit is done once."""
    cost: Spread
    """How many units the work takes."""
    unit_seconds: float
    work_seconds: float


def interleave(unit: Unit, prepare: Callable[[], Work], *, rounds: int) -> Paired:
    """Measure work against a unit. `prepare` makes one round ready, outside of the clock."""
    rates, units, works = [], [], []
    for _ in range(rounds):
        work = prepare()
        gc.collect()
        before = unit()
        seconds = work()
        after = unit()
        reference = (before + after) / 2
        units.append(reference)
        works.append(seconds)
        rates.append(reference / seconds)
    return Paired(
        rate=Spread.of(rates),
        cost=Spread.of([1 / rate for rate in rates]),
        unit_seconds=median(units),
        work_seconds=median(works),
    )


def as_time(seconds: float) -> str:
    """Spell a short time."""
    if seconds >= 0.1:
        return f"{seconds:.2f} s"
    if seconds >= 1e-3:
        return f"{seconds * 1e3:.2f} ms"
    return f"{seconds * 1e6:.2f} us"


def per_operation(seconds: float, noun: str) -> str:
    """Spell a cost and the rate that it allows."""
    return f"{as_time(seconds)}/{noun}, {1 / seconds:,.0f}/s"
