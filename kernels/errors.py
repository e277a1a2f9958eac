"""The errors of the kernels: typed, with a hint, and independent of `evo` (kernels import numpy and torch alone)."""

from __future__ import annotations


class KernelError(ValueError):
    """A kernel was called with arguments that do not fit together.

    Args:
        message: what is wrong and where: what was expected, what was given.
        hint: what to do about it; empty where the message says it.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[type[KernelError], tuple[str, str]]:
        return type(self), (self.message, self.hint)

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message


class BackendUnavailableError(KernelError, RuntimeError):
    """The backend that was asked for is not there; nothing else was tried in its place."""


class BuildError(KernelError, RuntimeError):
    """The C compiler is there but did not produce a library that loads."""


class BackendFallbackWarning(UserWarning):
    """A slower backend is used because the best one is not there (said once a process)."""
