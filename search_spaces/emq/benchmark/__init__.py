"""The benchmark of mixed-precision quantization: networks on Fashion-MNIST, and accuracies of random configurations.

table = load("resnet")                          # or "mobilenet", a .npz, a .csv, MQ-Bench-101's .pkl
search, held_out = table.split()                # rows
table.bits[search], table.mean[search]
table.ceiling()                                 # how well one calibration seed ranks as another does
model, (images, labels) = network("resnet"), batch("resnet")

`evo bench build emq` makes it, and makes one for a model and data of the user's own. Names that need torch are imported
when they are asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from search_spaces.emq.benchmark.errors import BenchmarkError, BenchmarkFileError, DamagedBenchmarkError
from search_spaces.emq.benchmark.loading import SHIPPED, load, read_csv, save
from search_spaces.emq.benchmark.mqbench101 import RESNET18_ENTRIES, RESNET18_GROUPS, read_mqbench101
from search_spaces.emq.benchmark.table import METHODS, Interval, Table, make_table

if TYPE_CHECKING:
    from search_spaces.emq.benchmark.pretrained import batch, network

_NEED_TORCH = {"batch": "pretrained", "network": "pretrained"}

__all__ = [
    "METHODS",
    "RESNET18_ENTRIES",
    "RESNET18_GROUPS",
    "SHIPPED",
    "BenchmarkError",
    "BenchmarkFileError",
    "DamagedBenchmarkError",
    "Interval",
    "Table",
    "batch",
    "load",
    "make_table",
    "network",
    "read_csv",
    "read_mqbench101",
    "save",
]


def __getattr__(name: str) -> Any:
    if name not in _NEED_TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_NEED_TORCH[name]}"), name)
