"""Where the command gets keys from: key files, the environment, and the person at the terminal.

Nothing here falls back to "unsigned", and nothing here shows a secret. A key in the environment is dropped
from it by the command that reads it, so that no process started later inherits it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import ParamSpec, TypeVar

import click

from bibank.errors import KeystoreError
from bibank.keystore import SYSTEM_KEY_VARIABLE, Passphrase, from_environment, from_key_file, is_encrypted
from bibank.signing.signer import Signer

P = ParamSpec("P")
T = TypeVar("T")

PASSPHRASE_VARIABLE = "BIBANK_KEY_PASSPHRASE"

key_path = click.Path(dir_okay=False, path_type=Path)


def key_file_option(text: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Add --key-file with what it is for."""
    return click.option("--key-file", type=key_path, metavar="FILE", help=text)


signed_by_option = click.option(
    "--signed-by",
    type=key_path,
    metavar="FILE",
    help="The ledger's own key, where the home does not hold it.",
)
"""For commands whose --key-file is another key than the ledger's own."""

authorise_option = click.option(
    "--authorise",
    type=key_path,
    multiple=True,
    metavar="FILE",
    help="Key file of somebody who agrees to it; repeatable.",
)


def ledger_signer(key_file: Path | None) -> Signer | None:
    """Give the signer of a key file, else that of the environment; None leaves it to the home's own key."""
    try:
        if key_file is not None:
            return load_signer(key_file)
        return from_environment(SYSTEM_KEY_VARIABLE) if SYSTEM_KEY_VARIABLE in os.environ else None
    finally:
        os.environ.pop(SYSTEM_KEY_VARIABLE, None)


def load_signer(key_file: Path) -> Signer:
    """Load a key file, asking for its passphrase when it is encrypted."""
    if not is_encrypted(key_file):
        return from_key_file(key_file)
    return from_key_file(key_file, passphrase=_passphrase(f"Passphrase of {key_file}"))


def load_signers(key_files: Iterable[Path]) -> tuple[Signer, ...]:
    """Load several key files."""
    return tuple(map(load_signer, key_files))


def new_passphrase() -> Passphrase:
    """Get the passphrase for a new key file: asked for twice."""
    return _passphrase("Passphrase of the new key", confirm="Once more")


def _passphrase(prompt: str, *, confirm: str | None = None) -> Passphrase:
    """Take the passphrase from the environment, or ask for it without showing it."""
    if PASSPHRASE_VARIABLE in os.environ:
        return os.environ[PASSPHRASE_VARIABLE]
    if not has_terminal():
        raise KeystoreError(
            f"a passphrase is needed, and there is no terminal to ask at; set {PASSPHRASE_VARIABLE}"
        )
    answer: str = click.prompt(prompt, hide_input=True, confirmation_prompt=confirm or False, err=True)
    return answer


def has_terminal() -> bool:
    """Tell whether somebody can be asked without the answer being shown."""
    return sys.stdin.isatty()
