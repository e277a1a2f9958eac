"""Export: a proxy as one readable file with `score(model, bits, batch)` that needs torch alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from search_spaces.emq.export.module import source
from search_spaces.emq.language import Genome

__all__ = ["export", "source"]


def export(genome: Genome, path: Path, origin: Mapping[str, Any], samples: int | None = 2048) -> Path:
    """Write the module.

    Args:
        genome: what was found; its simplified form is what the search evaluated, and what is written.
        path: of the file; its folder is made.
        origin: where it comes from (run, candidate, values, intervals, ...), for the docstring.
        samples: elements of a tensor that the search looked at; None: all.

    Returns:
        `path`.

    Raises:
        InvalidGenomeError: the proxy can give no number, or cannot depend on the bits.
    """
    path = Path(path)
    text = source(genome, origin, samples)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path
