"""A PostgreSQL server for one test session, in a directory of its own, reached by a socket in it.

Where the server's programs are not installed, the tests that want one are skipped with that reason, or fail
where `BIBANK_REQUIRE_POSTGRES` is set, as the gate does once it has installed them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_PROGRAMS = Path("/usr/lib/postgresql")
"""Where Debian keeps them, a directory for each version; elsewhere they are on the path."""

_USER = "postgres"
"""Whom the server runs as where we are root, which it refuses to run as."""


def find_programs() -> Path | None:
    """Find the directory of `initdb` and `pg_ctl`, of the newest version."""
    on_path = shutil.which("initdb")
    if on_path is not None:
        return Path(on_path).parent
    found = sorted(_PROGRAMS.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3].partition(".")[0]))
    return found[-1].parent if found else None


def need_programs() -> Path:
    """Give the directory of the programs, or end the test."""
    found = find_programs()
    if found is None:
        reason = "the programs of a PostgreSQL server are not installed"
        if os.environ.get("BIBANK_REQUIRE_POSTGRES"):
            pytest.fail(f"{reason}, and BIBANK_REQUIRE_POSTGRES is set")
        pytest.skip(reason)
    return found


@contextmanager
def running_server() -> Iterator[str]:
    """Run a server, and give the connection string."""
    programs = need_programs()
    user = _USER if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="bibank-postgres-", ignore_cleanup_errors=True) as scratch:
        place = Path(scratch)
        data = place / "data"
        if user is not None:
            shutil.chown(place, user)

        def run(program: str, *words: str) -> None:
            subprocess.run(
                [str(programs / program), "-D", str(data), *words],
                user=user,
                cwd=place,
                check=True,
                timeout=60,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )

        run("initdb", "-U", "shop", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        run("pg_ctl", "-w", "start", "-l", str(place / "log"), "-o", f"-k {place} -c listen_addresses=")
        try:
            yield f"host={place} user=shop dbname=postgres"
        finally:
            run("pg_ctl", "-w", "stop", "-m", "immediate")
