"""Sphinx configuration: Markdown and notebooks through MyST-NB, the Furo theme, no network at build time."""

from importlib.metadata import version as distribution_version

project = "bibank"
author = "The bibank authors"
copyright = "The bibank authors, Apache-2.0"
release = distribution_version("bibank")
version = release

extensions = ["myst_nb", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

# The tutorial is a notebook: it runs at each build, in a directory of its own, and an error fails the build.
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_merge_streams = True

autodoc_member_order = "bysource"
autodoc_typehints = "description"
# The build is nitpicky (`-n`). Names that have no target, each with its reason:
nitpick_ignore_regex = [
    # Linking the standard library would need the network.
    (r"py:.*", r"(collections|datetime|decimal|enum|os|pathlib|types|typing|uuid)\..*"),
    (r"py:class", r"Decimal|UUID|date|datetime|timedelta"),
    # Linking other libraries would need it too.
    (r"py:class", r"pyarrow\.\w+"),
    # Errors have a page with a table, not an entry each.
    (r"py:class", r"bibank\.errors\..*|Refused|JournalCorrupt"),
    # Type variables.
    (r"py:class", r"bibank\.(model\.table\.Row|verbs\.(One|Many|Traded|Held)|projection\.upkeep\.T)|Row"),
    # Internal types in the signatures of constructors that hosts do not call, and of plain callables.
    (r"py:class", r"bibank\.model\.(genesis\.GenesisMark|json_value\.FrozenMap)|bibank\.keyring\.PolicyRow"),
    (r"py:class", r"bibank\.model\.(hold\.Outside|links\.(ApprovedBy|HoldTerms|IdempotencyMark))"),
    (r"py:class", r"bibank\.journal\.rule_sets\.AdoptedRule|Committing|StoredBatch|Undoable"),
    (r"py:class", r"bibank\.store\.jsonl\.(days\.(DayPlace|Days)|files\.Files|head\.HeadMark)"),
    (r"py:class", r"bibank\.journal\.(accounts\.AccountBook|machine\.LedgerMachine)"),
    (r"py:class", r"AccountBook|Committer|Days|Entropy|Files|FrozenMap|JsonValue|KeyringTrust|LedgerMachine"),
    (r"py:class", r"Place|Progress|Queries|SigningMode|Commits|Submissions|S_co|L|EventSource|Reach"),
    (
        r"py:class",
        r"HeadFile|Home|KeyringVersion|Moves|Opening|Replica|SealedBatch|SetAside|Signing|Survey|Torn",
    ),
]

html_theme = "furo"
html_title = "bibank"
