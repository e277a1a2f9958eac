"""Whose fault an exception was: the deepest line of a file that is not ours, for people to look at."""

from __future__ import annotations

import linecache
import traceback
from collections.abc import Iterable


def told(error: BaseException) -> str:
    """Type and text of an exception on one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def place_in(error: BaseException, files: Iterable[str]) -> str:
    """Where in one of these files an exception went through last: file, line, function and the line itself.

    Empty where it went through none of them. A file that does not parse is named with the line that is wrong.

    Args:
        files: names as they were compiled under.
    """
    wanted = set(files)
    if isinstance(error, SyntaxError) and error.filename in wanted:
        return f"{error.filename}, line {error.lineno}: {(error.text or '').strip()}"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename in wanted:
            line = (frame.line or linecache.getline(frame.filename, frame.lineno or 0)).strip()
            where = "" if frame.name == "<module>" else f", in {frame.name}"
            return f"{frame.filename}, line {frame.lineno}{where}: {line}"
    return ""
