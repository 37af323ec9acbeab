"""The public surface: every public name, written down, and how light the import is.

A name that appears or disappears is seen in the diff of `public_surface.txt`. To accept a change, run
`python -m tests.test_public_surface` and read what changed.
"""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import bibank

ROOT = Path(__file__).parents[1]
SNAPSHOT = ROOT / "tests" / "public_surface.txt"
MODULES = (
    "bibank",
    "bibank.drafts",
    "bibank.export",
    "bibank.fees",
    "bibank.rules",
    "bibank.signing",
    "bibank.stores",
    "bibank.testing",
    "bibank.testing.faults",
    "bibank.testing.strategies",
)


def surface() -> str:
    """List the public names of the public modules, one a line."""
    names = [f"{module}.{name}" for module in MODULES for name in import_module(module).__all__]
    return "".join(f"{name}\n" for name in names)


def test_surface_is_the_one_written_down() -> None:
    """No public name comes or goes unnoticed."""
    assert surface().splitlines() == SNAPSHOT.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_exists_and_is_sorted(module: str) -> None:
    """`__all__` holds what `import *` gives, sorted, constants first, and each thing has a docstring."""
    found = import_module(module)
    assert list(found.__all__) == sorted(found.__all__, key=lambda name: (not name.isupper(), name))
    namespace: dict[str, object] = {}
    exec(f"from {module} import *", namespace)
    for name in found.__all__:
        assert namespace[name] is getattr(found, name)
    assert found.__doc__


def test_root_lists_its_names() -> None:
    """`dir` shows the public names without loading any; an unknown one is an AttributeError."""
    assert dir(bibank) == sorted(bibank.__all__)
    missing = "Nothing"
    with pytest.raises(AttributeError, match="Nothing"):
        getattr(bibank, missing)


def loaded(script: str) -> set[str]:
    """Run a script in a fresh interpreter and give the modules that it loaded."""
    # pytest plugins and site packages of the host are no business of this: -I keeps them out.
    code = f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n{script}\nprint(*sys.modules)"
    run = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


HEAVY = {"asyncio", "cattrs", "click", "hypothesis", "nacl", "pyarrow", "pytest", "rich", "sqlite3"}
ROOMS_OF_THE_SHELL = {
    "aio",
    "audit",
    "batch",
    "bus",
    "calls",
    "cli",
    "commits",
    "committer",
    "doctor",
    "forking",
    "home",
    "ledger",
    "opening",
    "outcomes",
    "projection",
    "projections",
    "queries",
    "reader",
    "replica",
    "rule_adoption",
    "sealing",
    "store",
    "stored_lines",
    "stores",
    "testing",
    "verbs",
    "verification",
    "wallet",
    "write_group",
    "write_queue",
}


def rooms(modules: set[str]) -> set[str]:
    """Give the rooms of the package among modules."""
    return {name.split(".")[1] for name in modules if name.startswith("bibank.")}


def test_import_loads_nothing() -> None:
    """`import bibank` loads no room at all."""
    modules = loaded("import bibank")
    assert rooms(modules) == set()
    assert not modules & HEAVY
    assert "attr" not in modules


def test_values_load_no_shell() -> None:
    """A host that only counts with amounts pays for amounts only."""
    names = ("AccountKey", "Amount", "Hold", "Money", "Refused", "TradeFee", "UnsignedEntry")
    modules = loaded(f"from bibank import {', '.join(names)}")
    assert rooms(modules) == {"errors", "model"}
    assert not modules & HEAVY


def test_faces_of_the_core_load_no_shell() -> None:
    """The faces of the core do not bring stores or files."""
    modules = loaded("import bibank.drafts, bibank.export, bibank.fees, bibank.rules")
    assert not rooms(modules) & ROOMS_OF_THE_SHELL
    assert not modules & HEAVY


def test_ledger_loads_nothing_optional() -> None:
    """A ledger in memory needs neither a database nor a terminal nor an event loop."""
    modules = loaded(
        "import bibank\n"
        "ledger = bibank.Ledger.in_memory({'USDT': '10'})\n"
        "ledger.deposit('A', '1 USDT', correlation_id='r')"
    )
    assert not modules & HEAVY
    assert not rooms(modules) & {"aio", "cli", "projection", "projections", "testing", "wallet"}


if __name__ == "__main__":
    SNAPSHOT.write_text(surface(), encoding="utf-8")
