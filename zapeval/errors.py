"""Errors: one base, one class for each thing a caller may act on."""

from __future__ import annotations

from collections.abc import Sequence


class ZapevalError(Exception):
    """Is the base of every error that zapeval raises on purpose.

    The message is a sentence: who, what it is, what was expected, where; what to do.
    """

    exit_code = 1


class UsageError(ZapevalError):
    """Says that a command or function was called with arguments that do not fit together."""

    exit_code = 2


class InvalidInput(ZapevalError):
    """Says that data, metadata or a definition is wrong.

    Attributes:
        findings: Every finding, one sentence each, where several were made at once.
    """

    exit_code = 3

    def __init__(self, message: str, findings: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.findings: tuple[str, ...] = tuple(findings) or (message,)


class StorageError(InvalidInput):
    """Says that bytes could not be read or written: the disk is full, a file ends early."""


class NotFound(ZapevalError):
    """Says that a name, a file or a URI leads to nothing; names what is known nearby."""

    exit_code = 4


class Refused(ZapevalError):
    """Says that a request is understood and not carried out, and why."""

    exit_code = 5


class BrokenPlugin(ZapevalError):
    """Says that a plugin could not be imported or broke its contract."""

    exit_code = 3


class NameClash(BrokenPlugin):
    """Says that two packages register the same name; names both."""
