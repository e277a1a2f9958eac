"""The table of a benchmark: bit configurations of one network with measured accuracies, its split and its ceiling."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from evo.options import did_you_mean
from search_spaces.emq.benchmark.errors import BenchmarkError
from search_spaces.emq.benchmark.files import digest

METHODS = ("nearest", "adaround")
RESAMPLES = 2000


class Interval(NamedTuple):
    """An estimate and the bounds of its 95 % percentile bootstrap interval."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Accuracies of one network under bit configurations. Its arrays cannot be written to.

    Attributes:
        network: its name.
        layers: (n_layers,) names of the quantized layers, in the order in which the network runs them.
        choices: the bits that a layer may have, ascending.
        bits: (n_rows, n_layers) int8, weight bits.
        accuracy: (n_rows, n_seeds) float64 in [0, 1], one column a calibration seed. Higher is better.
        method: (n_rows,) how weights were rounded: "nearest" or "adaround".
        activation_bits: of each quantized layer's input.
        parameters: (n_layers,) int64, elements of each weight; 0 where a source does not say.
        macs: (n_layers,) int64, multiply-accumulates for one example; 0 where a source does not say.
        float_accuracy: of the network before quantization; NaN where a source does not say.
        checksum: hexadecimal SHA-256 of all of this.
        origin: what else is known of it (data, protocol, versions): JSON.
    """

    network: str
    layers: tuple[str, ...]
    choices: tuple[int, ...]
    bits: np.ndarray
    accuracy: np.ndarray
    method: np.ndarray
    activation_bits: int
    parameters: np.ndarray
    macs: np.ndarray
    float_accuracy: float
    checksum: str
    origin: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.bits)

    @property
    def mean(self) -> np.ndarray:
        """(n_rows,) float64: the mean accuracy over the calibration seeds."""
        return self.accuracy.mean(1)

    def rows(self, method: str | None = "nearest") -> np.ndarray:
        """(n,) int64: the rows of a method, ascending; None: all.

        Raises:
            BenchmarkError: no row has this method.
        """
        if method is None:
            return np.arange(len(self))
        found = np.flatnonzero(self.method == method)
        if not len(found):
            known = sorted(set(self.method.tolist()))
            raise BenchmarkError(
                f"the table of {self.network} has no row of method {method!r}",
                did_you_mean(method, known) or f"it has {', '.join(known)}",
            )
        return found

    def only(self, method: str) -> Table:
        """The rows of one method as a table of their own; raises as `rows`."""
        rows = self.rows(method)
        arrays = {name: getattr(self, name)[rows] for name in ("bits", "accuracy", "method")}
        return replace(self, **arrays).sealed()

    def split(self, seed: int = 0, share: float = 0.6, method: str | None = "nearest") -> tuple[np.ndarray, np.ndarray]:
        """Rows to search on and rows held out, by configuration: the same bits under two methods are never parted.

        Args:
            seed: of the split.
            share: of the configurations to search on.
            method: whose rows; None for all. The split of one method agrees with that of the other.

        Returns:
            search rows and held-out rows, int64, ascending, together all rows of the method.

        Raises:
            BenchmarkError: a share outside (0, 1), or as `rows`.
        """
        if not 0 < share < 1:
            raise BenchmarkError(f"the share to search on is {share}", "give a number above 0 and below 1")
        _, first, group = np.unique(self.bits, axis=0, return_index=True, return_inverse=True)
        # numbered by first appearance, so that the numbers do not depend on how rows are sorted
        group = np.argsort(np.argsort(first))[group.reshape(-1)]
        order = np.random.Generator(np.random.Philox(key=[seed, 0x5971])).permutation(len(first))
        searched = np.zeros(len(first), bool)
        searched[order[: round(share * len(first))]] = True
        rows = self.rows(method)
        inside = searched[group[rows]]
        return rows[inside], rows[~inside]

    def ceiling(self, method: str | None = "nearest", rows: np.ndarray | None = None) -> Interval:
        """The noise ceiling: the mean Spearman correlation between the accuracies of two calibration seeds.

        Args:
            method: of the rows it is taken over; None for all.
            rows: these instead.

        Returns:
            The estimate with its bootstrap interval over rows (fixed resamples); NaN where the table has one seed.

        Raises:
            BenchmarkError: fewer than two rows, or as `rows`.
        """
        from kernels.ranks import spearman, spearman_bootstrap

        rows = self.rows(method) if rows is None else np.asarray(rows)
        if len(rows) < 2:
            raise BenchmarkError(f"a noise ceiling of {len(rows)} rows", "give two rows or more")
        columns = np.ascontiguousarray(self.accuracy[rows].T)
        pairs = [(i, j) for i in range(len(columns)) for j in range(i)]
        if not pairs:
            return Interval(float("nan"), float("nan"), float("nan"))
        indices = np.random.Generator(np.random.Philox(key=0)).integers(len(rows), size=(RESAMPLES, len(rows)))
        estimate = np.mean([spearman(columns[i][None], columns[j])[0] for i, j in pairs])
        drawn = np.mean([spearman_bootstrap(columns[i][None], columns[j], indices)[0] for i, j in pairs], axis=0)
        # a resample of equal accuracies has no correlation
        low, high = np.nanquantile(drawn, [0.025, 0.975]) if np.isfinite(drawn).any() else (np.nan, np.nan)
        return Interval(float(estimate), float(low), float(high))

    def arrays(self) -> dict[str, np.ndarray]:
        """What a file of it holds beside JSON."""
        return {
            "layers": np.array(self.layers), "bits": self.bits, "accuracy": self.accuracy, "method": self.method,
            "parameters": self.parameters, "macs": self.macs,
        }  # fmt: skip

    def meta(self) -> dict[str, Any]:
        """Its JSON, without the checksum."""
        return {
            "network": self.network,
            "choices": list(self.choices),
            "activation_bits": self.activation_bits,
            # strict JSON has no NaN
            "float_accuracy": self.float_accuracy if np.isfinite(self.float_accuracy) else None,
            "origin": self.origin,
        }

    def sealed(self) -> Table:
        """The table with its checksum, its arrays read-only and of the types above.

        Raises:
            BenchmarkError: shapes or values do not fit together.
        """
        types = {
            "bits": np.int8, "accuracy": np.float64, "method": np.str_, "parameters": np.int64, "macs": np.int64,
        }  # fmt: skip
        arrays = {name: np.array(getattr(self, name), kind) for name, kind in types.items()}
        table = replace(self, **arrays)
        _check(table)
        for array in arrays.values():
            array.flags.writeable = False
        return replace(table, checksum=digest(table.arrays(), table.meta()))


def make_table(**fields: Any) -> Table:
    """A `Table` from its fields, all but the checksum, which is computed.

    Raises:
        BenchmarkError: shapes or values do not fit together.
    """
    return Table(checksum="", **fields).sealed()


def _check(table: Table) -> None:
    n_rows, n_layers = len(table.bits), len(table.layers)
    shapes = {
        "bits": (n_rows, n_layers), "method": (n_rows,), "parameters": (n_layers,), "macs": (n_layers,),
    }  # fmt: skip
    for name, shape in shapes.items():
        if getattr(table, name).shape != shape:
            raise BenchmarkError(
                f"{name} of {table.network} has shape {getattr(table, name).shape}, expected {shape}",
                f"{n_layers} layers, {n_rows} rows",
            )
    if not n_rows or not n_layers:
        raise BenchmarkError(f"the table of {table.network} is empty", "give one row or more")
    if len(set(table.layers)) != n_layers:
        raise BenchmarkError(f"a layer of {table.network} stands twice in {list(table.layers)}", "name each once")
    if table.accuracy.ndim != 2 or len(table.accuracy) != n_rows or not table.accuracy.shape[1]:
        raise BenchmarkError(
            f"accuracy of {table.network} has shape {table.accuracy.shape}, expected ({n_rows}, seeds)",
            "one column a calibration seed",
        )
    if not ((table.accuracy >= 0) & (table.accuracy <= 1)).all():
        raise BenchmarkError(f"an accuracy of {table.network} is not in [0, 1]", "give shares, not per cents")
    if not np.isin(table.bits, table.choices).all():
        wrong = sorted(set(np.unique(table.bits).tolist()) - set(table.choices))
        raise BenchmarkError(f"bits {wrong} of {table.network} are not among its choices {table.choices}", "")
    unknown = sorted(set(table.method.tolist()) - set(METHODS))
    if unknown:
        raise BenchmarkError(f"methods {unknown} of {table.network}", f"one of {', '.join(METHODS)}")
