"""The tables of the reference that are derived from the code.

A page holds each of them between two markers, `<!-- table: NAME -->` and `<!-- end of table -->`. A test
compares them with what the code says now; `python -m tests.docs.reference_tables` writes them anew.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import click

from bibank import errors
from bibank.cli import EXIT_USAGE
from bibank.cli.application import application
from bibank.cli.failures import (
    EXIT_BROKEN_PIPE,
    EXIT_CODES,
    EXIT_DAMAGE,
    EXIT_INTERNAL,
    EXIT_INTERRUPTED,
    EXIT_OPERATOR,
)
from bibank.errors.refused import NOT_AUTHORISED_REASONS
from bibank.journal.account_records import MAX_REASON_LENGTH, TRANSITIONS
from bibank.journal.codec import MAX_BATCH_LINES, MAX_LINE_BYTES, MAX_NESTING
from bibank.journal.intents import ADJUSTMENT_PURPOSES, FEE_KINDS, INTENT_TABLE, TRADE_FIELDS
from bibank.journal.position import MAX_GROUP_BYTES
from bibank.journal.records import MAX_SET_ASIDE, RECORD_TABLE
from bibank.journal.rule_sets import MAX_RULES
from bibank.model.account import AccountCategory
from bibank.model.account_terms import AccountStatus
from bibank.model.entry import MAX_DRAFT_BYTES, MAX_POSTINGS, MAX_REVERSAL_BYTES, MIN_POSTINGS
from bibank.model.identifier import MAX_ID_LENGTH
from bibank.model.json_value import BODY_LIMITS, METADATA_LIMITS, JsonLimits
from bibank.model.money import MAX_PART_LENGTH
from bibank.model.signature import MAX_SIGNATURES
from bibank.risk.recorded import MAX_RULE_DATA_BYTES

REFERENCE = Path(__file__).resolve().parents[2] / "docs" / "reference"
_MARKED = re.compile(r"(?<=<!-- table: )([a-z-]+)( -->\n).*?(?=<!-- end of table -->)", re.DOTALL)


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    def line(cells: tuple[str, ...]) -> str:
        return f"| {' | '.join(cells)} |\n"

    return "".join([line(header), f"{'|---' * len(header)}|\n", *map(line, rows)])


_FAMILIES = (
    errors.InvalidInput,
    errors.Refused,
    errors.IntegrityError,
    errors.StoreError,
    errors.KeystoreError,
    errors.ConfigurationError,
)
"""The families in the order in which the page tells who acts."""


def error_classes() -> list[type[errors.BibankError]]:
    """Every error of the library: family by family, each class before its children."""
    public = set(map(vars(errors).__getitem__, errors.__all__)) - {errors.excerpt}

    def tree(cls: type[errors.BibankError]) -> Iterator[type[errors.BibankError]]:
        yield cls
        for child in cls.__subclasses__():
            if child in public:
                yield from tree(child)

    found: list[type[errors.BibankError]] = [errors.BibankError]
    found += (cls for family in _FAMILIES for cls in tree(family))
    assert public == set(found), "an error of no family"
    return found


def _family(cls: type[errors.BibankError]) -> str:
    """Name the child of the root that an error descends from."""
    line = [base for base in cls.__mro__ if issubclass(base, errors.BibankError)]
    return f"`{line[-2].__name__}`" if len(line) > 2 else ""


def _first_sentence(text: str | None) -> str:
    first = re.match(r"(.+?[.:])(\s|$)", " ".join((text or "").split()))
    assert first is not None, text
    return first[1].replace(":class:", "").rstrip(":.")


def errors_table() -> str:
    """Every error: class, code, family, whether the same call may succeed later, and what it means."""
    return _table(
        ("class", "code", "family", "retryable", "raised for"),
        (
            (
                f"`{cls.__name__}`",
                f"`{cls.code}`",
                _family(cls),
                "yes" if cls.retryable else "no",
                _first_sentence(cls.__doc__),
            )
            for cls in error_classes()
        ),
    )


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


# What each condition of the intent table demands, by the name of its function. A new one fails here.
_CONDITIONS = {
    "_one_owner_of_liabilities": "all LIAB accounts are of one owner",
    "_no_account_on_both_sides": "no account stands on both sides",
    "_swap_between_two_owners": "exactly 2 assets and 2 owners; each gives one asset and receives the other",
    "_trade_fields": f"metadata {_names(TRADE_FIELDS)} say what the postings say",
    "_fee_account": "one asset; credited is `REV:SYSTEM:FEE:<ASSET>:<KIND>`, "
    f"the kind one of {_names(FEE_KINDS)}",
    "_fee_fields": "one kind; metadata `fee_amount`, `fee_asset`, `fee_type` say what the postings say",
    "_adjustment_fields": "metadata `requires_approval` is true, `reason` says why, "
    f"`purpose` is one of {_names(ADJUSTMENT_PURPOSES)}",
}


def _categories(allowed: frozenset[AccountCategory]) -> str:
    names = (category.value for category in AccountCategory if category in allowed)
    return "any" if len(allowed) == len(AccountCategory) else " ".join(names)


def intents_table() -> str:
    """The intent table: what may stand on each side, how many postings, and what must hold further."""
    return _table(
        ("intent", "debit", "credit", "postings", "further"),
        (
            (
                f"`{intent.value}`",
                _categories(rule.debit),
                _categories(rule.credit),
                f"at least {rule.minimum_postings}" if rule.minimum_postings else "none, or at least 2",
                "; ".join(_CONDITIONS[condition.__name__] for condition in rule.conditions),
            )
            for intent, rule in INTENT_TABLE.items()
        ),
    )


def limits_table() -> str:
    """The sizes that the format allows."""

    def json(limits: JsonLimits) -> str:
        return f"{limits.depth} levels, {limits.keys:,} names in all, {limits.size_bytes:,} bytes"

    return _table(
        ("what", "limit"),
        [
            ("line, without its newline", f"{MAX_LINE_BYTES:,} bytes"),
            ("brackets within brackets in a line", f"{MAX_NESTING}"),
            ("batch, and write group", f"{MAX_BATCH_LINES:,} lines"),
            ("write group", f"closed at {MAX_GROUP_BYTES:,} bytes"),
            (
                "postings of an entry",
                f"{MIN_POSTINGS} to {MAX_POSTINGS}; a genesis: none, or any number above 1",
            ),
            ("draft, as canonical JSON", f"{MAX_DRAFT_BYTES:,} bytes"),
            (
                "draft that reverses another or carries out a proposal, as canonical JSON",
                f"{MAX_REVERSAL_BYTES:,} bytes",
            ),
            ("metadata of an entry", json(METADATA_LIMITS)),
            ("body of a record", json(BODY_LIMITS)),
            ("signatures on a line", f"{MAX_SIGNATURES}"),
            ("adopted set of rules", f"{MAX_RULES} rules"),
            ("data of a shipped rule, as canonical JSON", f"{MAX_RULE_DATA_BYTES:,} bytes"),
            ("words that say why something was decided", f"{MAX_REASON_LENGTH:,} characters"),
            ("files of torn bytes in a recovery", f"1 to {MAX_SET_ASIDE}"),
            ("correlation id, idempotency key, trade id, subject", f"1 to {MAX_ID_LENGTH} characters"),
            ("id, asset, sub-account of a key", f"1 to {MAX_PART_LENGTH} characters each"),
        ],
    )


def _usage(command: click.Command) -> str:
    arguments = (
        parameter.name.upper() if parameter.required else f"[{parameter.name.upper()}]"
        for parameter in command.params
        if isinstance(parameter, click.Argument) and parameter.name is not None
    )
    return " ".join([command.name or "", *arguments])


def _own_options(command: click.Command) -> str:
    common = {parameter.name for parameter in application.params}
    names = (
        f"`{option.opts[0]}`"
        for option in command.params
        if isinstance(option, click.Option) and option.name not in common and not option.hidden
    )
    return " ".join(names)


def _rows(group: click.Group, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """The commands of a group, and in place of a group below it, its own."""
    for command in group.commands.values():
        if isinstance(command, click.Group):
            yield from _rows(command, f"{prefix}{command.name} ")
        else:
            yield f"`{prefix}{_usage(command)}`", _first_sentence(command.help), _own_options(command)


def commands_table() -> str:
    """The commands of `bibank`, from the parser itself."""
    return _table(("command", "does", "options of its own"), _rows(application))


# What else can end a command, and whoever reads a script wants to know.
_OTHER_ENDS = {
    0: "done",
    EXIT_INTERNAL: "an internal error: a bug; `BIBANK_DEBUG=1` shows the traceback",
    EXIT_USAGE: "a command line that cannot be parsed, or the extra `cli` is not installed",
    EXIT_DAMAGE: "`doctor` found damage",
    EXIT_OPERATOR: "`doctor` found something else to see to",
    EXIT_INTERRUPTED: "interrupted from the keyboard",
    EXIT_BROKEN_PIPE: "whoever read the output has gone",
}


def exit_codes_table() -> str:
    """How commands end, and which errors end them so."""
    ends: dict[int, list[str]] = {}
    for kind, code in EXIT_CODES:
        if kind is not errors.BibankError:
            ends.setdefault(code, []).append(f"`{kind.__name__}`")
    codes = sorted(ends.keys() | _OTHER_ENDS.keys())
    return _table(
        ("exit code", "errors", "or"),
        ((str(code), ", ".join(ends.get(code, ())), _OTHER_ENDS.get(code, "")) for code in codes),
    )


def records_table() -> str:
    """The record table: who signs inside each kind, what it is about, what it does."""
    return _table(
        ("record", "signed inside by", "about", "effect"),
        (
            (f"`{kind.value}`", rule.inner.value, rule.subject.value, rule.effect)
            for kind, rule in RECORD_TABLE.items()
        ),
    )


def reasons_table() -> str:
    """Why somebody was not authorised."""
    rows = sorted(NOT_AUTHORISED_REASONS.items())
    return _table(("`reason`", "what it says"), ((f"`{name}`", text) for name, text in rows))


def transitions_table() -> str:
    """From which status of an account each decision leads to which."""
    return _table(
        ("record", *(f"from {status.value}" for status in AccountStatus)),
        (
            (
                f"`{kind.value}`",
                *(rows[status].value if status in rows else "refused" for status in AccountStatus),
            )
            for kind, rows in TRANSITIONS.items()
        ),
    )


TABLES: dict[str, Callable[[], str]] = {
    "commands": commands_table,
    "errors": errors_table,
    "exit-codes": exit_codes_table,
    "intents": intents_table,
    "limits": limits_table,
    "reasons": reasons_table,
    "records": records_table,
    "transitions": transitions_table,
}


def renewed(text: str) -> str:
    """Give a page with every marked table as the code says it now."""
    return _MARKED.sub(lambda found: f"{found[1]}{found[2]}{TABLES[found[1]]()}", text)


def pages() -> list[Path]:
    """The pages of the reference that hold a marked table."""
    found = sorted(REFERENCE.glob("*.md"))
    return [path for path in found if _MARKED.search(path.read_text(encoding="utf-8"))]


if __name__ == "__main__":
    for page in pages():
        page.write_text(renewed(page.read_text(encoding="utf-8")), encoding="utf-8")
