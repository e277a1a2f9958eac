"""A run's report: one HTML file with everything in it. `intervals` and `heldout` are shared with the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evo.report.page import write_report as write_report

__all__ = ["write_report"]


def __getattr__(name: str) -> Any:
    """Load on use: the page needs jinja2 and plotly, the intervals nothing."""
    if name == "write_report":
        from evo.report.page import write_report

        return write_report
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
