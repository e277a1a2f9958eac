"""The typed errors of the project: each says what is wrong, where, and what to do about it.

Every error that a user can cause derives from `EvoError`. The command line prints `message`, then `hint`,
and leaves with `exit_code` (1: it failed, 2: the request itself was wrong).
"""

from __future__ import annotations


class EvoError(Exception):
    """Base of all errors raised on purpose.

    Args:
        message: what is wrong and where, in one sentence.
        hint: what to do about it; empty where nothing can be done.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[type[EvoError], tuple[str, str]]:
        return type(self), (self.message, self.hint)

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message


class UsageError(EvoError):
    """The request itself was wrong: an option, a name, a combination."""

    exit_code = 2


class ConfigError(UsageError, ValueError):
    """A configuration that does not validate: unknown key, wrong type, value out of range."""


class UnknownSpaceError(UsageError, LookupError):
    """No search space answers to this name."""


class RunNotFoundError(UsageError, LookupError):
    """No run, or more than one, answers to this name."""


class CandidateNotFoundError(UsageError, LookupError):
    """The run holds no such candidate."""


class RunExistsError(UsageError):
    """A run of this name is there already."""


class RunLockedError(EvoError):
    """Another process holds the run."""


class DamagedRunError(EvoError):
    """The run's database cannot be read."""


class SchemaError(EvoError):
    """The run or cache was written by another version of the schema."""


class StorageFullError(EvoError, OSError):
    """The disk is full; what was stored before is safe."""


class ReplayMismatchError(EvoError):
    """On resume the strategy did not propose again what the journal holds."""


class InvalidGenomeError(EvoError, ValueError):
    """A genome that is no member of its space."""


class EvaluatorError(EvoError):
    """The evaluator could not be built, or broke its contract."""


class WorkerMismatchError(EvoError):
    """A worker's code or numeric backend differs from the driver's."""


class ExecutorError(EvoError):
    """The executor cannot go on: no worker left, no cluster, no answer."""


class KernelError(EvoError, ValueError):
    """A kernel was called with arrays that do not fit together."""
