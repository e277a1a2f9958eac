"""Export: a program as one readable file with a `torch.optim.Optimizer` that needs torch alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evo.program import Program
from search_spaces.lion.export.module import source

__all__ = ["export", "source"]


def export(program: Program, path: Path, origin: Mapping[str, Any]) -> Path:
    """Write the module.

    Args:
        program: what was found; its simplified form is what the search evaluated.
        path: of the file; its folder is made.
        origin: where it comes from (run, candidate, values, intervals, ...), for the docstring.

    Returns:
        `path`.

    Raises:
        InvalidGenomeError: the program is not valid.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source(program, origin), encoding="utf-8")
    return path
