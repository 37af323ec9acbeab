"""The root of every error, and how an offending value is shown."""

from __future__ import annotations

from typing import Any, ClassVar


def _restore(cls: type[BibankError], args: tuple[Any, ...], state: dict[str, Any]) -> BibankError:
    """Rebuild a pickled error without calling its constructor."""
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(state)
    return error


def excerpt(value: object, *, limit: int = 80) -> str:
    """Show an offending value in an error text: its repr, cut to `limit` characters. Never raises."""
    try:
        text = repr(value[: limit * 4] if isinstance(value, (str, bytes)) else value)
    except Exception:  # noqa: BLE001 - an int of 5,000 digits has no repr, and a host's repr may be broken
        text = f"<{type(value).__name__} without a repr>"
    return text if len(text) <= limit else text[: limit - 3] + "..."


class BibankError(Exception):
    """Root of every error raised by bibank."""

    code: ClassVar[str] = "error"
    retryable: ClassVar[bool] = False

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by state, so that keyword-only constructors are no obstacle."""
        return _restore, (type(self), self.args, self.__dict__.copy())
