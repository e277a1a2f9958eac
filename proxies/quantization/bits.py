"""Which layer gets how many bits: by name, never by position."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from proxies.errors import BitConfigError

LEAST, MOST = 2, 16
"""Bits that a layer may have. With one bit, a symmetric grid is {-1, 0}."""


class BitConfig(Mapping[str, int]):
    """An immutable mapping from a layer's name to its weight bits, which remembers its order.

    Args:
        bits: name to bits, each from 2 to 16.

    Raises:
        BitConfigError: it is empty, a name is no string, or bits are no whole number in range.
    """

    __slots__ = ("_bits",)

    def __init__(self, bits: Mapping[str, int]) -> None:
        if not isinstance(bits, Mapping):
            raise BitConfigError(f"bits must be a mapping from layer to bits, not {type(bits).__name__}", _BY_NAME)
        if not bits:
            raise BitConfigError("the bit configuration is empty", _BY_NAME)
        self._bits = {_name(name): _bits(name, value) for name, value in bits.items()}

    @classmethod
    def uniform(cls, names: Iterable[str], bits: int) -> BitConfig:
        """The same bits for each of the names."""
        return cls(dict.fromkeys(names, bits))

    @classmethod
    def from_row(cls, row: Sequence[int], names: Sequence[str]) -> BitConfig:
        """Row of a table whose columns are `names`.

        Raises:
            BitConfigError: the row is not as long as the names, or a name stands twice.
        """
        values = np.asarray(row)
        table = checked_table(values[None] if values.ndim == 1 else values, names)
        return cls({name: int(value) for name, value in zip(names, table[0], strict=True)})

    @classmethod
    def from_groups(cls, bits: Mapping[str, int], groups: Mapping[str, Sequence[str]]) -> BitConfig:
        """Bits given for groups of layers that share them, such as a block's second convolution and its downsampling.

        Args:
            bits: group to bits.
            groups: group to the names of its layers.

        Raises:
            BitConfigError: bits for an unknown group, none for a known one, or a layer in two groups.
        """
        require_same(bits, groups, "group")
        layers = [name for members in groups.values() for name in members]
        twice = sorted({name for name in layers if layers.count(name) > 1})
        if twice:
            raise BitConfigError(f"in more than one group: {', '.join(twice)}", "a layer has one bit-width")
        return cls({name: bits[group] for group, members in groups.items() for name in members})

    def of(self, names: Iterable[str]) -> BitConfig:
        """This configuration in the order of `names`, which must be exactly its layers.

        Raises:
            BitConfigError: a layer has no bits, or bits are given to what is no layer; the message names them.
        """
        names = list(names)
        require_same(self, names, "layer")
        return BitConfig({name: self[name] for name in names})

    def row(self, names: Sequence[str]) -> np.ndarray:
        """(layers,) int64 of bits in the order of `names`; raises as `of`."""
        return np.array(list(self.of(names).values()), np.int64)

    def __getitem__(self, name: str) -> int:
        return self._bits[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._bits)

    def __len__(self) -> int:
        return len(self._bits)

    def __hash__(self) -> int:
        return hash(frozenset(self._bits.items()))

    def __repr__(self) -> str:
        return f"BitConfig({self._bits})"


_BY_NAME = "give {'layer name': bits, ...}"


def config_table(configs: Iterable[Mapping[str, int]], names: Sequence[str]) -> np.ndarray:
    """Configurations as one array.

    Args:
        configs: n mappings from layer to bits.
        names: the columns.

    Returns:
        (n, layers) int64.

    Raises:
        BitConfigError: a configuration does not name exactly these layers.
    """
    rows = [BitConfig(config).row(names) for config in configs]
    return np.array(rows, np.int64).reshape(len(rows), len(names))


def expand(configs: Any, groups: Mapping[str, Sequence[str]], names: Sequence[str]) -> np.ndarray:
    """Configurations of groups as configurations of layers.

    Args:
        configs: (n, groups) whole numbers, columns in the order of `groups`.
        groups: group to its layers.
        names: the layers, which are the columns of the result.

    Returns:
        (n, layers) int64.

    Raises:
        BitConfigError: the groups do not cover exactly the layers, or the array has another width.
    """
    table = checked_table(configs, list(groups))
    column = BitConfig.from_groups(dict.fromkeys(groups, LEAST), groups)  # checks that no layer is in two groups
    require_same(column, names, "layer")
    owner = {name: place for place, members in enumerate(groups.values()) for name in members}
    return np.ascontiguousarray(table[:, [owner[name] for name in names]])


def checked_table(configs: Any, names: Sequence[str]) -> np.ndarray:
    """(n, layers) int64 of bits whose columns are `names`.

    Raises:
        BitConfigError: another shape, fractions, bits out of range, or a name that stands twice.
    """
    array = np.asarray(configs)
    if len(set(names)) != len(names):
        raise BitConfigError(f"a name stands twice in {list(names)}", "a column belongs to one layer")
    if array.ndim != 2 or array.shape[1] != len(names):
        raise BitConfigError(
            f"configurations have shape {array.shape}, expected (n, {len(names)})",
            f"one column for each of {', '.join(names)}; config_table(configs, names) makes it from mappings",
        )
    table = array.astype(np.int64)
    if not np.issubdtype(array.dtype, np.number) or not np.array_equal(table, array):
        raise BitConfigError(f"configurations of type {array.dtype} are not all whole numbers", "give whole bits")
    wrong = (table < LEAST) | (table > MOST)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise BitConfigError(
            f"configuration {row} gives {names[column]} {table[row, column]} bits", f"give {LEAST} to {MOST}"
        )
    return table


def require_same(given: Iterable[str], expected: Iterable[str], what: str) -> None:
    """Raise `BitConfigError` with the missing and the unknown names, unless the two hold the same names."""
    given, expected = list(given), list(expected)
    missing = [name for name in expected if name not in set(given)]
    unknown = [name for name in given if name not in set(expected)]
    if missing or unknown:
        parts = [f"no bits for {what} {', '.join(map(repr, missing))}"] if missing else []
        parts += [f"bits for an unknown {what} {', '.join(map(repr, unknown))}"] if unknown else []
        raise BitConfigError("; ".join(parts), f"the {what}s are {', '.join(map(str, expected))}", missing, unknown)


def _name(name: object) -> str:
    if not isinstance(name, str):
        raise BitConfigError(f"{name!r} is no layer's name", _BY_NAME)
    return name


def is_bits(value: Any) -> bool:
    """Whether a layer may have so many bits: a whole number in range."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    return whole and bool(LEAST <= value <= MOST)


def _bits(name: str, value: Any) -> int:
    if not is_bits(value):
        raise BitConfigError(f"{name} has {value!r} bits", f"give a whole number from {LEAST} to {MOST}")
    return int(value)
