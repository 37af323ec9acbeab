"""The notebooks of the documentation run from their first cell to their last.

A notebook is a Markdown page with `{code-cell}` blocks (jupytext's MyST form). It is converted and executed
in processes of their own, with a fresh working directory and no state of whoever runs the tests.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
NOTEBOOKS = [path for path in PAGES if "{code-cell}" in path.read_text(encoding="utf-8")]
TIMEOUT_SECONDS = 300

Finished = subprocess.CompletedProcess[str]


def execute(text: str, *, directory: Path) -> Finished:
    """Convert a notebook's text with jupytext and execute it in a directory with nbmake."""
    work = directory / "work"
    work.mkdir()
    (work / "notebook.md").write_text(text, encoding="utf-8")
    (work / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")  # so that ours is not in force here
    (directory / "state").mkdir()
    environment = _environment(directory / "state")
    converted = _run(
        "jupytext", "--from", "md:myst", "--to", "ipynb", "notebook.md", cwd=work, env=environment
    )
    assert converted.returncode == 0, converted.stdout
    return _run(
        "pytest", "--nbmake", "-q", "-p", "no:cacheprovider", "notebook.ipynb", cwd=work, env=environment
    )


def _environment(state: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("BIBANK_", "PYTEST_"))}
    own = {
        "HOME": str(state),
        "IPYTHONDIR": str(state / "ipython"),
        "JUPYTER_CONFIG_DIR": str(state / "config"),
        "JUPYTER_DATA_DIR": str(state / "data"),
        "JUPYTER_RUNTIME_DIR": str(state / "runtime"),
        "TMPDIR": str(state),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), kept.get("PYTHONPATH")])),
    }
    return kept | own


def _run(module: str, *arguments: str, cwd: Path, env: dict[str, str]) -> Finished:
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=TIMEOUT_SECONDS,
        encoding="utf-8",
        check=False,
    )


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_notebook_runs(path: Path, tmp_path: Path) -> None:
    """A reader who runs the notebook's cells in order gets no error."""
    finished = execute(path.read_text(encoding="utf-8"), directory=tmp_path)
    assert finished.returncode == 0, finished.stdout
    assert "1 passed" in finished.stdout


def test_there_is_a_notebook() -> None:
    """The search looks where the notebooks are: searching the wrong place finds nothing."""
    assert ROOT / "docs" / "tutorial" / "first-ledger.md" in NOTEBOOKS


def test_failing_cell_is_found(tmp_path: Path) -> None:
    """A check that cannot fail is none: an exception in a cell is reported with its text."""
    finished = execute("# Title\n\n```{code-cell}\nraise ValueError('planted')\n```\n", directory=tmp_path)
    assert finished.returncode == 1
    assert "planted" in finished.stdout
