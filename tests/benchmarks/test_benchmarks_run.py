"""The benchmarks run, with sizes so small that their figures mean nothing. Timing is never asserted."""

import json
from pathlib import Path

import pytest

from benchmarks import command, report
from benchmarks.cases import FAMILIES
from benchmarks.measure import Bar, Row, Spread, at_least, at_most, interleave
from benchmarks.peers import command as peers_command
from benchmarks.settings import TINY

ONE = Spread(1.0, 1.0, 1.0)


def row(figure: Spread | None, bar: Bar | None) -> Row:
    """A figure of no interest."""
    return Row(
        family="f", name="n", figure=figure, unit="S", bar=bar, absolute="1.00 us/transfer", settings="tiny"
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_runs(family: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each family gives figures, prints a line for each, and leaves nothing behind."""
    rows = command.run(TINY, only=[family], scratch=tmp_path)
    printed = capsys.readouterr().out
    assert rows
    for found in rows:
        assert found.family == family
        assert found.name in printed
        assert found.figure is None or found.figure.low <= found.figure.median <= found.figure.high
    assert list(tmp_path.iterdir()) == []


def test_peers_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every peer does the job, keeps the balances of the model and refuses an overdraft."""
    sizes = peers_command.Sizes(accounts=5, rounds=2, transfers={1: 3, 10: 20})
    found = peers_command.run(sizes, scratch=tmp_path)
    printed = capsys.readouterr().out
    for peer in peers_command.PEERS:
        assert peer.name in printed
    assert {measured.transfers for measured in found if measured.batch == 10} == {40}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("figure", "bar", "verdict"),
    [
        (ONE, at_least(1.0), "ok"),
        (ONE, at_least(1.1), "MISS"),
        (ONE, at_most(1.0), "ok"),
        (ONE, at_most(0.9), "MISS"),
        (ONE, None, "-"),
        (None, at_least(1.0), "skip"),
    ],
)
def test_verdict(figure: Spread | None, bar: Bar | None, verdict: str) -> None:
    """A figure reaches its bar or misses it; without a bar, or unmeasured, it does neither."""
    assert row(figure, bar).verdict == verdict
    assert verdict in report.row_line(row(figure, bar))


def test_ratio_cancels_the_speed_of_the_machine() -> None:
    """The machine gets slower from round to round; unit and work alike, so the ratio stays."""
    speeds = iter([1.0, 1.0, 1.0, 4.0, 4.0, 4.0, 9.0, 9.0, 9.0])
    found = interleave(lambda: 2 * next(speeds), lambda: lambda: next(speeds), rounds=3)
    assert found.rate == Spread(2.0, 2.0, 2.0)
    assert found.cost == Spread(0.5, 0.5, 0.5)
    assert (found.unit_seconds, found.work_seconds) == (8.0, 4.0)


def test_json_holds_machine_and_figures(tmp_path: Path) -> None:
    """The file for other programs says what the table says."""
    report.write_json(tmp_path / "figures.json", [row(ONE, at_least(2.0))])
    written = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))
    assert set(written["machine"]) == {"python", "cpus", "platform"}
    (figure,) = written["figures"]
    assert figure["verdict"] == "MISS"
    assert figure["bar"] == {"at": 2.0, "sense": ">="}


@pytest.mark.parametrize(("arguments", "code"), [([], 0), (["--strict"], 1)])
def test_a_miss_fails_only_when_strict(
    arguments: list[str], code: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A slow machine is no error, unless somebody asks for one."""
    monkeypatch.setattr(command, "FAMILIES", {"f": lambda settings: iter([row(ONE, at_least(2.0))])})
    assert command.main(["--quick", "--scratch", str(tmp_path), *arguments]) == code
