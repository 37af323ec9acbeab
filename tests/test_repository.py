"""Tidiness as a test, after TigerBeetle's tidy: limits and habits that no other tool checks.

Every problem is reported as `file:line: message`. The checks are plain functions over text, so that the last
tests here can show that each of them does find what it looks for.

How to write an exception from a rule, always with its code and its reason:

    value = legacy()  # noqa: BLE001 - a rule that raises must refuse
    value = legacy()  # type: ignore[arg-type]  # the stub lacks the overload
    return None  # pragma: no cover - only on macOS
"""

import ast
import io
import re
import tokenize
import tomllib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

MAX_FILE_LINES = 450  # a file is one idea, readable in one sitting: about 400, and a margin
MAX_FUNCTION_LINES = 80  # about 60, and a margin for the docstring

PURE_ROOMS = ("errors", "model", "journal", "risk", "signing", "proof")
# Imports are import-linter's business, but it knows only rooms that exist; here one list serves both.
_LINTER = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
IMPURE_MODULES = next(
    frozenset(contract["forbidden_modules"]) for contract in _LINTER["contracts"] if contract["id"] == "pure"
)
IMPURE_CALLS = frozenset({"open", "input", "print", "breakpoint", "exec", "eval", "__import__"})
CLOCK_METHODS = frozenset({"now", "utcnow", "today"})
CLOCK_OWNERS = frozenset({"datetime", "date"})
FREE_RANDOM_NAMES = frozenset({"uuid1", "uuid4", "uuid6", "uuid7", "urandom", "getrandbits", "token_bytes"})

TEXT_SUFFIXES = frozenset({".cfg", ".ipynb", ".md", ".py", ".pyi", ".sh", ".toml", ".txt", ".yaml", ".yml"})
SEARCHED = (".ci", "benchmarks", "bibank", "docs", "tests")
NOT_OURS = frozenset({"_build", "__pycache__", "vectors"})

# Spelled in pieces, so that this file does not contain what it looks for.
UNFINISHED = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "X" * 3]) + r")\b")
MACHINE_PATH = re.compile(r"(?<![\w.~}*-])/(?:work|root|Users/\w+)/")

NOQA = re.compile(r"#\s*noqa\b(?P<rest>.*)", re.IGNORECASE)
NOQA_REASONED = re.compile(r":\s*[A-Z]+[0-9]+(?:\s*,\s*[A-Z]+[0-9]+)*\s+(?:-|#)\s*\S.*")
TYPE_IGNORE = re.compile(r"#\s*type:\s*ignore(?P<rest>.*)")
TYPE_IGNORE_REASONED = re.compile(r"\[[a-z0-9_, -]+\]\s+#\s*(?!noqa)\S.*")
NO_COVER = re.compile(r"#\s*pragma:\s*no (?:cover|branch)(?P<rest>.*)")
NO_COVER_REASONED = re.compile(r"\s+(?:-|#)\s*\S.*")

Check = Callable[[str, str], Iterator[str]]


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function and method of a module, nested ones too."""
    return (node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))


def file_length(name: str, text: str) -> Iterator[str]:
    """A file of the library stays readable in one sitting."""
    count = len(text.splitlines())
    if count > MAX_FILE_LINES:
        yield f"{name}:{MAX_FILE_LINES + 1}: {count} lines, at most {MAX_FILE_LINES}: split it by idea"


def function_length(name: str, text: str) -> Iterator[str]:
    """A function fits on a screen."""
    for function in functions(ast.parse(text)):
        count = (function.end_lineno or function.lineno) - function.lineno + 1
        if count > MAX_FUNCTION_LINES:
            yield f"{name}:{function.lineno}: {function.name} has {count} lines, at most {MAX_FUNCTION_LINES}"


def module_docstring(name: str, text: str) -> Iterator[str]:
    """A module says what it is for."""
    if not ast.get_docstring(ast.parse(text)):
        yield f"{name}:1: no module docstring"


def unfinished(name: str, text: str) -> Iterator[str]:
    """Open ends are finished or left out; they do not stay in the text."""
    for number, line in enumerate(text.splitlines(), start=1):
        if found := UNFINISHED.search(line):
            yield f"{name}:{number}: {found[0]}: finish it or leave it out"


def machine_path(name: str, text: str) -> Iterator[str]:
    """No file depends on where one machine keeps things."""
    for number, line in enumerate(text.splitlines(), start=1):
        if found := MACHINE_PATH.search(line):
            yield f"{name}:{number}: path of one machine: {found[0]}"


def reasoned_exceptions(name: str, text: str) -> Iterator[str]:
    """An exception from a rule names the rule and the reason."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type != tokenize.COMMENT:
            continue
        place = f"{name}:{token.start[0]}"
        if (found := NOQA.search(token.string)) and not NOQA_REASONED.match(found["rest"]):
            yield f"{place}: write `# noqa: CODE - why`"
        if (found := TYPE_IGNORE.search(token.string)) and not TYPE_IGNORE_REASONED.match(found["rest"]):
            yield f"{place}: write `# type: ignore[code]  # why`"
        if (found := NO_COVER.search(token.string)) and not NO_COVER_REASONED.match(found["rest"]):
            yield f"{place}: write `# pragma: no cover - why`"


def docstrings_of_tests(name: str, text: str) -> Iterator[str]:
    """A test says in one sentence which behaviour it shows."""
    for function in functions(ast.parse(text)):
        if function.name.startswith("test") and not ast.get_docstring(function):
            yield f"{name}:{function.lineno}: {function.name} has no docstring"


def purity(name: str, text: str) -> Iterator[str]:
    """Floors 0 to 2 do no I/O and read neither a clock nor a source of randomness."""
    for node in ast.walk(ast.parse(text)):
        for offence in _impurities(node):
            yield f"{name}:{getattr(node, 'lineno', 1)}: {offence}: floors 0 to 2 get it as an argument"


def _impurities(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Import(names=names):
            yield from (f"import {alias.name}" for alias in names if _top(alias.name) in IMPURE_MODULES)
        case ast.ImportFrom(module=str(module), names=names, level=0):
            if _top(module) in IMPURE_MODULES:
                yield f"from {module} import ..."
            yield from (f"import {alias.name}" for alias in names if alias.name in FREE_RANDOM_NAMES)
        case ast.Call(func=ast.Name(id=called)) if called in IMPURE_CALLS:
            yield f"{called}()"
        case ast.Call(func=ast.Attribute(attr=called, value=owner)):
            if called in FREE_RANDOM_NAMES or (called in CLOCK_METHODS and _last(owner) in CLOCK_OWNERS):
                yield f"{_last(owner)}.{called}()"
        case _:
            pass


def imports_of_testing(name: str, text: str) -> Iterator[str]:
    """Nothing in the library imports `bibank.testing`, not even lazily or for types."""
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Import(names=names):
                imported = {alias.name for alias in names}
            case ast.ImportFrom(module=str(module), names=names):
                imported = {module} | {f"{module}.{alias.name}" for alias in names}
            case _:
                continue
        if any(f"{module}.".startswith("bibank.testing.") for module in imported):
            yield f"{name}:{node.lineno}: the library does not import bibank.testing"


def _top(module: str) -> str:
    return module.partition(".")[0]


def _last(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""


def changelog(name: str, text: str) -> Iterator[str]:
    """The changelog has a place for the next change."""
    if not re.search(r"^## \[Unreleased\]$", text, re.MULTILINE):
        yield f"{name}:1: no `## [Unreleased]` section"


def library_files() -> list[Path]:
    """The Python files of the package."""
    return sorted((ROOT / "bibank").rglob("*.py"))


def pure_files() -> list[Path]:
    """The Python files of floors 0 to 2."""
    package = ROOT / "bibank"
    return [
        path
        for path in library_files()
        if path.relative_to(package).parts[0].removesuffix(".py") in PURE_ROOMS
    ]


def files_beside_testing() -> list[Path]:
    """The Python files of the library without those of `bibank.testing`."""
    return [path for path in library_files() if "testing" not in path.relative_to(ROOT).parts]


def files_of_tests() -> list[Path]:
    """The Python files of the tests."""
    return sorted((ROOT / "tests").rglob("*.py"))


def python_files() -> list[Path]:
    """Every Python file that we write."""
    return [path for path in text_files() if path.suffix == ".py"]


def text_files() -> list[Path]:
    """Every text file that we write; public vectors are copied as they are."""
    below = (path for directory in SEARCHED for path in sorted((ROOT / directory).rglob("*")))
    return [
        path
        for path in [*sorted(ROOT.iterdir()), *below]
        if path.is_file()
        and (path.suffix in TEXT_SUFFIXES or path.parent.name == ".ci")
        and NOT_OURS.isdisjoint(path.relative_to(ROOT).parts)
    ]


def problems(check: Check, paths: Iterable[Path]) -> list[str]:
    """What a check finds in files, each as `file:line: message`."""
    return [
        problem
        for path in paths
        for problem in check(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
    ]


@pytest.mark.parametrize(
    ("check", "files"),
    [
        (file_length, library_files),
        (function_length, library_files),
        (module_docstring, library_files),
        (purity, pure_files),
        (imports_of_testing, files_beside_testing),
        (docstrings_of_tests, files_of_tests),
        (reasoned_exceptions, python_files),
        (unfinished, text_files),
        (machine_path, text_files),
        (changelog, lambda: [ROOT / "CHANGELOG.md"]),
    ],
    ids=lambda value: value.__name__.strip("<>"),
)
def test_repository_is_tidy(check: Check, files: Callable[[], list[Path]]) -> None:
    """The files of the repository keep the habits that the check is about."""
    found = problems(check, files())
    assert not found, "\n" + "\n".join(found)


def test_no_empty_search() -> None:
    """The checks do look at the package, its tests and its texts: searching the wrong place finds nothing."""
    names = {path.relative_to(ROOT).as_posix() for path in text_files()}
    assert {"bibank/__init__.py", "tests/conftest.py", "pyproject.toml", ".ci/run"} <= names


PLANTED = [
    (file_length, "x = 1\n" * (MAX_FILE_LINES + 1), "f.py:451: "),
    (function_length, "\n\ndef long():\n" + "    pass\n" * MAX_FUNCTION_LINES, "f.py:3: long has 81 lines"),
    (function_length, "class C:\n    async def m(self):\n" + "        x = 1\n" * 80, "f.py:2: m has 81"),
    (module_docstring, "x = 1\n", "f.py:1: "),
    (unfinished, "x = 1  # " + "TO" + "DO: later\n", "f.py:1: "),
    (unfinished, "a\nb (" + "FIX" + "ME)\n", "f.py:2: "),
    (machine_path, "a\nsee /" + "work/main\n", "f.py:2: "),
    (machine_path, "path = '/" + "root/x'\n", "f.py:1: "),
    (reasoned_exceptions, "x = 1  # noqa\n", "f.py:1: "),
    (reasoned_exceptions, "x = 1  # noqa: E501\n", "f.py:1: "),
    (reasoned_exceptions, "x = 1  # noqa - because\n", "f.py:1: "),
    (reasoned_exceptions, "x = 1  # type: ignore\n", "f.py:1: "),
    (reasoned_exceptions, "x = 1  # type: ignore[misc]\n", "f.py:1: "),
    (reasoned_exceptions, "x = 1  # type: ignore  # because\n", "f.py:1: "),
    (reasoned_exceptions, "x = 1  # type: ignore[misc]  # noqa: E501 - because\n", "f.py:1: "),
    (reasoned_exceptions, "x = 1  # pragma: no cover\n", "f.py:1: "),
    (docstrings_of_tests, "def test_a():\n    pass\n", "f.py:1: test_a"),
    (docstrings_of_tests, "class TestA:\n    def test_b(self):\n        pass\n", "f.py:2: test_b"),
    (purity, "import os.path\n", "f.py:1: import os.path"),
    (purity, "def f():\n    from time import monotonic\n", "f.py:2: from time"),
    (purity, "from uuid import uuid4\n", "f.py:1: import uuid4"),
    (purity, "open('x')\n", "f.py:1: open()"),
    (purity, "datetime.datetime.now(UTC)\n", "f.py:1: datetime.now()"),
    (purity, "date.today()\n", "f.py:1: date.today()"),
    (imports_of_testing, "def f():\n    import bibank.testing.faults\n", "f.py:2: "),
    (imports_of_testing, "from bibank import testing\n", "f.py:1: "),
    (imports_of_testing, "from bibank.testing import faults\n", "f.py:1: "),
    (changelog, "# Changelog\n", "f.py:1: "),
]


@pytest.mark.parametrize(("check", "text", "expected"), PLANTED)
def test_planted_problem_is_found(check: Check, text: str, expected: str) -> None:
    """A check that cannot fail is none: each finds the problem planted for it, at its line."""
    (problem,) = check("f.py", text)
    assert problem.startswith(expected)


TIDY = [
    (file_length, "x = 1\n" * MAX_FILE_LINES),
    (function_length, "def f():\n" + "    pass\n" * (MAX_FUNCTION_LINES - 1)),
    (machine_path, "see https://example.org/a/" + "work/b and ." + "/" + "work/ and patchwork/\n"),
    (unfinished, "mktemp name." + "X" * 6 + "\n"),
    (reasoned_exceptions, "x = 1  # noqa: BLE001 - a rule that raises must refuse\n"),
    (reasoned_exceptions, "x = 1  # noqa: BLE001, E501  # a rule that raises must refuse\n"),
    (reasoned_exceptions, "x = 1  # type: ignore[arg-type]  # the stub is wrong\n"),
    (reasoned_exceptions, "x = 1  # type: ignore[misc]  # why not  # noqa: E501 - a long name\n"),
    (reasoned_exceptions, "x = 1  # pragma: no cover - only on macOS\n"),
    (reasoned_exceptions, "x = '# noqa'\n"),
    (purity, "from datetime import UTC, datetime\nfrom uuid import UUID\nstamp.now\nview.now()\n"),
]


@pytest.mark.parametrize(("check", "text"), TIDY)
def test_tidy_text_passes(check: Check, text: str) -> None:
    """What keeps the rule is left in peace."""
    assert list(check("f.py", text)) == []
