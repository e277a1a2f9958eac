"""The operators that programs are made of: numbers, arities and the rule for the kind of a result.

The operators are the 45 primitives of symbolic optimizer search (Chen et al. 2023, "Symbolic Discovery of Optimization
Algorithms", table of functions), made total where the released library had defects, and one for matrices. What each
computes is defined by `kernels.programs.reference`; in short:

- `div(a, b)` is a / (b + 1e-8), or a / (b - 1e-8) for negative b; `reciprocal(x)` is `div(1, x)`.
- `log`, `log2`, `log10`, `sqrt` act on |x|; `log1p(x)` is log|1 + x|. `exp` and its kin, `arcsin` and its kin and
  `power` are unprotected: NaN and infinity are behaviours.
- `max` and `min` return NaN where an operand is NaN; `sign(NaN)` is 0, as in torch.
- `invert(x)` is 1 - x; `interp(x, y, a)` is (1 - a) x + a y; `cbrt` keeps the sign.
- `norm` is the Euclidean norm of each tensor (of a leaf or scalar: |x|), `global_norm` the norm over everything;
  `dot` sums over everything; `cosine_sim(a, b)` is div(dot(a, b), |a| |b|);
  `clip_by_global_norm(x, s)` is x min(1, div(s, global_norm(x))).
- `orthogonalize(x)`, tensor by tensor: a matrix becomes, nearly, the nearest matrix with orthonormal rows or columns
  (five Newton-Schulz steps of Muon: Jordan et al. 2024, kellerjordan.github.io/posts/muon), times the square root of
  the larger dimension, so that its elements are about 1 in the root mean square; any other tensor becomes
  x / (rms(x) + 1e-8). A leaf or a scalar: x / (|x| + 1e-8).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

TREE, LEAF, SCALAR = 0, 1, 2
KIND_NAMES = ("tree", "leaf", "scalar")

BINARY = ("add", "sub", "mul", "div", "max", "min")
UNARY = (
    *("abs", "cos", "sin", "tan", "arcsin", "arccos", "arctan"),
    *("sinh", "cosh", "tanh", "arcsinh", "arccosh", "arctanh"),
    *("exp", "exp2", "exp10", "expm1", "log", "log10", "log2", "log1p"),
    *("square", "sqrt", "cube", "cbrt", "sign", "reciprocal", "norm", "invert", "negative"),
)
OTHER = ("global_norm", "interp", "dot", "cosine_sim", "clip_by_global_norm", "power")
CONSTANT = ("pi", "e", "eps")
MATRIX = ("orthogonalize",)

NAMES: tuple[str, ...] = (*BINARY, *UNARY, *OTHER, *CONSTANT, *MATRIX)
OPCODES: Mapping[str, int] = MappingProxyType({name: number for number, name in enumerate(NAMES)})
"""Opcode of every operator, by name; the numbers are part of no file format and may change."""

ARITY: tuple[int, ...] = tuple(
    {**dict.fromkeys(BINARY, 2), **dict.fromkeys((*UNARY, *MATRIX), 1), **dict.fromkeys(CONSTANT, 0)}.get(name)
    or {"global_norm": 1, "interp": 3, "dot": 2, "cosine_sim": 2, "clip_by_global_norm": 2, "power": 2}.get(name, 0)
    for name in NAMES
)

CONSTANT_VALUES: Mapping[int, float] = MappingProxyType(
    {OPCODES["pi"]: 3.141592653589793, OPCODES["e"]: 2.718281828459045, OPCODES["eps"]: 1e-8}
)

GUARD = 1e-8
"""How far a divisor is pushed away from zero."""

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""a, b, c of a step Y <- a Y + (b Y Y' + c (Y Y')^2) Y. Singular values from 0.002 to 1 end between 0.68 and 1.21."""
NEWTON_SCHULZ_STEPS = 5

_TO_SCALAR = frozenset(OPCODES[name] for name in ("global_norm", "dot", "cosine_sim", *CONSTANT))
_NORM, _CLIP = OPCODES["norm"], OPCODES["clip_by_global_norm"]


def result_kind(opcode: int, kinds: Sequence[int]) -> int | None:
    """Kind of a result from the kinds of the operands (TREE, LEAF or SCALAR); None where they are not accepted.

    Kinds broadcast tree over leaf over scalar. A leaf is one number for each tensor of a tree.
    """
    if opcode in _TO_SCALAR:
        return SCALAR
    if opcode == _NORM:
        return LEAF if kinds[0] == TREE else kinds[0]
    if opcode == _CLIP:
        return kinds[0] if kinds[1] >= kinds[0] else None
    return min(kinds)
