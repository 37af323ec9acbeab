"""A recipient: whoever subscribed, an object or a plain function, as those who deliver see it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator

from bibank.bus.cursor_files import check_name
from bibank.bus.protocol import (
    AsyncEventSubscriber,
    CursorKeeper,
    EventSubscriber,
    Listener,
    ReplayAware,
)
from bibank.errors import ConfigurationError, InvalidType, excerpt
from bibank.model.event import LedgerEvent, ReplayCompleted, ReplayStarted

Subscriber = EventSubscriber | AsyncEventSubscriber | Listener

Call = Callable[[], object]
"""Asks the recipient for one thing; an async one gives something to await."""


_CALLED = ("load_cursor", "on_replay_start", "on_replay_complete")
"""What is called besides `handle`: where one of them is async, a task has to call them all."""


class Recipient:
    """Who is told. Raises `InvalidType` for what can be told nothing, `InvalidValue` for its name."""

    def __init__(self, subscriber: Subscriber, name: str | None) -> None:
        handle = getattr(subscriber, "handle", subscriber)
        if isinstance(subscriber, type) or not callable(handle):
            raise InvalidType(
                f"a subscriber has a name and handle(event), or is a function, not {excerpt(subscriber)}"
            )
        if any(kind(handle) for kind in (inspect.isgeneratorfunction, inspect.isasyncgenfunction)):
            raise InvalidType("a subscriber that yields would never run; handle(event) returns")
        if name is None:
            name = getattr(subscriber, "name" if handle is not subscriber else "__name__", None)
            if name is None:
                raise InvalidType(
                    "a subscriber needs a name, which its cursor is kept under; name= gives one"
                )
        self.name = check_name(name)
        self.keeps_cursor = isinstance(subscriber, CursorKeeper)
        called = [getattr(subscriber, method, None) for method in _CALLED]
        called += (handle, getattr(handle, "__call__", None))  # noqa: B004 - not whether, but what it is
        self.is_async = any(map(inspect.iscoroutinefunction, called))
        self._subscriber: object = subscriber
        self._handle: Callable[[LedgerEvent], object] = handle

    def calls(self, event: LedgerEvent) -> Iterator[Call]:
        """Give what has to be called for an event, in its order."""
        aware = self._subscriber if isinstance(self._subscriber, ReplayAware) else None
        if aware is not None and isinstance(event, ReplayStarted):
            yield aware.on_replay_start
        yield lambda: self._handle(event)
        if aware is not None and isinstance(event, ReplayCompleted):
            yield aware.on_replay_complete

    def load(self) -> object:
        """Ask for the cursor."""
        subscriber = self._subscriber
        assert isinstance(subscriber, CursorKeeper)
        return subscriber.load_cursor()


def at_once(call: Call) -> object:
    """Call, where nothing can be awaited; `ConfigurationError` for what would have to be."""
    result = call()
    if inspect.isawaitable(result):
        if inspect.iscoroutine(result):
            result.close()
        raise ConfigurationError("the subscriber is async; subscribe it with delivery='task'")
    return result
