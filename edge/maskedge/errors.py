"""Errors that a user can cause.

Each class has an exit code, with which a command ends. Messages have one line.
"""

from __future__ import annotations


class MaskedgeError(Exception):
    """An error. The message names the cause and a remedy.

    Commands print the message without a traceback.
    """

    exit_code = 1


class UsageError(MaskedgeError):
    """An option, a setting or an argument is not valid (exit code 2)."""

    exit_code = 2


class SourceError(MaskedgeError):
    """A source cannot be opened, or is lost permanently (exit code 3)."""

    exit_code = 3


class ModelError(MaskedgeError):
    """A model file is missing or altered, or breaks the model contract (exit code 4)."""

    exit_code = 4


class OutputError(MaskedgeError):
    """An output cannot be written (exit code 5)."""

    exit_code = 5
