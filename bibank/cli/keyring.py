"""`bibank keyring`: which keys a ledger trusts, and changing that under its own policy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import click

from bibank.cli.correlation import correlation_option, named
from bibank.cli.output import note, print_json, print_table
from bibank.cli.settings import Settings, global_options, pass_settings
from bibank.cli.signers import (
    authorise_option,
    key_path,
    ledger_signer,
    load_signer,
    load_signers,
    signed_by_option,
)
from bibank.journal.gate import Bystander
from bibank.keyring import LedgerKeyring
from bibank.ledger import Ledger
from bibank.model.keyring import KeyringKey
from bibank.model.policy import AdjustmentPurpose, Policy, Purpose, Role
from bibank.model.record import JournalRecord
from bibank.model.table import plain
from bibank.opening import accept_all
from bibank.signing.trust import KeyringTrust

P = ParamSpec("P")
T = TypeVar("T")

_KEY_COLUMNS = ("signer", "key id", "roles", "lines", "status", "algorithm", "public key")
_POLICY_COLUMNS = ("purpose", "role", "threshold", "from line")
_APPROVAL_COLUMNS = ("entry", "approvals")


def _changing(command: Callable[Concatenate[Settings, P], T]) -> Callable[P, T]:
    """Add the options of every command that changes the keyring."""
    return authorise_option(signed_by_option(correlation_option(pass_settings(command))))


@click.group()
@global_options()
def keyring() -> None:
    """Show or change which keys the ledger trusts."""


@keyring.command()
@global_options()
@pass_settings
def show(settings: Settings) -> None:
    """Show the keys and policies in force, as the journal gives them; takes no lock."""
    home = settings.home
    cached = home.read_keyring()
    plan = home.survey()
    _, trust = accept_all(plan.read(), gate=Bystander(), verify="chain", place=plan.place)
    if cached is not None:
        cached.check(trust)
    if settings.as_json:
        print_json(_as_json(trust))
        return
    current = trust.current
    click.echo(
        f"keyring version {current.keyring.version} of {trust.ledger_id}, from line {current.from_sequence}"
    )
    click.echo(f"fingerprint {current.fingerprint}")
    click.echo()
    print_table(_KEY_COLUMNS, map(_key_cells, current.keyring.keys), right=frozenset())
    click.echo()
    policies = (
        (purpose.value, policy.role.value, str(policy.threshold), str(policy.mandatory_from))
        for purpose, policy in current.keyring.policies.items()
    )
    print_table(_POLICY_COLUMNS, policies, right=frozenset(_POLICY_COLUMNS[2:]))
    adjustments = current.keyring.policies[Purpose.ADJUSTMENT]
    if adjustments.approvals is not None:
        click.echo()
        print_table(_APPROVAL_COLUMNS, _approval_cells(adjustments), right=frozenset({"approvals"}))
        click.echo(f"a proposal waits for them for {adjustments.expiry_seconds} seconds")


def _as_json(trust: KeyringTrust) -> dict[str, object]:
    current = trust.current
    return {
        "ledger_id": trust.ledger_id,
        "version": current.keyring.version,
        "fingerprint": current.fingerprint,
        "from_sequence": current.from_sequence,
        "keys": [{"key_id": key.key_id, **plain(key)} for key in current.keyring.keys],
        "policies": [
            {
                "purpose": purpose.value,
                "role": policy.role.value,
                "threshold": policy.threshold,
                "mandatory_from": policy.mandatory_from,
                "approvals": None if policy.approvals is None else plain(policy.approvals.to_body()),
            }
            for purpose, policy in current.keyring.policies.items()
        ],
    }


def _approval_cells(policy: Policy) -> Iterator[tuple[str, str]]:
    """Say how many approvals each purpose of an adjustment needs, and a withdrawal above its sum."""
    for purpose in AdjustmentPurpose:
        yield f"adjustment for {purpose.value}", str(policy.approvals_for(purpose))
    for money in policy.approvals.withdrawals_above if policy.approvals is not None else ():
        yield f"withdrawal above {money}", str(policy.approvals_for(None))


def _key_cells(key: KeyringKey) -> tuple[str, ...]:
    end = "" if key.valid_to_sequence is None else str(key.valid_to_sequence)
    trusted = "" if key.last_trusted_sequence is None else f", trusted to {key.last_trusted_sequence}"
    return (
        key.signer_id,
        key.key_id,
        ",".join(role.value for role in key.roles),
        f"{key.valid_from_sequence}-{end}{trusted}",
        key.status.value,
        key.algorithm.value,
        key.public_key,
    )


@keyring.command()
@global_options()
@click.option("--key-file", type=key_path, required=True, metavar="FILE", help="The key to trust.")
@click.option(
    "--role",
    "roles",
    type=click.Choice([role.value for role in Role], case_sensitive=False),
    multiple=True,
    required=True,
    help="What it is trusted for; repeatable.",
)
@_changing
def add(
    settings: Settings,
    key_file: Path,
    roles: tuple[str, ...],
    authorise: tuple[Path, ...],
    signed_by: Path | None,
    correlation_id: str | None,
) -> None:
    """Trust a new key. The first one of an unsigned ledger is its system key."""
    new, agreeing = load_signer(key_file), load_signers(authorise)
    named_roles = tuple(map(Role, roles))
    _change(
        settings,
        correlation_id,
        signed_by,
        lambda keys: keys.add(new, roles=named_roles, authorised_by=agreeing),
    )


@keyring.command()
@global_options()
@click.option(
    "--key-file",
    type=key_path,
    metavar="FILE",
    help="The new key, which stays where it is; without it the home makes one of its own.",
)
@_changing
def rotate(
    settings: Settings,
    key_file: Path | None,
    authorise: tuple[Path, ...],
    signed_by: Path | None,
    correlation_id: str | None,
) -> None:
    """Replace the ledger's own key: the old one is retired, the new one signs from here on."""
    new = load_signer(key_file) if key_file is not None else None
    agreeing = load_signers(authorise)
    _change(
        settings,
        correlation_id,
        signed_by,
        lambda keys: keys.rotate(new, authorised_by=agreeing),
        key_file=key_file,
    )


@keyring.command()
@global_options()
@click.argument("key_id")
@click.option(
    "--last-trusted-sequence",
    type=click.IntRange(min=0),
    required=True,
    metavar="N",
    help="The last line for which the key is still believed; what it signed later is suspect.",
)
@click.option(
    "--replace-with",
    type=key_path,
    metavar="FILE",
    help="The ledger's own key from here on, when it is that one which is given up.",
)
@_changing
def revoke(
    settings: Settings,
    key_id: str,
    last_trusted_sequence: int,
    replace_with: Path | None,
    authorise: tuple[Path, ...],
    signed_by: Path | None,
    correlation_id: str | None,
) -> None:
    """Give a key up as lost."""
    replacement = load_signer(replace_with) if replace_with is not None else None
    agreeing = load_signers(authorise)
    _change(
        settings,
        correlation_id,
        signed_by,
        lambda keys: keys.revoke(
            key_id,
            last_trusted_sequence=last_trusted_sequence,
            replacement=replacement,
            authorised_by=agreeing,
        ),
        key_file=replace_with,
    )


def _change(
    settings: Settings,
    correlation_id: str | None,
    signed_by: Path | None,
    verb: Callable[[LedgerKeyring], JournalRecord],
    *,
    key_file: Path | None = None,
) -> None:
    """Open the ledger, change its keyring once, and print what was committed."""
    home = settings.home
    trace = named(settings, correlation_id)
    with Ledger.open(home.path, signer=ledger_signer(signed_by)) as ledger:
        changed = ledger.bind(correlation_id=trace).keyring
        record = verb(changed)
        version, fingerprint = changed.version, changed.fingerprint
    if settings.as_json:
        print_json({"version": version, "fingerprint": fingerprint, "record": plain(record)})
        return
    click.echo(f"line {record.sequence}: keyring version {version}")
    click.echo(f"fingerprint {fingerprint}")
    note(settings, "keep this fingerprint outside this machine: an audit against it sees a dropped change")
    if key_file is not None and key_file.resolve().parent != home.keys.resolve():
        note(settings, f"lines are signed with {key_file} from here on: give it with --key-file")
