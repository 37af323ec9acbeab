"""Faces: an object for asyncio over one that blocks, each method made from the one that it stands for.

A method is written once, with its parameters and its documentation, on the object that blocks. Here it is
taken over as it is, where it only looks at memory, or made a coroutine, where it touches the disk.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial, wraps
from typing import Concatenate, Generic, ParamSpec, TypeVar

from bibank.aio.submissions import Submissions

S = TypeVar("S")
S_co = TypeVar("S_co", covariant=True)
P = ParamSpec("P")
R = TypeVar("R")

Awaited = Coroutine[object, object, R]
"""What a coroutine method returns: awaited, or made a task."""


class Face(Generic[S_co]):
    """Something that blocks, and the threads that may wait for it."""

    def __init__(self, blocking: S_co, submissions: Submissions) -> None:
        self._blocking = blocking
        self._submissions = submissions


def plain(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[Face[S], P], R]:
    """Take over a method that looks at memory only."""

    @wraps(method)
    def asked(self: Face[S], /, *args: P.args, **kwargs: P.kwargs) -> R:
        return method(self._blocking, *args, **kwargs)

    return asked


def threaded(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[Face[S], P], Awaited[R]]:
    """Make a coroutine of a method that touches the disk: a thread of the ledger waits for it."""

    @wraps(method)
    async def asked(self: Face[S], /, *args: P.args, **kwargs: P.kwargs) -> R:
        return await self._submissions.call(partial(method, self._blocking, *args, **kwargs))

    return asked
