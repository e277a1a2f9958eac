"""Mode "as-released" is EMQ's code: equal to a loop of torch operators, and to the closed form of its genotype."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from proxies.quantization import gather
from search_spaces.emq.evaluator import scored
from search_spaces.emq.expression import expression
from search_spaces.emq.gathered import Gathered
from search_spaces.emq.known import RELEASED
from search_spaces.emq.language import by_index
from search_spaces.emq.scoring import places_of, raw_scores
from search_spaces.emq.statistics import gather_samples
from search_spaces.emq.tables import Tables
from tests.search_spaces.emq import released_loop, tiny

CHOICES = (2, 3, 4)


class Deep(nn.Module):
    """Like the released setting in small: one convolution more than a configuration has entries (19 to 18), and fc."""

    def __init__(self) -> None:
        super().__init__()
        widths = [2] + [2 + i % 3 for i in range(19)]
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 1 + 2 * (a % 2), padding=a % 2) for a, b in pairwise(widths))
        self.fc = nn.Linear(widths[-1], 4)

    def forward(self, x: Tensor) -> Tensor:
        for conv in self.convs:
            x = torch.tanh(conv(x))  # no dead channel: gradients of 0 make rounding noise of z-scores
        return self.fc(x.mean((2, 3)))


COLUMNS = 18


@cache
def deep() -> tuple[Deep, Tensor, Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Deep().double().eval(), torch.randn(5, 2, 4, 4).double(), torch.randint(4, (5,))


@cache
def gathered() -> Gathered:
    model, images, labels = deep()
    names = (*(f"convs.{i}" for i in range(19)), "fc")
    return gather_samples(model, images, labels, names, CHOICES, None, tiny.HESSIAN)


@cache
def tensors() -> dict[str, list[Tensor]]:
    """Lists of tensors as the released code makes them."""
    model, images, labels = deep()
    found = gather(model, images, labels, collect=("activations", "gradients", "virtual_gradients"))
    layers = [layer for layer in found if layer.shape.kind == "conv2d"]
    return {
        "activation": [layer.output for layer in layers],
        "weight": [layer.weight for layer in layers],
        "weight_gradient": [layer.gradient for layer in layers][::-1],
        "virtual_gradient": [layer.virtual_gradient for layer in layers][::-1],
    }


def ours(genome, bits: np.ndarray) -> np.ndarray:  # type: ignore[no-untyped-def]
    """Means over the layers of a configuration with 18 columns, our layers being 20."""
    tables = _Tables18(gathered())
    table = tables.table(expression(genome))
    return raw_scores(table[None], places_of(bits, CHOICES), ["mean"])[0] / tables.pairs(True)


class _Tables18(Tables):
    """Configurations of 18 columns."""

    def __init__(self, found: Gathered) -> None:
        super().__init__(found)
        self.n_layers = COLUMNS


def configurations(n: int) -> np.ndarray:
    return np.random.default_rng(7).choice(CHOICES, (n, COLUMNS))


def test_genotype_a_is_its_closed_form() -> None:
    """sum_i c_i sqrt(b_i), c_i = mean(sqrt(relu(W_i))) / (18 C_out(conv 19 - i)): branch 1 has no bit in it."""
    bits = configurations(50)
    model, *_ = deep()
    convs = list(model.convs)
    roots = [float(conv.weight.detach().relu().sqrt().mean()) for conv in convs]
    c = [roots[i] / (COLUMNS * len(convs[18 - i].weight)) for i in range(COLUMNS)]
    closed = (np.sqrt(bits) * np.array(c)).sum(1)
    np.testing.assert_allclose(ours(RELEASED["released_a"], bits), closed, rtol=1e-12)


@pytest.mark.parametrize("name", ["released_b", "released_c"])
def test_the_other_genotypes_compute(name: str) -> None:
    bits = configurations(5)
    genotype = {"released_b": [[14, 6], [4, 2], 1], "released_c": [[2, 14], [4, 14], 0]}[name]
    lists = [tensors()["weight"]] * 2
    expected = [released_loop.tree_score(lists, genotype, row.tolist()) for row in bits]
    np.testing.assert_allclose(ours(RELEASED[name], bits), expected, rtol=1e-12)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    inputs=st.tuples(*[st.sampled_from(["activation", "weight", "weight_gradient", "virtual_gradient"])] * 2),
    ops=st.tuples(*[st.integers(0, 19)] * 4),
    binary=st.integers(0, 2),
)
def test_every_tree_is_what_the_loop_computes(inputs: tuple[str, str], ops: tuple[int, ...], binary: int) -> None:
    genotype = [ops[:2], ops[2:], binary]
    bits = configurations(2)
    lists = [tensors()[word] for word in inputs]
    expected = np.array([released_loop.tree_score(lists, genotype, row.tolist()) for row in bits])
    found = ours(by_index(inputs, genotype), bits)
    # what overflows, or has lost all its digits in a cancellation, is compared for being finite alone
    assert np.array_equal(np.isfinite(found), np.isfinite(expected))
    size = np.abs(expected[np.isfinite(expected)]).max(initial=0.0)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9 + 1e-9 * size)


def test_matmul_of_two_floats_is_invalid_unseen() -> None:
    found = expression(by_index(("weight", "weight"), [[19, 19], [19, 19], 3]))
    assert found.term is None
    assert found.rejected == "invalid"
    assert released_loop.tree_score([tensors()["weight"]] * 2, [[19, 19], [19, 19], 3], [2] * COLUMNS) == -1.0


def test_a_shorter_list_of_convolutions_leaves_the_last_columns_without_effect() -> None:
    """The tiny network has 3 convolutions and 4 columns: zip forgets the linear layer's bits."""
    tables = Tables(tiny.gathered())
    table = tables.table(expression(RELEASED["released_c"]))
    assert tables.pairs(True) == 3
    assert (table[:, 3] == 0).all()
    assert (table[:, :3] != 0).all()


def test_a_released_score_keeps_its_sign() -> None:
    """(b) falls with the bits: as released, more bits score lower."""
    tables = Tables(tiny.gathered())
    places = np.array([[0] * 4, [3] * 4])
    result = scored(tables, [expression(RELEASED["released_b"])], places)
    assert result.signs.tolist() == [1]
    assert result.scores[0, 0] > result.scores[0, 1]
