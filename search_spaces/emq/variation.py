"""New genomes: drawn from the operator prior, mutated gene by gene, crossed gene by gene."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from itertools import accumulate
from typing import TYPE_CHECKING

from search_spaces.emq.language import SHAPES, Genome, gene_kinds
from search_spaces.emq.operators import Mode, OperatorSet, Pool, pools

if TYPE_CHECKING:
    import numpy as np

TRIES = 100


class Variation:
    """Draws genomes.

    Args:
        mode: of the genomes.
        operators: which words may be drawn.
        structures: which may be sampled.
        gene_mutation: probability of each gene to be drawn anew.
    """

    def __init__(self, mode: Mode, operators: OperatorSet, structures: tuple[str, ...], gene_mutation: float) -> None:
        self._mode = mode
        self._structures = structures
        self._rate = gene_mutation
        self._pools: Mapping[str, _Cumulative] = {k: _Cumulative(pool) for k, pool in pools(mode, operators).items()}

    def sample(self, rng: np.random.Generator) -> Genome:
        """One structure, uniformly; each gene from its pool's prior."""
        draws = rng.random(1 + max(sum(shape) for shape in SHAPES.values()) + 3).tolist()
        structure = self._structures[int(draws[0] * len(self._structures))]
        kinds = gene_kinds(self._mode, structure)  # type: ignore[arg-type]
        genes = [self._pools[kind].word(draw) for kind, draw in zip(kinds, draws[1:], strict=False)]
        return Genome.of_genes(self._mode, structure, genes)  # type: ignore[arg-type]

    def mutate(self, genome: Genome, rng: np.random.Generator) -> Genome:
        """Each gene drawn anew from the prior with the probability given; drawn again until one has changed."""
        kinds, genes = gene_kinds(genome.mode, genome.structure), genome.genes
        n = len(genes)
        for _ in range(TRIES):
            draws = rng.random(2 * n).tolist()
            new = tuple(
                self._pools[kind].word(draw) if chance < self._rate else gene
                for kind, gene, chance, draw in zip(kinds, genes, draws[:n], draws[n:], strict=True)
            )
            if new != genes:
                return Genome.of_genes(genome.mode, genome.structure, new)
        place = next(i for i, kind in enumerate(kinds) if len(self._pools[kind].words) > 1)
        other = next(word for word in self._pools[kinds[place]].words if word != genes[place])
        return Genome.of_genes(genome.mode, genome.structure, (*genes[:place], other, *genes[place + 1 :]))

    def cross(self, a: Genome, b: Genome, rng: np.random.Generator) -> Genome:
        """Each gene from either parent. Parents of two structures: a's structure, whose genes b's of the same kind and
        number may replace."""
        kinds, genes = gene_kinds(a.mode, a.structure), list(a.genes)
        other = _by_place(b)
        draws = rng.random(len(genes)).tolist()
        numbers: dict[str, int] = {}
        for place, kind in enumerate(kinds):
            number = numbers[kind] = numbers.get(kind, -1) + 1
            if draws[place] < 0.5:
                genes[place] = other.get((kind, number), genes[place])
        return Genome.of_genes(a.mode, a.structure, genes)


class _Cumulative:
    def __init__(self, pool: Pool) -> None:
        self.words = pool.words
        self._bounds = list(accumulate(pool.weights))
        self._last = len(pool.words) - 1

    def word(self, draw: float) -> str:
        """The word at a uniform number in [0, 1)."""
        return self.words[min(self._last, bisect_right(self._bounds, draw * self._bounds[-1]))]


def _by_place(genome: Genome) -> dict[tuple[str, int], str]:
    found: dict[tuple[str, int], str] = {}
    numbers: dict[str, int] = {}
    for kind, gene in zip(gene_kinds(genome.mode, genome.structure), genome.genes, strict=True):
        number = numbers[kind] = numbers.get(kind, -1) + 1
        found[kind, number] = gene
    return found
