"""The failures that a user can cause.

Each has a one-line message and the exit code of a command that meets it.
"""

from __future__ import annotations


class MaskedgeError(Exception):
    """A failure whose message names the cause and a remedy.

    Commands print it without a traceback.
    """

    exit_code = 1


class UsageError(MaskedgeError):
    """An option, setting or argument that makes no sense (exit code 2)."""

    exit_code = 2


class SourceError(MaskedgeError):
    """A source that cannot be opened, or is lost for good (exit code 3)."""

    exit_code = 3


class ModelError(MaskedgeError):
    """A model file that is missing, altered, or breaks the model contract (exit code 4)."""

    exit_code = 4


class OutputError(MaskedgeError):
    """An output that cannot be written (exit code 5)."""

    exit_code = 5
