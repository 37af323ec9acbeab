"""Progress of long work: a bar on stderr when that is a terminal, and silence otherwise."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from bibank.projection.sources import PROGRESS_LINES, Progress, no_progress

Watch = Callable[[Iterable[bytes]], Iterator[bytes]]


@contextmanager
def progress_bar(description: str, *, total: int) -> Iterator[Progress]:
    """Show a bar while the block runs; call what it gives with how much is done."""
    if not sys.stderr.isatty():
        yield no_progress
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Bar(
        *columns,
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,  # data stays on stdout; rich would print it where the bar is
        redirect_stderr=False,
    )
    with bar:
        task = bar.add_task(description, total=total)
        yield lambda done: bar.update(task, completed=done)


@contextmanager
def watching(description: str, *, total: int) -> Iterator[Watch]:
    """Show a bar for lines that pass through what it gives."""
    with progress_bar(description, total=total) as progress:

        def watch(lines: Iterable[bytes]) -> Iterator[bytes]:
            for done, line in enumerate(lines, 1):
                yield line
                if done % PROGRESS_LINES == 0:
                    progress(done)

        yield watch
