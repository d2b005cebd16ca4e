"""The failures a user can cause. Each carries one sentence (cause and remedy) and the exit code of a command that meets it."""

from __future__ import annotations


class MaskedgeError(Exception):
    """A failure with a sentence for the user. Never shown as a traceback by a command."""

    exit_code = 1


class UsageError(MaskedgeError):
    """What was asked for does not make sense (exit code 2)."""

    exit_code = 2


class SourceError(MaskedgeError):
    """A source could not be opened or was lost for good (exit code 3)."""

    exit_code = 3


class ModelError(MaskedgeError):
    """A model file was refused: missing, tampered with, or against the contract (exit code 4)."""

    exit_code = 4


class OutputError(MaskedgeError):
    """An output could not be written (exit code 5)."""

    exit_code = 5
