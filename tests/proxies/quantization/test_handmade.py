"""The hand-made proxies: by hand on tiny networks, and rows that do not depend on their company."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from proxies.errors import BitConfigError, MissingStatisticError, ProxyError
from proxies.quantization import (
    HANDMADE,
    RELEASED,
    WeightScheme,
    all_giga_bops,
    gather,
    linear_cka,
    score,
    scores,
    sizes_mib,
)
from proxies.quantization.handmade import gaussian_deviation, ompq, stages_of
from tests.proxies.quantization.networks import images, seeded, small_net

ALL = [proxy.name for proxy in HANDMADE]
GATHERED = gather(small_net(), images(6), seed=1)
CONFIGS = st.lists(st.lists(st.sampled_from([2, 3, 4, 8]), min_size=3, max_size=3), min_size=1, max_size=9)

QUICK = settings(deadline=None, max_examples=40)


def half_square(outputs, targets):
    return 0.5 * outputs.square().sum() / len(outputs)


def matrix_net(rows):
    net = nn.Sequential(nn.Linear(len(rows[0]), len(rows), bias=False))
    net[0].weight.data = torch.tensor(rows)
    return net


@given(CONFIGS, st.sampled_from(ALL))
@QUICK
def test_a_rows_score_does_not_depend_on_the_others(configs, name):
    together = scores(GATHERED, configs, name)
    assert together.dtype == np.float64
    assert together.tolist() == [scores(GATHERED, [config], name)[0] for config in configs]
    assert together[::-1].tolist() == scores(GATHERED, configs[::-1], name).tolist()


@pytest.mark.parametrize("name", ALL)
def test_a_model_scores_as_its_statistics_do(name):
    bits = {"fc": 4, "conv1": 2, "conv2": 3}
    assert score(small_net(), bits, images(6), name, seed=1) == scores(GATHERED, [[2, 3, 4]], name)[0]


@pytest.mark.parametrize("proxy", HANDMADE, ids=ALL)
def test_scores_are_sums_of_the_tables_entries(proxy):
    table = proxy.table(GATHERED, [2, 3, 4, 8])
    assert table.shape == (3, 4)
    assert proxy.scores(GATHERED, [[2, 8, 3]])[0] == table[0, 0] + table[1, 3] + table[2, 1]


@pytest.mark.parametrize("name", sorted({*ALL} - {"hawq", "hawq_v2_released"}))
def test_more_bits_are_never_worse(name):
    low, middle, high = scores(GATHERED, [[2, 2, 2], [4, 4, 4], [8, 8, 8]], name)
    assert low < middle <= high


def test_counts_and_costs():
    configs = [[2, 4, 8], [8, 3, 3]]
    assert scores(GATHERED, configs, "bit_sum").tolist() == [14, 14]
    assert scores(GATHERED, configs, "sqrt_bits")[0] == math.sqrt(2) + 2 + math.sqrt(8)
    np.testing.assert_allclose(
        scores(GATHERED, configs, "bparams"), sizes_mib(configs, GATHERED.shapes, RELEASED), rtol=1e-14
    )
    np.testing.assert_allclose(
        scores(GATHERED, configs, "bops"), all_giga_bops(configs, GATHERED.shapes, RELEASED), rtol=1e-14
    )


def test_hawq_v2_by_hand():
    """Inputs 2 e_k, loss 0.5 |W x|^2 / 4: the Hessian is the identity. At 2 bits the grid is {-1, 0, 1, 2}."""
    net, x = matrix_net([[-1.0, 0.0, 0.9, 2.0]]), 2 * torch.eye(4)
    statistics = gather(net, x, loss=half_square, scheme=WeightScheme(scale="minmax"))
    assert scores(statistics, [[2]], "hawq_v2")[0] == pytest.approx(-(0.1**2) * 4 / 4, rel=1e-5)
    assert scores(statistics, [[2], [3]], "hawq_v2_released").tolist() == [8.0, 12.0]
    assert scores(statistics, [[3]], "hawq")[0] == pytest.approx(3.0)


def test_snip_by_hand():
    """dLoss/dW of 0.5 |W x|^2 / 2 at x = e_k is W / 2."""
    statistics = gather(matrix_net([[1.0, -2.0], [3.0, 0.0]]), torch.eye(2), collect=["gradients"], loss=half_square)
    assert scores(statistics, [[2], [8]], "snip").tolist() == [14.0, 56.0]


def test_synaptic_flow_is_conserved_through_a_chain():
    """Tanaka et al. (2020), theorem 1: without biases, each layer has the same flow."""
    net = seeded(lambda: nn.Sequential(*[nn.Linear(5, 5, bias=False), nn.ReLU()] * 1, nn.Linear(5, 3, bias=False)))
    statistics = gather(net, torch.ones(2, 5), collect=["synflow"])
    flows = [layer.synflow for layer in statistics]
    assert flows[0] > 0
    assert flows[1] == pytest.approx(flows[0], rel=1e-12)


def test_synflow_that_overflows_is_refused():
    net = nn.Sequential(*[nn.Linear(40, 40, bias=False) for _ in range(250)])
    with pytest.raises(ProxyError, match="overflows"):
        gather(net, torch.ones(1, 40), collect=["synflow"])


def test_qe_has_the_released_table():
    """The spec's section 4 gives 1.0089, 1.0408 and 1.0408 for 2, 3 and 4 bits."""
    assert [round(gaussian_deviation(b), 4) for b in (2, 3, 4)] == [1.0089, 1.0408, 1.0408]
    assert gaussian_deviation(8) == pytest.approx(math.sqrt(1 + 1 / 12), rel=1e-7)


def test_qe_by_hand():
    """Two resolutions: weights 1 and 6, the first stage's entropy counts in both; the linear layer in none."""
    net = seeded(
        lambda: nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 8, 3, stride=2), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            nn.Linear(8, 3),
        )
    )  # fmt: skip
    statistics = gather(net, images(2), collect=[])
    assert stages_of(statistics.shapes) == [0, 1, None]

    def entropy(bits):
        return math.log(gaussian_deviation(8) * gaussian_deviation(bits))

    expected = (entropy(2) + math.log(4)) + 6 * (entropy(2) + entropy(3) + math.log(8))
    assert scores(statistics, [[2, 3, 8]], "qe")[0] == pytest.approx(expected, rel=1e-12)


def test_ompq_by_hand():
    net = matrix_net([[1.0, 0.0], [0.0, 1.0]])
    net.append(nn.Linear(2, 2, bias=False))
    net[1].weight.data = 3 * torch.eye(2)
    statistics = gather(net, torch.randn(6, 2, generator=torch.Generator().manual_seed(0)), collect=["similarity"])
    # both outputs are the same up to their scale: gamma 1 and 1, theta equal
    assert scores(statistics, [[2, 4]], ompq(3.0))[0] == pytest.approx(3.0)
    gamma = GATHERED.similarity.numpy().sum(1) - 1
    theta = np.exp(-100 * (gamma - gamma.min()))
    assert scores(GATHERED, [[2, 4, 8]], ompq(100))[0] == pytest.approx(theta @ [2, 4, 8] / 3)
    assert theta.max() == 1.0


@given(st.integers(0, 999))
@QUICK
def test_cka_identities(seed):
    """Kornblith et al. (2019), section 2: invariant under rotation, scale and shift of the features."""
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.randn(9, 4, generator=generator), torch.randn(9, 2, 3, generator=generator)
    rotation = torch.linalg.qr(torch.randn(4, 4, generator=generator, dtype=torch.float64)).Q
    similarity = linear_cka([x, 5 * x.double() @ rotation + 3, y])
    assert float(similarity[0, 1]) == pytest.approx(1.0, abs=1e-6)
    torch.testing.assert_close(similarity, similarity.T)
    assert bool(((similarity >= 0) & (similarity <= 1)).all())
    a, b = x.double() - x.double().mean(0), (y.double() - y.double().mean(0)).flatten(1)
    direct = (b.T @ a).norm() ** 2 / ((a.T @ a).norm() * (b.T @ b).norm())
    assert float(similarity[0, 2]) == pytest.approx(float(direct))


def test_cka_of_orthogonal_and_constant_features():
    x = torch.tensor([[1.0, 0], [-1, 0], [0, 0], [0, 0]])
    y = torch.tensor([[0.0, 0], [0, 0], [1, 0], [-1, 0]])
    assert linear_cka([x, y, torch.ones(4, 2)]).tolist() == torch.eye(3).tolist()


def test_what_does_not_fit_is_refused():
    with pytest.raises(BitConfigError, match="shape"):
        scores(GATHERED, [[2, 3]])
    with pytest.raises(BitConfigError, match="unknown layer 'head'"):
        score(small_net(), {"conv1": 2, "conv2": 2, "fc": 2, "head": 2}, images(2))
    few = gather(small_net(), images(2), collect=["gradients"])
    with pytest.raises(MissingStatisticError, match="hessian_trace"):
        scores(few, [[2, 3, 4]], "hawq_v2")
    with pytest.raises(MissingStatisticError, match="no quantization errors for 5 bits"):
        scores(GATHERED, [[2, 3, 5]], "hawq_v2")
    with pytest.raises(ProxyError, match="scores a model"):
        scores(GATHERED, [[2, 3, 4]], "tests.proxies.test_registry:count_bits")
