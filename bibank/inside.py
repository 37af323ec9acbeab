"""Calls from inside: a rule, a clock, a signer or a signal handler that calls the ledger back.

Such a call would wait for its own thread, or for another that waits for it. It is told apart from the
calls of other threads by who is asking at the moment, and refused before it takes any lock.
"""

from __future__ import annotations

from threading import get_ident

from bibank.errors import ConfigurationError


class Inside:
    """Which thread asks whom on behalf of a ledger; 0 for none. Set and reset around each ask."""

    def __init__(self) -> None:
        self.asking = 0
        """The thread that asks the clock or a rule."""
        self.leader = 0
        """The thread that asks the signer and the store."""
        self.reader = 0
        """The thread that looks at the accounts under the lock."""

    def check(self) -> None:
        """Refuse a call from inside another one of the same thread; `ConfigurationError`."""
        thread = get_ident()
        if self.asking == thread:
            raise ConfigurationError("a risk rule or a clock may not call the ledger that asks it")
        if self.leader == thread:
            raise ConfigurationError("a signer or a store may not call the ledger that asks it")

    def check_waiting(self) -> None:
        """Refuse what may have to wait for other threads, also from a handler that interrupted a look."""
        self.check()
        if self.reader == get_ident():
            raise ConfigurationError(
                "this thread was looking at the accounts when a signal came; let the handler set a flag"
            )
