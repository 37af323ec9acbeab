"""An asyncio ledger asked as if it blocked: each call runs an event loop until it is done.

What tests a `Ledger` tests an `AsyncLedger` too, when it is handed one of these.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import bibank as bb


class Awaiting:
    """Everything that a face has, awaited where it is to be awaited."""

    def __init__(self, face: Any, runner: asyncio.Runner) -> None:
        self.face = face
        self.runner = runner

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.face, name)
        if name == "batch":
            return self._batch
        return self._called(found) if callable(found) else found

    def _called(self, method: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            result = method(*args, **kwargs)
            return self.run(result) if inspect.isawaitable(result) else result

        return call

    def run(self, awaitable: Any) -> Any:
        """Await something in a turn of the loop of its own."""

        async def awaited() -> Any:
            return await awaitable

        return self.runner.run(awaited())

    @contextmanager
    def _batch(self, **options: Any) -> Iterator[Any]:
        batch = self.face.batch(**options)
        self.run(batch.__aenter__())
        try:
            yield Awaiting(batch, self.runner)
        except BaseException as error:
            self.run(batch.__aexit__(type(error), error, error.__traceback__))
            raise
        self.run(batch.__aexit__(None, None, None))


def awaiting(ledger: bb.Ledger) -> Awaiting:
    """Put the face for asyncio on a ledger, and block on it."""
    return Awaiting(bb.AsyncLedger(ledger), asyncio.Runner())
