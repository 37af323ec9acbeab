"""The README's Python example prints what the README shows."""

import re
from pathlib import Path

import pytest

from tests.docs import console_blocks

README = Path(__file__).resolve().parents[2] / "README.md"
_EXAMPLE = re.compile(r"^```python\n(.*?)^```\n.*?^```text\n(.*?)^```\n", re.MULTILINE | re.DOTALL)


def test_example_prints_what_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The text below the first example is the output of its first run, `...` standing for anything."""
    found = _EXAMPLE.search(README.read_text(encoding="utf-8"))
    assert found is not None
    code, shown = found.groups()
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {"__name__": "__main__"})
    printed = capsys.readouterr().out
    assert console_blocks.matches(shown.strip(), printed.strip()), printed
