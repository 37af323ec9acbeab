"""`bibank keygen`: make a key, and show all of it but the secret."""

from __future__ import annotations

from pathlib import Path

import click

from bibank.cli.output import note, print_json
from bibank.cli.parties import upper
from bibank.cli.settings import Settings, global_options, pass_settings
from bibank.cli.signers import PASSPHRASE_VARIABLE, key_path, new_passphrase
from bibank.errors import KeystoreError
from bibank.keystore import make_key_file
from bibank.model.keyring import SYSTEM_SIGNER, key_id_of


@click.command()
@global_options()
@click.option("--output", type=key_path, required=True, metavar="FILE", help="The new key file.")
@click.option(
    "--signer-id",
    default=SYSTEM_SIGNER,
    show_default=True,
    metavar="ID",
    help="Whose key it is: SYSTEM, a person's ANNA_OPS, an owner's USER:ALICE.",
)
@click.option(
    "--encrypt",
    is_flag=True,
    help=f"Put it under a passphrase, asked for or taken from {PASSPHRASE_VARIABLE}.",
)
@pass_settings
def keygen(
    settings: Settings,
    output: Path,
    signer_id: str,
    encrypt: bool,  # noqa: FBT001 - click hands flags over as booleans
) -> None:
    """Make a key file; the secret is in it and nowhere else."""
    if output.exists():  # before anybody is asked for a passphrase
        raise KeystoreError(f"{output} exists; a key is never overwritten")
    signer = make_key_file(
        output, signer_id=upper(signer_id), passphrase=new_passphrase() if encrypt else None
    )
    key = {
        "signer_id": signer.signer_id,
        "key_id": key_id_of(signer.public_key),
        "algorithm": signer.algorithm.value,
        "public_key": signer.public_key,
    }
    if settings.as_json:
        print_json({"file": str(output), "encrypted": encrypt, **key})
        return
    click.echo(f"made key {key['key_id']} of {key['signer_id']} in {output}")
    click.echo(f"{key['algorithm']} public key {key['public_key']}")
    if not encrypt:
        note(settings, "the file is not encrypted: whoever can read it can sign")
