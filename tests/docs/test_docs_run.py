"""Every ```python and ```console block of README.md and docs/ runs, in its document's order.

A document is one test with a fresh working directory, so that the ledgers which its examples make do not
litter the checkout and later blocks see what earlier ones made. There is no way to skip a block: what cannot
run here (`pip install ...`) is fenced as ```bash.
"""

import doctest
import re
from pathlib import Path

import pytest
from sybil import Sybil
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser
from sybil.typing import Parser

from tests.docs import console_blocks

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [
    path
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    if path.is_file() and "_build" not in path.parts
]
RUN = {"python", "console"}
SHOWN = {"bash", "diff", "ini", "json", "mermaid", "text", "toml", "yaml"}

_FENCE = re.compile(r"^ *```([^`\n]*)$", re.MULTILINE)


def relative(path: Path) -> str:
    """Name a document in the identifier of its test."""
    return path.relative_to(ROOT).as_posix()


def run_document(path: Path, *, languages: set[str]) -> int:
    """Run the blocks of a document in the current directory and return how many there were."""
    parsers: dict[str, Parser] = {
        "python": PythonCodeBlockParser(doctest_optionflags=doctest.ELLIPSIS),
        "console": CodeBlockParser("console", console_blocks.evaluate),
    }
    document = Sybil([parsers[language] for language in sorted(languages)]).parse(path)
    document.namespace["__name__"] = "__main__"
    examples = list(document.examples())
    for example in examples:
        example.evaluate()
    return len(examples)


@pytest.mark.parametrize("path", DOCUMENTS, ids=relative)
def test_every_block_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The examples of a document do what the document says."""
    monkeypatch.chdir(tmp_path)
    run_document(path, languages=RUN)


def test_readme_runs_twice_in_one_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the README's Python again, over what the first run left, gets no error."""
    monkeypatch.chdir(tmp_path)
    run_document(ROOT / "README.md", languages={"python"})
    run_document(ROOT / "README.md", languages={"python"})


@pytest.mark.parametrize("path", DOCUMENTS, ids=relative)
def test_every_fence_has_a_known_language(path: Path) -> None:
    """No block escapes the tests by an unusual label, such as `py` or `shell`, or by none."""
    text = path.read_text(encoding="utf-8")
    openings = [fence for index, fence in enumerate(_FENCE.finditer(text)) if index % 2 == 0]
    problems = [
        f"{relative(path)}:{text.count(chr(10), 0, fence.start()) + 1}: unknown language {fence[1]!r}"
        for fence in openings
        if fence[1] not in RUN | SHOWN and not fence[1].startswith("{")
    ]
    assert not problems, "\n" + "\n".join(problems)


def write_document(directory: Path, text: str) -> Path:
    """Write a small document for the tests of the runner itself."""
    path = directory / "document.md"
    path.write_text(text, encoding="utf-8")
    return path


def test_blocks_share_names_and_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A later block sees the names and the files of the earlier ones, whatever its language."""
    monkeypatch.chdir(tmp_path)
    path = write_document(
        tmp_path,
        "```python\nname = 'a.txt'\n```\n"
        "```python\n>>> name\n'a.txt'\n```\n"
        "```python\nopen(name, 'w').close()\n```\n"
        "```console\n$ ls *.txt\na.txt\n```\n"
        "```bash\nnot run\n```\n",
    )
    assert run_document(path, languages=RUN) == 4


@pytest.mark.parametrize(
    "block",
    [
        "$ echo one\none\n$ echo two\ntwo",
        "$ echo one two\none ...",
        "$ printf 'a\\nb\\nc\\n'\na\n...\nc",
        "$ echo careful >&2; exit 3\ncareful\n[exit 3]",
        "$ false\n[exit 1]",
        "$ echo a \\\n> b\na b",
        "$ true",
        "$ echo $HOME | grep -c .\n1",
    ],
)
def test_console_block_passes(block: str, tmp_path: Path) -> None:
    """A block that shows what its commands print and how they end is accepted."""
    for command in console_blocks.parse_commands(block):
        console_blocks.run(command, directory=tmp_path)


@pytest.mark.parametrize(
    "block",
    [
        "$ echo one\ntwo",
        "$ echo unexpected",
        "$ echo one; exit 1\none",
        "$ true\n[exit 1]",
        "$ no-such-command-anywhere\n...",
        "$ printf 'a\\nb\\n'\na",
    ],
)
def test_console_block_fails(block: str, tmp_path: Path) -> None:
    """Other output, an undeclared failure and a declared one that does not happen are all found."""
    (command,) = console_blocks.parse_commands(block)
    with pytest.raises(AssertionError, match="the document shows"):
        console_blocks.run(command, directory=tmp_path)


def test_console_block_without_command() -> None:
    """Output that belongs to no command is a mistake in the document."""
    with pytest.raises(ValueError, match="begins with a command"):
        console_blocks.parse_commands("output\n$ true")
