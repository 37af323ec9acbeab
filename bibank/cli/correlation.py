"""Correlation ids for requests that came without one. The library never makes any; a person may ask."""

from __future__ import annotations

import secrets
import time
from uuid import UUID

import click

from bibank.cli.output import note
from bibank.cli.settings import Settings

_VERSION = 7
_VARIANT = 0b10

correlation_option = click.option(
    "--correlation-id", metavar="ID", help="Id of the request that this belongs to; made up when left out."
)


def uuid7() -> UUID:
    """Make a UUID of version 7: 48 bits of Unix milliseconds, then 74 random bits (RFC 9562, 5.7)."""
    milliseconds = time.time_ns() // 1_000_000
    random_a, random_b = secrets.randbits(12), secrets.randbits(62)
    return UUID(
        int=(milliseconds & (1 << 48) - 1) << 80 | _VERSION << 76 | random_a << 64 | _VARIANT << 62 | random_b
    )


def named(settings: Settings, correlation_id: str | None) -> str:
    """Give the correlation id of the request; make one up, and tell it, when there is none."""
    if correlation_id is None:
        correlation_id = str(uuid7())
        if not settings.as_json:  # there the line, or the error, names it
            note(settings, correlation_id, label="correlation id")
    settings.correlation_id = correlation_id
    return correlation_id
