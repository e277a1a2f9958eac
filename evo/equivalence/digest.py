"""Turns behaviour vectors into 128-bit keys that agree for functions equal up to rounding noise.

Two vectors that come from the same function computed in another order differ in their last bits, so they are
quantised before they are hashed. Rounding is not a tolerance: values a hair apart can straddle the edge of a cell. A
wrong split costs one evaluation, a wrong merge gives a wrong fitness, so cells are fine and there are two grids whose
edges never lie close together: functions are taken for equal if either key agrees.

The grids
    Columns of one group share the scale m = max |finite value| of the group. For grid g in {A, B} the scale's octave is

        e_g = floor(log2(m / c_g)) + o_g,      c_A = 1.1931, o_A = 0,      c_B = 1.6873 = sqrt(2) c_A, o_B = 1

    and a column with b bits has cells of the width s = 2^max(e_g - b, F), F = log2 of the absolute floor, numbered
    floor(x / s + 0.2887) on grid A and floor(x / s + 0.7887) on grid B. The octaves are hashed along with the numbers,
    or x and 2x would share their keys. So s lies between 2^-b m / 2.39 and 2^-b m / 0.84.

Why these edges
    - The scale is no cliff. Where m crosses c_g 2^k the octave and with it every number changes, for that grid alone:
      the other grid's octaves change half an octave away. Both constants are far from powers of two, small fractions
      and their roots, on which m lies exactly for many programs (a sign update has m = learning rate).
    - Zeros and values of few significant bits (1, 1/2, ...) are multiples of s and lie 0.21 s or more from any edge;
      were an edge at a multiple of s, a zero with noise would spoil that grid for good. The offset is no dyadic
      fraction, so that small powers of two do not lie on an edge either.
    - Edges of A and of B are at least a fifth of the smaller cell apart, whether the octaves agree (1/2 s) or not
      (0.21 s). So noise below that never moves a single value over an edge in both.

What is left
    Noise that moves the value x_i by |d_i| on average changes its number on one grid with the probability |d_i| / s.
    With k columns of average magnitude r m, relative noise uniform in [-eps, eps] (E|d| = eps |x| / 2), and over a
    log-uniform m (E[m / s] = c_A / ln 2 = 1.72 and c_B / (2 ln 2) = 1.22, in units of 2^b):

        p_A = 1 - (1 - 0.86 r eps 2^b)^k,      p_B = 1 - (1 - 0.61 r eps 2^b)^k,      both: about p_A p_B

    because a split of both grids needs two columns. At +-8 ulp (eps = 8.9e-16), b = 32, k = 200, r = 1/2: p_A = 3.3e-4,
    both 7.6e-8. `python -m benchmarks.equivalence_grids` measures them. The chance that an octave moves is about
    eps / ln 2 a grid for a scale that is no special number, and both never do.

    A wrong merge needs every column of a group to lie in the same cell on one grid: functions that differ by s or more
    in one column never share a cell, and those that differ by less than 2^-b of the group's scale everywhere are equal
    for our purposes. Beyond that only a collision of the hash is left: n^2 / 2^129, 1.5e-25 for ten million keys.

The floor F is for groups that are all but zero: (a + b) - a - b is 0 or 1e-16 depending on the order, and against its
own scale that would be a behaviour. With 2^-46 the residues of sums of order one (up to 13 ulp of 1) fall into the cell
of zero, and a group of the scale 1e-6 still keeps 26 bits. Probes whose outputs are smaller than that should be scaled.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xxhash
from numpy.typing import NDArray

from evo.errors import EvaluatorError
from evo.space import Fingerprints

DIGEST_VERSION = 1
"""Part of every namespace of the shared cache: raise it whenever equal vectors would get other keys."""

KEY_BYTES = 16
MAX_BITS = 48
"""Beyond it a fraction of a cell is no longer representable beside the largest numbers."""

FLOOR_EXPONENT = -46
"""log2 of the narrowest cell of a quantised column."""

POSITIVE_INFINITY, NEGATIVE_INFINITY, NOT_A_NUMBER = -(1 << 62), -(1 << 62) - 1, -(1 << 62) - 2
"""Cell numbers of what has no cell; numbers of finite values stay below 2^51."""

MAX_OCTAVE = 1022
"""2^-1022 is the smallest normal number: scaling stays exact also where a library has switched denormals off."""


class _Grid(NamedTuple):
    name: bytes
    breakpoint: float
    octave_offset: int
    cell_offset: float


_GRID_A = _Grid(b"A", 1.1931, 0, 0.2887)
_GRID_B = _Grid(b"B", 1.6873, 1, 0.7887)

Int64Array = NDArray[np.int64]
Float64Array = NDArray[np.float64]
KeyArray = NDArray[np.uint64]


class _Layout(NamedTuple):
    """How the columns of a fingerprint are treated; the same for all rows.

    Attributes:
        quantised: column numbers of the quantised columns, sorted by group; None where it is all columns in order.
        exact: column numbers compared to the bit.
        starts: (G,) where each group begins among the quantised columns.
        column_groups: (Q,) index of the group of each quantised column.
        powers: (Q,) 2^bits.
        lowest_octaves: (G,) octaves below which every cell of the group has the floor's width.
        tag: describes all of it, for the hash's seed.
    """

    quantised: NDArray[np.intp] | None
    exact: NDArray[np.intp]
    starts: NDArray[np.intp]
    column_groups: NDArray[np.intp]
    powers: Float64Array
    lowest_octaves: Int64Array
    tag: bytes


def digests(fingerprints: Fingerprints, floor_exponent: int = FLOOR_EXPONENT) -> tuple[KeyArray, KeyArray]:
    """Keys of N behaviour vectors on both grids.

    A row's keys depend on that row alone. Infinities are behaviours of their own kind each, all NaN are one, -0.0 is
    0.0, and denormals count as zero in quantised columns. Where all columns are exact both keys are the same.

    Args:
        fingerprints: `values` (N, D); see `evo.space.Fingerprints`. `valid` is not looked at.
        floor_exponent: log2 of the narrowest cell of a quantised column.

    Returns:
        Two (N, 2) uint64 arrays, grid A and grid B; a row's 16 bytes are the key.

    Raises:
        EvaluatorError: shapes that do not fit together, or bits outside 0..48.
    """
    values = np.asarray(fingerprints.values, dtype=np.float64)
    if values.ndim != 2:
        raise EvaluatorError(
            f"fingerprint values have the shape {values.shape}, not (N, D)",
            "return one row a genome from SearchSpace.fingerprint",
        )
    layout = _layout(fingerprints.bits, fingerprints.groups, values.shape[1], floor_exponent)
    exact = _exact_codes(values[:, layout.exact]) if layout.exact.size else None
    if not layout.starts.size:
        keys = _hash_rows(exact if exact is not None else np.zeros((len(values), 0), np.int64), b"E", layout)
        return keys, keys.copy()
    quantised = values if layout.quantised is None else values[:, layout.quantised]
    finite = np.isfinite(quantised)
    special = None if finite.all() else ~finite
    magnitudes = np.abs(quantised)
    if special is not None:
        magnitudes[special] = 0.0
    peaks = np.maximum.reduceat(magnitudes, layout.starts, axis=1)
    np.maximum(peaks, 2.0**-1000, out=peaks)
    keys_a, keys_b = (
        _hash_rows(_grid_codes(quantised, special, peaks, exact, layout, grid, floor_exponent), grid.name, layout)
        for grid in (_GRID_A, _GRID_B)
    )
    return keys_a, keys_b


def _layout(bits: object, groups: object, columns: int, floor_exponent: int) -> _Layout:
    try:
        bits_array = np.broadcast_to(np.asarray(bits, dtype=np.int64), (columns,))
        groups_array = np.zeros(columns, np.int64) if groups is None else np.asarray(groups, dtype=np.int64)
    except (ValueError, TypeError) as error:
        raise EvaluatorError(
            f"bits or groups do not fit {columns} columns: {error}", "give one integer a column"
        ) from None
    if groups_array.shape != (columns,):
        raise EvaluatorError(
            f"groups have the shape {groups_array.shape} for {columns} columns", "give one integer a column"
        )
    if columns and (bits_array.min() < 0 or bits_array.max() > MAX_BITS):
        raise EvaluatorError(
            f"bits of a fingerprint lie in {bits_array.min()}..{bits_array.max()}, not in 0..{MAX_BITS}",
            "use 0 for columns that are compared to the bit",
        )
    exact = np.flatnonzero(bits_array == 0)
    quantised = np.flatnonzero(bits_array != 0)
    if groups is not None:
        quantised = quantised[np.argsort(groups_array[quantised], kind="stable")]
    sorted_groups = groups_array[quantised]
    is_start = np.ones(quantised.size, bool)
    is_start[1:] = sorted_groups[1:] != sorted_groups[:-1]
    starts = np.flatnonzero(is_start)
    sorted_bits = bits_array[quantised]
    lowest = np.minimum.reduceat(sorted_bits, starts) + floor_exponent if starts.size else np.zeros(0, np.int64)
    in_order = quantised.size == columns and bool((quantised[1:] > quantised[:-1]).all())
    described = (np.array([columns, floor_exponent], np.int64), quantised, starts, sorted_bits)
    return _Layout(
        quantised=None if in_order else quantised,
        exact=exact,
        starts=starts,
        column_groups=np.cumsum(is_start) - 1,
        powers=np.ldexp(1.0, sorted_bits),
        lowest_octaves=lowest,
        tag=b"/".join(np.ascontiguousarray(part, "<i8").tobytes() for part in described),
    )


def _grid_codes(
    values: Float64Array,
    special: NDArray[np.bool_] | None,
    peaks: Float64Array,
    exact: Int64Array | None,
    layout: _Layout,
    grid: _Grid,
    floor_exponent: int,
) -> Int64Array:
    """Octaves, cell numbers and exact columns beside each other, (N, G + Q + E) int64."""
    octaves = np.frexp(peaks / grid.breakpoint)[1].astype(np.int64) + (grid.octave_offset - 1)
    np.clip(octaves, layout.lowest_octaves, MAX_OCTAVE, out=octaves)
    inverse = np.ldexp(1.0, -octaves)
    if layout.starts.size > 1:
        inverse = inverse.take(layout.column_groups, axis=1)
    cells_per_unit = np.minimum(inverse * layout.powers, 2.0**-floor_exponent)
    original = values
    if special is not None:
        values = np.where(special, 0.0, values)
    # Scaling by a power of two is exact, so one value has one number, whatever the machine.
    numbers = values * cells_per_unit
    numbers += grid.cell_offset
    np.floor(numbers, out=numbers)
    groups, columns = layout.starts.size, values.shape[1]
    codes = np.empty((len(values), groups + columns + (0 if exact is None else exact.shape[1])), np.int64)
    codes[:, :groups] = octaves
    cells = codes[:, groups : groups + columns]
    cells[:] = numbers
    if special is not None:
        cells[special] = _special_codes(original[special])
    if exact is not None:
        codes[:, groups + columns :] = exact
    return codes


def _special_codes(values: Float64Array) -> Int64Array:
    """Codes of infinities and NaN."""
    return np.where(np.isnan(values), NOT_A_NUMBER, np.where(values > 0, POSITIVE_INFINITY, NEGATIVE_INFINITY))


def _exact_codes(values: Float64Array) -> Int64Array:
    """Bit patterns, with one zero and one NaN."""
    canonical = values + 0.0
    canonical[np.isnan(canonical)] = np.nan
    return canonical.view(np.int64)


def _hash_rows(codes: Int64Array, name: bytes, layout: _Layout) -> KeyArray:
    seed = xxhash.xxh3_64_intdigest(b"fingerprint/%d/%s/" % (DIGEST_VERSION, name) + layout.tag)
    digest = xxhash.xxh3_128_digest
    if not codes.shape[1]:
        return np.frombuffer(digest(b"", seed) * len(codes), np.uint64).reshape(-1, 2)
    little = np.ascontiguousarray(codes, "<i8")
    return np.frombuffer(b"".join([digest(row, seed) for row in little]), np.uint64).reshape(-1, 2)
