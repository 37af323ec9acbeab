"""The reference says what the code says: derived tables are compared, public names are all described."""

import importlib
import re
from pathlib import Path

import pytest

from tests.docs import reference_tables

DOCS = Path(__file__).resolve().parents[2] / "docs"
PUBLIC_MODULES = (
    "bibank",
    "bibank.drafts",
    "bibank.export",
    "bibank.fees",
    "bibank.projections",
    "bibank.rules",
    "bibank.signing",
    "bibank.stores",
)


@pytest.mark.parametrize("page", reference_tables.pages(), ids=lambda page: page.name)
def test_derived_tables_are_up_to_date(page: Path) -> None:
    """A table that the code changed under is renewed by `python -m tests.docs.reference_tables`."""
    text = page.read_text(encoding="utf-8")
    assert text == reference_tables.renewed(text)


def test_every_derived_table_stands_in_a_page() -> None:
    """No table loses its place in the reference unnoticed."""
    text = "".join(page.read_text(encoding="utf-8") for page in reference_tables.pages())
    assert set(re.findall(r"<!-- table: ([a-z-]+) -->", text)) == set(reference_tables.TABLES)


def test_a_stale_table_is_found() -> None:
    """A check that cannot fail is none: a changed cell is written anew."""
    text = f"<!-- table: errors -->\n{reference_tables.errors_table()}<!-- end of table -->\n"
    stale = text.replace("insufficient_balance", "no_money")
    assert stale != text
    assert reference_tables.renewed(stale) == text


@pytest.mark.parametrize("name", PUBLIC_MODULES)
def test_every_public_name_is_in_the_reference(name: str) -> None:
    """What a public module offers is described: errors in their table, everything else in the API page."""
    page = (DOCS / "reference" / "api.md").read_text(encoding="utf-8")
    described = set(re.findall(r"^\.\. auto\w+:: \S*?(\w+)$", page, re.MULTILINE))
    described |= {cls.__name__ for cls in reference_tables.error_classes()}
    assert set(importlib.import_module(name).__all__) <= described
