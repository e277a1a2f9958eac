"""What a build says when it is done: spread, noise and ceiling of each table, as text and JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from evo.space import Judgement
from search_spaces.emq.benchmark.table import Table

SHARES = (0.0, 0.1, 0.5, 0.9, 1.0)
LEAST_ROWS = 3
"""Two rows agree or disagree: that is no correlation, nor an interval."""


def summarised(tables: Mapping[str, Table], folder: Path) -> Judgement:
    """Figures of tables that were written into a folder."""
    data, lines = {}, []
    for name, table in tables.items():
        figures = {method: _figures(table, method) for method in dict.fromkeys(table.method.tolist())}
        path = folder / f"{name}.npz"
        data[name] = {
            "file": str(path), "checksum": table.checksum, "layers": len(table.layers),
            "float_accuracy": table.float_accuracy, "source": table.origin.get("source", ""), "methods": figures,
        }  # fmt: skip
        lines.append(f"{name}: {len(table.layers)} layers, float accuracy {table.float_accuracy:.4f}  ({path})")
        for method, f in figures.items():
            spread = " ".join(f"{value:.3f}" for value in f["quantiles"])
            lines.append(
                f"  {method:<9} {f['rows']:>4} rows x {f['seeds']} seeds   accuracy {spread} "
                f"(least, 10 %, median, 90 %, most)   between seeds {f['deviation']:.4f}   {_ceiling(f)}"
            )
    return Judgement("\n".join(lines), data)


def _figures(table: Table, method: str) -> dict[str, Any]:
    rows = table.rows(method)
    accuracy = table.accuracy[rows]
    seeds = accuracy.shape[1]
    ceiling = table.ceiling(method) if len(rows) >= LEAST_ROWS else (np.nan,) * 3
    return {
        "rows": len(rows),
        "seeds": seeds,
        "quantiles": np.quantile(accuracy.mean(1), SHARES).tolist(),
        # pooled over rows: the standard deviation of one seed's accuracy
        "deviation": float(np.sqrt(accuracy.var(1, ddof=1).mean())) if seeds > 1 else 0.0,
        "ceiling": [float(bound) if np.isfinite(bound) else None for bound in ceiling],
    }


def _ceiling(figures: Mapping[str, Any]) -> str:
    bounds = figures["ceiling"]
    if None not in bounds:
        return f"ceiling {bounds[0]:.4f} [{bounds[1]:.4f}, {bounds[2]:.4f}]"
    if figures["seeds"] < 2:
        return "ceiling unknown (one seed)"
    if figures["rows"] < LEAST_ROWS:
        return f"ceiling unknown (of {figures['rows']} rows: give {LEAST_ROWS} or more)"
    return "ceiling unknown (a seed's accuracies are all the same)"
