"""Pure functions, computed once for each argument while hundreds of thousands of disks are checked.

The disks of one workload hold the same few lines again and again. What a line says, what it hashes to and
whether its signature holds does not depend on the disk it stands on, so remembering it changes no verdict;
the ordinary tests run the same library without.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from typing import Any
from unittest.mock import patch

from bibank.journal.codec import decode_line
from bibank.journal.genesis import keyring_hash, read_adopted
from bibank.journal.reference import line_hash, signing_payload
from bibank.signing.trust import first_fingerprint
from bibank.signing.verify import verify_ed25519

_MOST = 65536
_OBJECTS_BETWEEN_COLLECTIONS = 200_000


def by_value(function: Callable[..., Any]) -> Callable[..., Any]:
    """Remember results by the values of the arguments, which are frozen."""
    return lru_cache(maxsize=_MOST)(function)


def by_identity(function: Callable[..., Any]) -> Callable[..., Any]:
    """Remember results by the first argument itself, a frozen value that is kept alive meanwhile."""
    known: dict[tuple[Any, ...], tuple[object, Any]] = {}

    def remembered(value: object, **options: Any) -> Any:
        key = (id(value), *options.values())
        if key not in known:
            if len(known) > _MOST:
                known.clear()
            known[key] = (value, function(value, **options))
        return known[key][1]

    return remembered


_REMEMBERED = (
    (by_value, decode_line, ("journal.reader", "store.jsonl.survey", "store.jsonl.tail")),
    (by_identity, line_hash, ("journal.reader", "store.jsonl.tail")),
    (by_identity, signing_payload, ("journal.reader",)),
    (by_identity, keyring_hash, ("journal.genesis",)),
    (by_identity, read_adopted, ("journal.effects", "journal.genesis")),
    (by_identity, first_fingerprint, ("signing.trust",)),
    (by_value, verify_ed25519, ("signing.trust",)),
)


@contextmanager
def quiet() -> Iterator[None]:
    """Log nothing."""
    logger = logging.getLogger("bibank")
    was, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = was


@contextmanager
def remembering() -> Iterator[None]:
    """Remember what pure functions gave, verify without threads, log nothing, and seldom look for garbage."""
    thresholds = gc.get_threshold()
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    with ExitStack() as stack:
        stack.enter_context(quiet())
        for remember, function, modules in _REMEMBERED:
            remembered = remember(function)
            for module in modules:
                stack.enter_context(patch(f"bibank.{module}.{function.__name__}", remembered))
        stack.enter_context(patch("bibank.opening.default_workers", lambda: 1))
        try:
            yield
        finally:
            gc.set_threshold(*thresholds)
