"""Draws: from the prior, gene by gene, always in the language."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces.emq import EMQ, EMQOptions
from search_spaces.emq.expression import expression
from search_spaces.emq.language import Genome, check, gene_kinds
from search_spaces.emq.operators import UNARY, WIDE_BINARY, WIDE_UNARY, pools
from search_spaces.emq.variation import Variation

STRUCTURES = ("linear", "tree", "graph")
SPACES = {(m, o): Variation(m, o, STRUCTURES, 0.3) for m in ("corrected", "as-released") for o in ("base", "wide")}  # type: ignore[arg-type]


@settings(deadline=None)
@given(st.sampled_from(list(SPACES)), st.integers(0, 10**9))
def test_what_is_drawn_is_in_the_language_and_round_trips(which: tuple[str, str], seed: int) -> None:
    rng = np.random.default_rng(seed)
    drawn = SPACES[which]  # type: ignore[index]
    a, b = drawn.sample(rng), drawn.sample(rng)
    for genome in (a, b, drawn.mutate(a, rng), drawn.cross(a, b, rng), drawn.cross(b, a, rng)):
        check(genome)
        assert Genome.from_json(genome.to_json()) == genome
        assert Genome.of_genes(genome.mode, genome.structure, genome.genes) == genome


@settings(deadline=None)
@given(st.sampled_from(list(SPACES)), st.integers(0, 10**9))
def test_a_mutation_changes_something_and_keeps_the_structure(which: tuple[str, str], seed: int) -> None:
    rng = np.random.default_rng(seed)
    drawn = SPACES[which]  # type: ignore[index]
    genome = drawn.sample(rng)
    mutant = drawn.mutate(genome, rng)
    assert mutant != genome
    assert (mutant.mode, mutant.structure) == (genome.mode, genome.structure)


def test_mutation_draws_the_stated_share_of_genes_anew() -> None:
    genome = Genome("corrected", "graph", ("weight", "weight"), ("exp",) * 9, (), (), "max")
    changed = []
    for seed in range(2000):
        mutant = SPACES["corrected", "base"].mutate(genome, np.random.default_rng(seed))
        changed.append(np.mean([a != b for a, b in zip(genome.genes, mutant.genes, strict=True)]))
    # 0.3 of the genes, of which some draw the same word again; a draw that changes none is repeated
    assert 0.26 < np.mean(changed) < 0.31


def test_crossing_takes_each_gene_from_either_parent() -> None:
    a = Genome("corrected", "tree", ("weight", "bits"), ("abs",) * 4, ("sum",), ("abs",) * 2, "mean")
    b = Genome("corrected", "tree", ("macs", "weight_error"), ("exp",) * 4, ("product",), ("exp",) * 2, "max")
    shares = np.zeros(len(a.genes))
    for seed in range(1000):
        child = SPACES["corrected", "base"].cross(a, b, np.random.default_rng(seed))
        from_b = [c == y for c, x, y in zip(child.genes, a.genes, b.genes, strict=True)]
        assert all(c in (x, y) for c, x, y in zip(child.genes, a.genes, b.genes, strict=True))
        shares += from_b
    assert (shares > 430).all()
    assert (shares < 570).all()


def test_crossing_two_structures_keeps_the_first_and_takes_genes_of_like_place() -> None:
    line = Genome("corrected", "linear", ("bits",), ("abs",) * 4, (), (), "max")
    tree = Genome("corrected", "tree", ("macs", "weight"), ("exp",) * 4, ("sum",), ("log",) * 2, "mean")
    seen: Counter[tuple[str, ...]] = Counter()
    for seed in range(200):
        child = SPACES["corrected", "base"].cross(line, tree, np.random.default_rng(seed))
        assert child.structure == "linear"
        seen.update(child.genes)
    assert set(seen) == {"bits", "macs", "abs", "exp", "max", "mean"}


def test_the_prior_of_mode_as_released_is_that_of_the_authors() -> None:
    drawn = Counter[str]()
    for seed in range(3000):
        genome = SPACES["as-released", "base"].sample(np.random.default_rng(seed))
        if genome.structure == "tree":
            drawn.update(genome.binary)
            drawn.update(genome.unary)
    binary = np.array([drawn[word] for word in ("sum", "difference", "product", "matmul")], float)
    np.testing.assert_allclose(binary / binary.sum(), [0.6, 0.3, 0.05, 0.05], atol=0.04)
    unary = np.array([drawn[word] for word in UNARY], float)
    np.testing.assert_allclose(unary / unary.sum(), [1 / 21] * 19 + [2 / 21], atol=0.015)


def test_the_wide_set_is_drawn_on_request_alone() -> None:
    for mode in ("corrected", "as-released"):
        base, wide = (pools(mode, o) for o in ("base", "wide"))  # type: ignore[arg-type]
        assert set(wide["unary"].words) - set(base["unary"].words) == set(WIDE_UNARY) - set(base["unary"].words)
        assert set(WIDE_UNARY) <= set(wide["unary"].words)
        assert set(wide["binary"].words) - set(base["binary"].words) == set(WIDE_BINARY)
        assert len(wide["unary"].words) == len(set(wide["unary"].words))
        assert base["binary"].words == ("sum", "difference", "product", "matmul")
    assert pools("as-released", "base")["unary"].words == UNARY


@pytest.mark.parametrize("structure", STRUCTURES)
def test_each_structure_is_sampled_and_has_its_genes(structure: str) -> None:
    drawn = Variation("corrected", "base", (structure,), 0.3).sample(np.random.default_rng(0))
    assert drawn.structure == structure
    assert len(drawn.genes) == len(gene_kinds("corrected", structure))  # type: ignore[arg-type]


def test_redraws_leave_few_that_are_rejected_unseen() -> None:
    def share(redraws: int) -> float:
        space = EMQ(EMQOptions(redraws=redraws))
        return float(np.mean([space.canonical(space.sample(np.random.default_rng(i))) is None for i in range(300)]))

    without, with_them = share(0), share(30)
    assert without > 0.7
    assert with_them < without**8
    assert EMQ(EMQOptions(redraws=0)).sample(np.random.default_rng(3)) == SPACES_TREE.sample(np.random.default_rng(3))
    assert expression(SPACES_TREE.sample(np.random.default_rng(3))) is not None


SPACES_TREE = Variation("corrected", "base", ("tree",), 0.25)
