"""The figures, one module a family. A family is a function from settings to rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from benchmarks.cases import (
    bus,
    commit_each,
    concurrent,
    disk,
    durable_commit,
    durable_groups,
    flatness,
    history,
    import_time,
    memory,
    money,
    opening,
    projection,
    replay,
    signature_audit,
)
from benchmarks.measure import Row
from benchmarks.settings import Settings

Family = Callable[[Settings], Iterator[Row]]

FAMILIES: dict[str, Family] = {
    "commit_each": commit_each.rows,
    "durable": durable_commit.rows,
    "groups": durable_groups.rows,
    "concurrent": concurrent.rows,
    "bus": bus.rows,
    "money": money.rows,
    "replay": replay.rows,
    "opening": opening.rows,
    "audit": signature_audit.rows,
    "projection": projection.rows,
    "history": history.rows,
    "import": import_time.rows,
    "disk": disk.rows,
    "memory": memory.rows,
    "flat": flatness.rows,
}
