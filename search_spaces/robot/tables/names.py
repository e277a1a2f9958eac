"""Names that benchmarks write differently: data sets, metrics, and what a column's name says of its contents."""

from __future__ import annotations

import re
from collections.abc import Iterable

from search_spaces.robot.tables.errors import TableError

DATASETS = {
    "cifar10": ("cifar10", "c10", "cifar-10"),
    "cifar100": ("cifar100", "c100", "cifar-100"),
    "imagenet16": ("imagenet16", "in16", "imagenet16-120", "im120"),
}
"""Our name of a data set, and those it goes by in files, in lower case; others go by their own."""

METRICS = {"nwot": "naswot", "jacob_cov": "jacov", "epe": "epe_nas"}
"""Names of metrics in files, and ours (`proxies.network`)."""

IDENTITY = ("idx", "arch", "arch_str", "net", "dataset", "task")
IGNORED = ("imputed",)
_KINDS = tuple(
    (re.compile(pattern), kind)
    for pattern, kind in (
        (r"val\d*(_|$)", "objective"), (r"test\d*(_|$)", "reported"), (r"cost", "cost"), (r"cls_", "class"),
        (r"time_", "time"),
    )
)  # fmt: skip


def metric_name(written: str) -> str:
    """Our name of a metric."""
    return METRICS.get(written, written)


def kind_of(column: str) -> str:
    """What a column holds, by its name: "identity", "objective" (val_*, val12_*), "reported" (test_*), "cost" (cost*),
    "class" (cls_*), "time" (time_*: seconds of a metric), "ignored", or "metric"."""
    if column in IDENTITY:
        return "identity"
    if column in IGNORED:
        return "ignored"
    for pattern, kind in _KINDS:
        if pattern.match(column):
            return kind
    return "metric"


def matching(dataset: str, written: Iterable[str], where: str) -> str:
    """The name under which a file knows a data set or task.

    Raises:
        TableError: it does not know it.
    """
    present = sorted(set(written))
    wanted = next((aliases for name, aliases in DATASETS.items() if dataset.lower() in (name, *aliases)), (dataset,))
    for name in present:
        if name == dataset or name.lower() in wanted:
            return name
    raise TableError(f"{where} knows no data set or task {dataset!r}", f"it knows: {', '.join(present) or 'none'}")
