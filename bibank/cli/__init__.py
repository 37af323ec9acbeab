"""The `bibank` command: it parses, calls and prints. Nothing is decided here.

Data goes to stdout, everything else to stderr. Exit codes are the table in `bibank.cli.failures`.
This module imports neither click nor rich, so that it can say what to install.
"""

from __future__ import annotations

import sys

EXIT_USAGE = 2


def main() -> None:
    """Run the command; the entry point of the package."""
    try:
        from bibank.cli.application import application
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("click", "rich"):
            raise
        sys.stderr.write("the bibank command needs its extra: pip install 'bibank[cli]'\n")
        sys.exit(EXIT_USAGE)
    application.main(prog_name="bibank")
