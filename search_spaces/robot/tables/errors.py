"""The error of tables: a file or folder that holds no table, or one without what was asked of it."""

from __future__ import annotations

from evo.errors import UsageError


class TableError(UsageError, ValueError):
    """No table there, a column or data set that it has not, or rows that do not fit together."""
