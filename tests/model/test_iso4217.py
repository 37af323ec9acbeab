"""The table of currencies, held against Babel's data (Unicode CLDR), every deviation by name."""

from __future__ import annotations

from datetime import date

from babel.core import get_global
from babel.numbers import get_currency_precision, get_territory_currencies

from bibank.model.iso4217 import ISO_4217

# What "List one" of ISO 4217 holds without a minor unit ("N.A."): no table of decimals can have it.
WITHOUT_MINOR_UNIT = {
    "XAG": "silver",
    "XAU": "gold",
    "XBA": "bond market unit EURCO",
    "XBB": "bond market unit EMU-6",
    "XBC": "bond market unit EUA-9",
    "XBD": "bond market unit EUA-17",
    "XDR": "special drawing right",
    "XPD": "palladium",
    "XPT": "platinum",
    "XSU": "sucre",
    "XTS": "reserved for testing",
    "XUA": "unit of account of the African Development Bank",
    "X" * 3: "no currency",
}

# In CLDR's territories today, but not in ISO's list.
ONLY_IN_CLDR = {
    "BGN": "Bulgaria has the euro since 2026-01-01 (amendment 180); CLDR still has the lev in use",
    "CNH": "the offshore yuan is a market convention, never a code of ISO 4217",
}

# In ISO's list, but of no territory in CLDR today.
ONLY_IN_ISO = {
    "SVC": "El Salvador's colon is in ISO's list; CLDR ends it in 2001, when the dollar became tender",
    "XAD": "the Arab Monetary Fund's dinar (amendment 179, May 2025) belongs to no territory",
}

# CLDR says how many digits people customarily write, ISO 4217 how many the currency has. What has lost
# its coins to inflation, or never had any, differs.
CUSTOMARY_DIGITS = {
    "AFN": "pul are out of use",
    "ALL": "qindarka are out of use",
    "IQD": "fils are out of use",
    "IRR": "rials are counted in whole tomans",
    "KPW": "chon are out of use",
    "LAK": "att are out of use",
    "LBP": "piastres are out of use",
    "MGA": "ISO gives 2 by convention; an ariary is five iraimbilanja",
    "MMK": "pyas are out of use",
    "RSD": "para are out of use",
    "SOS": "senti are out of use",
    "SYP": "piastres are out of use",
    "YER": "fils are out of use",
}


def cldr_currencies(day: date) -> set[str]:
    """Give every currency that CLDR has in use somewhere on a day, tender or not."""
    return {
        code
        for territory in get_global("territory_currencies")
        for code in get_territory_currencies(territory, start_date=day, tender=True, non_tender=True)
    }


def test_active_codes_are_those_of_babel() -> None:
    """The set of codes is CLDR's set of today, but for deviations that have a reason."""
    expected = cldr_currencies(date(2026, 1, 1)) - set(WITHOUT_MINOR_UNIT) - set(ONLY_IN_CLDR)
    assert set(ISO_4217) == expected | set(ONLY_IN_ISO)


def test_codes_without_a_minor_unit_are_left_out() -> None:
    """Metals, units of account, the test code and no currency are the host's to define."""
    assert not set(WITHOUT_MINOR_UNIT) & set(ISO_4217)


def test_decimals_are_those_of_babel() -> None:
    """Decimals are CLDR's digits, but for the currencies whose custom is not the standard."""
    differing = {code for code, decimals in ISO_4217.items() if get_currency_precision(code) != decimals}
    assert differing == set(CUSTOMARY_DIGITS)


def test_shape_of_the_table() -> None:
    """165 codes of three letters in order, 0 to 4 decimals, each code once, and nobody can change it."""
    assert len(ISO_4217) == 165
    assert list(ISO_4217) == sorted(ISO_4217)
    assert {len(code) for code in ISO_4217} == {3}
    assert sorted(set(ISO_4217.values())) == [0, 2, 3, 4]
    assert not hasattr(ISO_4217, "__setitem__")
