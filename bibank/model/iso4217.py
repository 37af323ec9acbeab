"""ISO 4217: the currencies and funds in use, and how many decimals each has.

The facts of "List one" with its amendments up to 180 (in force since 1 January 2026). Codes without
a minor unit, such as those of metals (`XAU`), accounting units (`XDR`), testing (`XTS`) and no currency
at all, are left out, and so are the codes of money that is history.

>>> ISO_4217["USD"], ISO_4217["JPY"], ISO_4217["KWD"], ISO_4217["CLF"]
(2, 0, 3, 4)
>>> "XAU" in ISO_4217
False
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_CODES_BY_DECIMALS = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: (
        "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD "
        "CAD CDF CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP "
        "GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT "
        "LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN "
        "NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB "
        "SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL "
        "THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST "
        "XAD XCD XCG YER ZAR ZMW ZWG"
    ),
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}

ISO_4217: Mapping[str, int] = MappingProxyType(
    dict(sorted((code, decimals) for decimals, codes in _CODES_BY_DECIMALS.items() for code in codes.split()))
)
"""Alphabetic code and number of decimals (the minor unit, as the exponent of ten), in order of codes."""
