"""The language of proxies: what a genome is, and what it means.

A proxy is a score of a bit configuration b = (b_1 .. b_L) of a network, built from what its layers look like. All but
its last step happens in one layer at one bit-width, so that a proxy is a table (layers, bit-widths) and an aggregation.

Values
    A value is a tensor (rows, columns) a layer, or one number a layer ("scalar"); it may depend on the layer's
    bit-width. Its kind says which others have its shape: "weight" (output channels, rest), "output" and "input"
    (samples, features), "sample" (samples, 1), and those derived from them. `operators.INPUTS` lists what there is to
    start from. Tensors are evenly strided samples of bounded size (see `samples.py`), or whole. What operators compute:
    `arithmetic.py`.

Structures (genes in this order: inputs, unary, binary, post, aggregation)
    linear  1 input, 4 unary:               v = u4(u3(u2(u1(x))))
    tree    2 inputs, 4 unary, 1 binary:    v = p2(p1( binary( u2(u1(x1)), u4(u3(x2)) )))
    graph   2 inputs, 9 unary:              s0 = x1, s1 = x2; node i = 0, 1, 2 is s_(i+2) = sum_j u(s_j), one unary
            operator for each earlier state, u1 u2 | u3 u4 u5 | u6 .. u9; v = mean(s2) + mean(s3) + mean(s4)
    The two post operators p1, p2 of a tree exist in mode "corrected" alone.
    term(layer, bits) = mean(v), over the tensor; score(b) = aggregation over layers of term(layer, b_layer). The
    aggregation flips takes v itself where it is a number a sample (`operators.AGGREGATIONS`).

Binary operators work element by element where the operands are of one kind or one is a scalar, which is spread;
    operands of two kinds are first reduced to their means. matmul(a, b) is a b^T for two tensors of one kind, and the
    product where one is a scalar. The sums in a graph's nodes are the operator sum.

Mode "corrected" (the default)
    Layers are named, never paired by position. Bits are data: the input `bits`, the inputs that depend on it
    (weight_quantized, weight_error, output_error), and unary operators that bring it in anywhere (times_bits ...).
    Orientation: the sign of a proxy says nothing (its negation ranks in reverse), so it is taken out: a score is
    multiplied by the sign that puts the configuration with the most bits everywhere above the one with the fewest.
    No label is needed for that, and it is defined on any network. Larger then means better accuracy.

Mode "as-released"
    What EMQ's released code does, quirks and all: the bit multiplies each tensor before any operator, x_l = b_l T_l;
    tensors of convolutions alone, in the model's order, both gradients in reverse order; tensors and bits are paired
    by position, as many as the shorter list has; each branch of a tree is reduced to its mean before the binary
    operator (matmul of two floats raises: always invalid); the mean over layers is plain, and the sign is what it is.

As JSON: {"mode", "structure", "inputs", "unary", "binary", "post", "aggregation"}; lists of words but for mode,
structure and aggregation.

Source: Dong et al., "EMQ: Evolving Training-free Proxies for Automated Mixed Precision Quantization" (ICCV 2023), and
the authors' code. The post operators, the aggregations, the inputs beyond the first six and tensors in binary operators
are ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from evo.errors import InvalidGenomeError
from search_spaces.emq.operators import (
    AGGREGATIONS,
    BINARY,
    BIT_UNARY,
    INPUTS,
    RELEASED_INPUTS,
    SUM_UNARY,
    UNARY,
    WIDE_BINARY,
    WIDE_UNARY,
    Mode,
    Structure,
)

SHAPES: Mapping[str, tuple[int, int, int]] = {"linear": (1, 4, 0), "tree": (2, 4, 1), "graph": (2, 9, 0)}
"""By structure: how many inputs, unary and binary operators."""
POST = 2
"""Unary operators after the binary one of a corrected tree."""


@dataclass(frozen=True, slots=True)
class Genome:
    """One proxy, as it is written; see the module's docstring for what it means.

    Attributes:
        mode: "corrected" or "as-released".
        structure: "linear", "tree" or "graph".
        inputs: words of `operators.INPUTS`.
        unary: words, in the order of the structure.
        binary: one word for a tree, else empty.
        post: two words for a corrected tree, else empty.
        aggregation: over layers.
    """

    mode: Mode
    structure: Structure
    inputs: tuple[str, ...]
    unary: tuple[str, ...]
    binary: tuple[str, ...] = ()
    post: tuple[str, ...] = ()
    aggregation: str = "mean"

    @property
    def genes(self) -> tuple[str, ...]:
        """All words in order, as many as `gene_kinds` has entries."""
        return (*self.inputs, *self.unary, *self.binary, *self.post, self.aggregation)

    @classmethod
    def of_genes(cls, mode: Mode, structure: Structure, genes: Sequence[str]) -> Genome:
        """The inverse of `genes`; the words are not checked."""
        a, u, b = SHAPES[structure]
        genes = tuple(genes)
        return cls(
            mode, structure, genes[:a], genes[a : a + u], genes[a + u : a + u + b], genes[a + u + b : -1], genes[-1]
        )

    def to_json(self) -> dict[str, Any]:
        """A JSON object; see the module's docstring."""
        return {
            "mode": self.mode,
            "structure": self.structure,
            "inputs": list(self.inputs),
            "unary": list(self.unary),
            "binary": list(self.binary),
            "post": list(self.post),
            "aggregation": self.aggregation,
        }

    @classmethod
    def from_json(cls, value: Any) -> Genome:
        """The inverse of `to_json`.

        Raises:
            InvalidGenomeError: it is no genome of this language.
        """
        keys = {"mode", "structure", "inputs", "unary", "binary", "post", "aggregation"}
        if not isinstance(value, dict) or set(value) != keys:
            raise InvalidGenomeError(f"a proxy is an object with the keys {', '.join(sorted(keys))}, not {value!r:.99}")
        lists = ("inputs", "unary", "binary", "post")
        if not all(isinstance(value[k], list) and all(isinstance(w, str) for w in value[k]) for k in lists):
            raise InvalidGenomeError(f"{', '.join(lists)} of a proxy are lists of words: {value!r:.300}")
        genome = cls(**{key: tuple(part) if isinstance(part, list) else part for key, part in value.items()})
        check(genome)
        return genome


def gene_kinds(mode: Mode, structure: Structure) -> tuple[str, ...]:
    """The kind of each gene, in order: "input", "unary", "binary" or "aggregation"."""
    inputs, unary, binary = SHAPES[structure]
    post = POST if structure == "tree" and mode == "corrected" else 0
    return ("input",) * inputs + ("unary",) * unary + ("binary",) * binary + ("unary",) * post + ("aggregation",)


def words(mode: Mode) -> Mapping[str, frozenset[str]]:
    """Every word that a genome of this mode may use, by kind of gene; the wide set included."""
    if mode == "as-released":
        unary: Sequence[str] = (*UNARY, *WIDE_UNARY)
        return {
            "input": frozenset(RELEASED_INPUTS),
            "unary": frozenset(unary),
            "binary": frozenset((*BINARY, *WIDE_BINARY)),
            "aggregation": frozenset(["mean"]),
        }
    return {
        "input": frozenset(INPUTS),
        "unary": frozenset((*UNARY, *WIDE_UNARY, *BIT_UNARY, *SUM_UNARY)),
        "binary": frozenset((*BINARY, *WIDE_BINARY)),
        "aggregation": frozenset(AGGREGATIONS),
    }


def check(genome: Genome) -> None:
    """Raise InvalidGenomeError unless the genome is one of this language."""
    if genome.mode not in get_args(Mode) or genome.structure not in SHAPES:
        raise InvalidGenomeError(
            f"a proxy of mode {genome.mode!r} and structure {genome.structure!r}",
            f"modes: {', '.join(get_args(Mode))}; structures: {', '.join(SHAPES)}",
        )
    kinds = gene_kinds(genome.mode, genome.structure)
    inputs, unary, binary = SHAPES[genome.structure]
    given = (len(genome.inputs), len(genome.unary), len(genome.binary), len(genome.post))
    wanted = (inputs, unary, binary, len(kinds) - inputs - unary - binary - 1)
    if given != wanted:
        raise InvalidGenomeError(
            f"a {genome.structure} of mode {genome.mode} has {wanted} inputs, unary, binary and post words, not {given}"
        )
    known = words(genome.mode)
    for kind, word in zip(kinds, genome.genes, strict=True):
        if word not in known[kind]:
            raise InvalidGenomeError(
                f"{word!r} is no {kind} of mode {genome.mode}", f"known: {', '.join(sorted(known[kind]))}"
            )


def by_index(inputs: Sequence[str], genotype: Sequence[Any]) -> Genome:
    """A genotype as EMQ's repository writes trees, [[u, u], [u, u], b] with indices into the operators, in its mode.

    Args:
        inputs: two input words.
        genotype: indices into `UNARY` and `BINARY`.
    """
    first, second, binary = genotype
    unary = tuple(UNARY[index] for index in (*first, *second))
    genome = Genome("as-released", "tree", tuple(inputs), unary, (BINARY[binary],))
    check(genome)
    return genome
