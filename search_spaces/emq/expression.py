"""A genome as a simplified expression: what is evaluated, cached, compared, exported and printed.

Two genomes with one expression compute one ranking. A rule here is exact up to the rounding of the arithmetic, or
changes a score by what ranks and orientation do not see (its sign, a constant); what no rule finds, the rank vector
does.
Nodes know, before anything is computed, the kind of their value and whether it depends on the bit-width.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from search_spaces.emq.language import Genome
from search_spaces.emq.operators import COMMUTATIVE, COMPARING, FLIPS, INPUTS, REDUCING, SAMPLE, SCALAR

BIT_FREE = "bit-independent"
INVALID = "invalid"


class Node:
    """An immutable expression; equal where its text is.

    Attributes:
        op: a word of the language, or "input" of `word`; "mean" is the mean over a tensor.
        args: of the operator.
        kind: see `operators.Input`; derived kinds are "weight/rows" (one number a row), "weight/gram" (rows, rows) ...
        bits: False where the value is known not to depend on the bit-width.
        positive: True where no value is known to be negative.
        text: canonical, "mean(pow(weight_error))"; the key of caches.
        notes: what was worked out of it elsewhere, from its text alone.
    """

    __slots__ = ("_hash", "args", "bits", "kind", "notes", "op", "positive", "text")

    def __init__(self, op: str, args: tuple[Node, ...], kind: str, bits: bool, positive: bool, text: str = "") -> None:
        self.op = op
        self.args = args
        self.kind = kind
        self.bits = bits
        self.positive = positive
        self.text = text or f"{op}({','.join([a.text for a in args])})"
        self._hash = hash(self.text)
        self.notes: dict[str, Any] = {}

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Node) and self.text == other.text)

    def __repr__(self) -> str:
        return f"Node({self.text})"

    def __reduce__(self) -> tuple[type[Node], tuple[object, ...]]:
        return Node, (self.op, self.args, self.kind, self.bits, self.positive, self.text)


class Expression(NamedTuple):
    """What a genome comes to.

    Attributes:
        term: of a layer at a bit-width, kind "scalar" ("sample" for the aggregation "flips"); None where the genome is
            rejected unseen.
        aggregation: over layers, "mean", "max" or "flips"; the weighted sums are means of weighted terms.
        released: whether the operators are those of mode "as-released".
        rejected: "" or why: "invalid" (it can give no number), "bit-independent".
    """

    term: Node | None
    aggregation: str
    released: bool
    rejected: str = ""

    @property
    def key(self) -> bytes | None:
        """Canonical bytes; None where rejected."""
        if self.term is None:
            return None
        return f"{'released' if self.released else 'corrected'} {self.aggregation} {self.term.text}".encode()


class _CannotBe(Exception):
    """The released code raises here, whatever the network."""


def expression(genome: Genome) -> Expression:
    """The simplified expression of a genome that `language.check` accepts."""
    if genome.mode == "as-released":
        try:
            return Expression(_released(genome), "mean", True)
        except _CannotBe:
            return Expression(None, "mean", True, INVALID)
    value, aggregation = _structured(genome), genome.aggregation
    if aggregation == FLIPS and value.kind == SAMPLE:
        return _of_samples(unary("abs", value))
    term = to_mean(value)
    if aggregation in ("parameters", "macs"):
        term = binary("product", leaf(aggregation), term)
    if aggregation != "max":
        aggregation = "mean"  # flips of what is no number a sample, too
        term = _rank_neutral(term)
    if not term.bits:
        return Expression(None, aggregation, False, BIT_FREE)
    return Expression(term, aggregation, False)


def _of_samples(term: Node) -> Expression:
    return Expression(term, FLIPS, False) if term.bits else Expression(None, FLIPS, False, BIT_FREE)


def _structured(genome: Genome) -> Node:
    x, u = [leaf(word) for word in genome.inputs], genome.unary
    if genome.structure == "linear":
        return _chain(u, x[0])
    if genome.structure == "tree":
        return _chain(genome.post, binary(genome.binary[0], _chain(u[:2], x[0]), _chain(u[2:], x[1])))
    states, used = x, 0
    for _ in range(3):
        parts = [unary(word, state) for word, state in zip(u[used : used + len(states)], states, strict=True)]
        used += len(states)
        total = parts[0]
        for part in parts[1:]:
            total = binary("sum", total, part)
        states = [*states, total]
    return binary("sum", binary("sum", to_mean(states[2]), to_mean(states[3])), to_mean(states[4]))


def _chain(ops: tuple[str, ...], value: Node) -> Node:
    for op in ops:
        value = unary(op, value)
    return value


def _rank_neutral(term: Node) -> Node:
    """Without what changes the sum over layers by its sign or by a constant alone."""
    while True:
        if term.op == "revert":
            term = term.args[0]
        elif term.op in ("sum", "difference") and not (term.args[0].bits and term.args[1].bits):
            term = term.args[0] if term.args[0].bits else term.args[1]
        else:
            return term


# Building with rules, mode "corrected".


@lru_cache(256)
def leaf(word: str) -> Node:
    """An input."""
    known = INPUTS[word]
    return Node("input", (), known.kind, known.bits, word in ("bits", "parameters", "macs"), word)


_POSITIVE = frozenset({
    "abs", "pow", "exp", "relu", "frobenius_norm", "softmax", "sigmoid", "sqrt", "min_max_normalize",
    "to_std_scalar", "to_var_scalar", "p_dist", "to_sqrt_scalar", "lesser_than", "greater_than", "equal_to",
    "hamming_distance", "pairwise_distance", "mse_loss", "l1_loss",
})  # fmt: skip
_KEEPS_SIGN = frozenset({
    "mean", "to_sum_scalar", "row_sum", "times_bits", "over_bits", "times_2^-bits", "to_min_scalar", "to_max_scalar",
})  # fmt: skip
_ODD = frozenset({
    "mean", "to_sum_scalar", "row_sum", "times_bits", "over_bits", "times_2^-bits", "normalize", "sign",
})  # fmt: skip
"""f(-x) = -f(x), to the bit."""
_EVEN = frozenset({
    "abs", "pow", "abslog", "frobenius_norm", "to_std_scalar", "to_var_scalar", "p_dist", "gram_matrix", "slogdet",
})  # fmt: skip
"""f(-x) = f(x), to the bit."""
_SCALE_FREE = frozenset({"normalize", "min_max_normalize", "sign"})
_SCALING = frozenset({"times_bits", "over_bits", "times_2^-bits"})
_SAME = {"normalized_sum": "mean", "to_mean_scalar": "mean"}
_ZERO_OF_SCALAR = frozenset({
    "logsoftmax", "normalize", "min_max_normalize", "to_std_scalar", "to_var_scalar", "p_dist", "quantize_error",
})  # fmt: skip
"""0 where there is but one number."""
_ZERO = frozenset({("mean", "normalize"), ("to_sum_scalar", "normalize"), ("to_min_scalar", "min_max_normalize")})
"""0 whatever goes in; computed, it would be rounding noise, which ranks as well as anything."""
_FLAT = frozenset(
    [(reduce, "normalize") for reduce in ("to_std_scalar", "to_var_scalar", "frobenius_norm")]
    + [("mean", "softmax"), ("to_sum_scalar", "softmax"), ("to_max_scalar", "min_max_normalize")]
)
"""Constant whatever goes in: the trap that the released genotype fell into."""
_KEEPS_ZERO = frozenset({
    "mean", "to_sum_scalar", "row_sum", "quantize", "quantize_error", "normalize", "min_max_normalize", "log", "abslog",
    "abs", "pow", "relu", "frobenius_norm", "sqrt", "revert", "times_bits", "over_bits", "times_2^-bits", "sign",
    "mish", "swish", "leaky_relu",
})  # fmt: skip


@lru_cache(64)
def zero(kind: str = SCALAR) -> Node:
    """The constant 0: a number a layer, or a tensor full of it, whose size some operators see."""
    return Node("zero", (), kind, False, True, "0" if kind == SCALAR else f"0 {kind}")


@lru_cache(1 << 16)
def unary(op: str, a: Node) -> Node:
    """op(a), simplified."""
    op = _SAME.get(op, op)
    if op in ("no_op", ""):
        return a
    if op == "mean":
        return to_mean(a)
    if op == "l1_norm":
        return to_mean(unary("abs", a))
    scalar = a.kind == SCALAR
    if (op, a.op) in _ZERO or (scalar and op in _ZERO_OF_SCALAR):
        return zero()
    if a.op == "zero" and op in _KEEPS_ZERO:
        return zero(_kind(op, a.kind))
    if scalar:
        if op in ("to_sum_scalar", "row_sum", "to_min_scalar", "to_max_scalar", "quantize"):
            return a  # one number is on its own grid
        op = {"frobenius_norm": "abs", "to_sqrt_scalar": "sqrt", "gram_matrix": "pow"}.get(op, op)
    if a.op == "revert":
        if op == "revert":
            return a.args[0]
        if op in _EVEN:
            return unary(op, a.args[0])
        if op in _ODD:
            return unary("revert", unary(op, a.args[0]))
    if (op in ("abs", "relu") and a.positive) or (op == a.op == "sign"):
        return a
    if op in ("pow", "abslog", "frobenius_norm", "gram_matrix") and a.op == "abs":
        a = a.args[0] if op != "gram_matrix" else a
    if op in ("sqrt", "log") and a.op == "relu":
        a = a.args[0]
    if op in _SCALE_FREE and a.op in _SCALING:
        return unary(op, a.args[0])
    if (op, a.op) in (("times_bits", "over_bits"), ("over_bits", "times_bits")):
        return a.args[0]
    if op == "to_sum_scalar" and a.op == "row_sum":
        return unary(op, a.args[0])
    if op == "row_sum" and a.op in _SCALING:
        return unary(a.op, unary(op, a.args[0]))
    if op == "to_sum_scalar" and (pulled := _pulled(op, a)) is not None:
        return pulled
    bits = a.bits or op in ("times_bits", "over_bits", "times_2^-bits", "quantize", "quantize_error")
    if (op, a.op) in _FLAT or (scalar and op == "softmax"):
        bits = False
    return Node(op, (a,), _kind(op, a.kind), bits, op in _POSITIVE or (op in _KEEPS_SIGN and a.positive))


def _kind(op: str, kind: str) -> str:
    if kind == SCALAR or op in REDUCING or op == "mean":
        return SCALAR
    return kind + {"row_sum": "/rows", "gram_matrix": "/gram", "p_dist": "/pairs"}.get(op, "")


@lru_cache(1 << 16)
def to_mean(a: Node) -> Node:
    """The mean over a tensor, brought inside what is linear: sums of means share their parts with other proxies."""
    if a.kind == SCALAR:
        return a
    if ("mean", a.op) in _ZERO or (a.op == "row_sum" and to_mean(a.args[0]) == zero()):
        return zero()
    if a.op == "zero":
        return zero()
    pulled = _pulled("mean", a)
    if pulled is not None:
        return pulled
    return Node("mean", (a,), SCALAR, a.bits and ("mean", a.op) not in _FLAT, a.positive)


def _pulled(reduce: str, a: Node) -> Node | None:
    """reduce(a) as an expression of reduced arguments, where a is linear in them; None where it is not."""
    if a.op == "revert" or a.op in _SCALING:
        return unary(a.op, unary(reduce, a.args[0]))
    if a.op in ("sum", "difference", "product"):
        x, y = a.args
        if a.op != "product" and x.kind == y.kind:
            return binary(a.op, unary(reduce, x), unary(reduce, y))
        if a.op == "product" and SCALAR in (x.kind, y.kind):
            return binary("product", unary(reduce, x), unary(reduce, y))
        if reduce == "mean" and SCALAR in (x.kind, y.kind):
            return binary(a.op, to_mean(x), to_mean(y))
    return None


@lru_cache(1 << 16)
def binary(op: str, a: Node, b: Node) -> Node:
    """op(a, b), simplified; operands of two kinds are reduced to their means."""
    if a.kind != b.kind and SCALAR not in (a.kind, b.kind):
        return binary(op, to_mean(a), to_mean(b))
    if "zero" in (a.op, b.op) and (simple := _with_zero(op, a, b)) is not None:
        return simple
    if op == "matmul" and SCALAR in (a.kind, b.kind):
        op = "product"
    if op in ("sum", "difference", "product") and "revert" in (a.op, b.op):
        minus_a, minus_b = a.op == "revert", b.op == "revert"
        x, y = (a.args[0] if minus_a else a), (b.args[0] if minus_b else b)
        if op == "product":
            return binary(op, x, y) if minus_a and minus_b else unary("revert", binary(op, x, y))
        minus_b ^= op == "difference"
        if minus_a and minus_b:
            return unary("revert", binary("sum", x, y))
        if not minus_a and not minus_b:
            return binary("sum", x, y)
        return binary("difference", x, y) if minus_b else binary("difference", y, x)
    if op in COMMUTATIVE and b.text < a.text:
        a, b = b, a
    if op == "difference":
        if b.text < a.text:
            return unary("revert", binary("difference", b, a))
        if a == b:
            return zero(a.kind)
    if op == "product" and a == b:
        return unary("pow", a)
    kind = SCALAR if op in COMPARING else a.kind if b.kind == SCALAR else b.kind
    if op == "matmul":
        kind += "/gram"
    positive = op in _POSITIVE or (op in ("sum", "product", "mean") and a.positive and b.positive)
    return Node(op, (a, b), kind, a.bits or b.bits, positive)


def _with_zero(op: str, a: Node, b: Node) -> Node | None:
    """op(a, b) where one of them is 0; None where nothing gets simpler."""
    if op == "product" or (op == "matmul" and SCALAR in (a.kind, b.kind)):
        return zero(b.kind if a.kind == SCALAR else a.kind)
    other = a if b.op == "zero" else b
    if op not in ("sum", "difference") or (other.kind == SCALAR and a.kind != b.kind):
        return None  # a number plus a tensor of zeros is a tensor
    return unary("revert", b) if op == "difference" and other is b else other


# Mode "as-released": no rule but the order of sums and products.

_REVERSED = frozenset(["weight_gradient", "virtual_gradient"])


def _released(genome: Genome) -> Node:
    x = [_released_leaf(word) for word in genome.inputs]
    u = genome.unary
    if genome.structure == "linear":
        return _released_mean(_released_chain(u, x[0]))
    if genome.structure == "tree":
        if genome.binary[0] == "matmul":
            raise _CannotBe
        a, b = (_released_mean(_released_chain(ops, value)) for ops, value in zip((u[:2], u[2:]), x, strict=True))
        return _released_binary(genome.binary[0], a, b)
    states, used = x, 0
    for _ in range(3):
        parts = [
            _released_chain((word,), state) for word, state in zip(u[used : used + len(states)], states, strict=True)
        ]
        used += len(states)
        total = parts[0]
        for part in parts[1:]:
            total = _released_binary("sum", total, part)
        states = [*states, total]
    total = _released_binary("sum", _released_mean(states[2]), _released_mean(states[3]))
    return _released_binary("sum", total, _released_mean(states[4]))


@lru_cache(64)
def _released_leaf(word: str) -> Node:
    kind = "gradient" if word in _REVERSED else INPUTS[word].kind
    return Node("input", (), kind, True, False, word)


def _released_chain(ops: tuple[str, ...], value: Node) -> Node:
    for op in ops:
        if op != "no_op":
            value = Node(op, (value,), _kind(op, value.kind), True, False)
    return value


def _released_mean(value: Node) -> Node:
    return value if value.kind == SCALAR else Node("mean", (value,), SCALAR, True, False)


def _released_binary(op: str, a: Node, b: Node) -> Node:
    if a.kind != b.kind and SCALAR not in (a.kind, b.kind):
        raise _CannotBe  # tensors of two shapes
    if op in ("sum", "product") and b.text < a.text:
        a, b = b, a
    return Node(op, (a, b), a.kind if b.kind == SCALAR else b.kind, True, False)


# For people.


def nodes(term: Node) -> Iterator[Node]:
    """Every distinct node below and with `term`, arguments first."""
    seen: set[Node] = set()

    def walk(node: Node) -> Iterator[Node]:
        if node not in seen:
            seen.add(node)
            for argument in node.args:
                yield from walk(argument)
            yield node

    return walk(term)


def size(term: Node) -> int:
    """Operators and inputs, each distinct sub-program once."""
    return sum(1 for _ in nodes(term))


_NAMES = {
    "log": "ln", "abslog": "ln|.|", "frobenius_norm": "norm", "min_max_normalize": "minmax", "to_std_scalar": "std",
    "to_sum_scalar": "sum", "row_sum": "rowsum", "to_var_scalar": "var", "to_min_scalar": "min", "to_max_scalar": "max",
    "quantize": "quant", "quantize_error": "quant_error",
}  # fmt: skip


def formula(term: Node, released: bool = False) -> str:
    """As a person writes it: "mean(((dL/dz) dz)^2)"."""
    return _shown(term, released)[0]


def _shown(node: Node, released: bool) -> tuple[str, int]:
    """Text, and how tightly it binds: 1 a sum, 2 a quotient, 3 a product, 4 a power, 5 closed.

    A product is written by putting its factors side by side, so that a quotient among them stands in parentheses.
    """
    if node.op == "zero":
        return "0", 5
    if node.op == "input":
        symbol = INPUTS[node.text].symbol
        binds = 2 if "/" in symbol else 5
        return (f"b ({symbol})" if binds == 2 else f"b {symbol}", 3) if released else (symbol, binds)
    parts = [_shown(argument, released) for argument in node.args]

    def at(i: int, level: int) -> str:
        text, binds = parts[i]
        return text if binds >= level else f"({text})"

    if node.op == "sum":
        return f"{at(0, 1)} + {at(1, 1)}", 1
    if node.op == "difference":
        return f"{at(0, 1)} - {at(1, 2)}", 1
    if node.op == "product":
        return f"{at(0, 3)} {at(1, 3)}", 3
    if node.op == "matmul":
        return f"{at(0, 5)} {at(1, 5)}^T", 3
    if node.op == "pow":
        return f"{at(0, 5)}^2", 4
    if node.op == "abs":
        return f"|{parts[0][0]}|", 5
    if node.op == "abslog":
        return f"ln|{parts[0][0]}|", 5
    if node.op == "exp":
        return f"exp({parts[0][0]})", 5
    if node.op == "revert":
        return f"-{at(0, 2)}", 1
    if node.op == "invert":
        return f"1 / {at(0, 4)}", 2
    if node.op == "times_bits":
        return f"b {at(0, 3)}", 3
    if node.op == "over_bits":
        return f"{at(0, 3)} / b", 2
    if node.op == "times_2^-bits":
        return f"2^-b {at(0, 3)}", 3
    return f"{_NAMES.get(node.op, node.op)}({', '.join(text for text, _ in parts)})", 5
