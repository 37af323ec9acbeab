"""Every check of the project, each under one name: `nox -l` lists them, `nox` runs the everyday ones.

Works with a plain `pip install nox`; with `uv` present the environments are made faster.
"""

import os
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2024.10.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_missing_interpreters = False  # `tests_all` skips them with a message, in CI too
nox.options.sessions = ["tests", "lint", "types"]

PYPROJECT = nox.project.load_toml("pyproject.toml")
os.environ.setdefault("UV_SYSTEM_CERTS", "1")  # uv trusts what the system trusts, as pip does

SUPPORTED = ["3.11", "3.12", "3.13", "3.14"]
PURE_FLOORS = ["errors/*", "model/*", "journal/*", "risk/*", "signing/*", "proof/*"]


def extend_path_with_installed_interpreters() -> None:
    """Append interpreters that pyenv and uv installed but did not put on PATH; PATH keeps precedence."""
    data = Path(os.environ.get("XDG_DATA_HOME", "~/.local/share")).expanduser()
    roots = [
        Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions",
        Path(os.environ.get("UV_PYTHON_INSTALL_DIR", data / "uv" / "python")).expanduser(),
    ]
    found = [
        str(interpreter.parent)
        for root in roots
        for version in SUPPORTED
        for interpreter in sorted(root.glob(f"*/bin/python{version}"))
    ]
    os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", os.defpath), *found])


if any(argument.startswith("tests_all") for argument in sys.argv):
    extend_path_with_installed_interpreters()  # nobody else: those directories hold other programs as well


def group(name: str) -> list[str]:
    """Return the requirements of a dependency group of pyproject.toml."""
    return list(nox.project.dependency_groups(PYPROJECT, name))


def run_tests(session: nox.Session) -> None:
    """Install the package with its extras and the test tools, and run pytest."""
    session.install("-e", ".[arrow,cli,testing]", *group("test"))
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests on the interpreter at hand; arguments after `--` go to pytest."""
    run_tests(session)


@nox.session(python=SUPPORTED, download_python="never")
def tests_all(session: nox.Session) -> None:
    """Run the tests on every supported Python found on PATH, in pyenv or in uv; others are skipped."""
    run_tests(session)


@nox.session
def tests_lowest(session: nox.Session) -> None:
    """Run the tests with the oldest dependencies that pyproject.toml allows, and current test tools."""
    constraints = Path(session.create_tmp()) / "lowest.txt"
    session.install("uv")
    session.run(
        "uv", "pip", "compile", "pyproject.toml", "--extra", "arrow", "--extra", "cli", "--extra", "testing",
        "--resolution", "lowest-direct", "--python", session.virtualenv.location,
        "--no-header", "--no-annotate", "--quiet", "--output-file", str(constraints),
    )  # fmt: skip
    session.install("-e", ".[arrow,cli,testing]", *group("test"), "--constraint", str(constraints))
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
def coverage(session: nox.Session) -> None:
    """Measure branch coverage: 100% on floors 0 to 2, 95% on the whole."""
    session.install("-e", ".[arrow,cli,testing]", *group("test"))
    session.run("coverage", "run", "-m", "pytest", "-m", "not interrupts", *session.posargs)
    session.run("coverage", "report", "--fail-under=95")
    pure = ",".join(f"bibank/{pattern}" for pattern in PURE_FLOORS)
    session.run("coverage", "report", "--fail-under=100", f"--include={pure}")


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, formatting and the direction of imports."""
    session.install("-e", ".", *group("lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("lint-imports", "--no-cache")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types of the package and of its tests."""
    session.install("-e", ".[arrow,cli,testing]", *group("test"), *group("types"))
    session.run("mypy", "--strict", "bibank", "tests")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation; a warning or a dangling reference is an error."""
    session.install("-e", ".[cli]", *group("docs"))
    session.run("sphinx-build", "-W", "--keep-going", "-n", "-b", "html", "docs", "docs/_build/html")


@nox.session
def faults(session: nox.Session) -> None:
    """Run every fault test to its full extent: crash states, failed calls, mutants, kills, tampering."""
    session.install("-e", ".[testing]", *group("test"))
    session.run("python", "-m", "tests.faults", *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Fuzz every parser for ten minutes in all (Linux); `-- --seconds N`, `-- --target NAME`."""
    session.install("-e", ".[testing]", *group("test"), *group("fuzz"))
    session.run("python", "-m", "tests.fuzz", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Run the benchmarks; arguments after `--` go to them."""
    session.install("-e", ".[cli,testing]")
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session
def demo(session: nox.Session) -> None:
    """Install the built package as a user would, and run its demonstration."""
    # uv reuses an earlier build of a directory unless told; pip builds it anew each time.
    fresh = ["--reinstall-package", "bibank"] if session.venv_backend == "uv" else []
    session.install(*fresh, ".[cli]")
    session.cd(session.create_tmp())  # so that the installed package runs, not the checkout
    session.run("bibank", "demo", *session.posargs)
