"""From a model, a budget and a proxy to bits; as JSON; put to the test."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from proxies import BitConfigError
from proxies.errors import ProxyError
from proxies.quantization import config_table, gather, score, scores, size_mib
from proxies.quantization.allocation import (
    Allocation,
    Budget,
    EvolutionOptions,
    InfeasibleBudgetError,
    QuantizeOptions,
    accuracy,
    allocate,
    ends,
    filled_uniform,
    pareto_front,
    problem,
    quantize,
    scorer,
    solve,
    uniform_bits,
    with_estimated_norms,
)
from proxies.registry import ExportedProxy
from tests.proxies.quantization.allocation.cases import listed, shapes
from tests.proxies.quantization.networks import images, small_net

FEW = EvolutionOptions(evaluations=64, population=8)


def every_config(allocation, statistics):
    posed = problem(statistics.shapes, allocation.budget, allocation.choices, allocation.fixed)
    return posed.configs(listed(posed))


@pytest.mark.parametrize("proxy", ["hawq_v2", "ompq", "bit_sum"])
def test_no_configuration_within_the_budget_scores_more(proxy):
    model, batch = small_net(), images(12)
    statistics = gather(model, batch)
    found = allocate(model, "3.3bits", proxy, batch=batch)
    assert found.optimal
    assert (found.method, found.proxy) == ("milp", proxy)
    best = scores(statistics, every_config(found, statistics), proxy).max()
    assert found.score == pytest.approx(best, rel=1e-9)
    assert found.score == score(model, found.bits, batch, proxy)
    assert found.mean_bits <= 3.3
    assert found.size_mib == size_mib(found.bits, statistics.shapes)
    assert allocate(statistics, Budget(mean_bits=3.3), proxy) == found
    evolved = allocate(statistics, Budget(mean_bits=3.3), proxy, method="evolution", evolution=FEW)
    assert evolved.score == found.score
    assert (evolved.method, evolved.optimal, evolved.bound) == ("evolution", False, None)


def test_operations_are_counted_with_the_activation_bits():
    model, batch = small_net(), images(4)
    wide = allocate(model, "4bits", "bit_sum", batch=batch)
    again = allocate(model, Budget(giga_bops=wide.giga_bops / 2), "bit_sum", batch=batch, activation_bits=4)
    assert again.giga_bops <= wide.giga_bops / 2
    assert again.score >= wide.score
    with pytest.raises(InfeasibleBudgetError):
        allocate(model, Budget(giga_bops=wide.giga_bops / 2), "bit_sum", batch=batch, activation_bits=32)


def test_fixed_layers_keep_their_bits_and_layers_left_out_have_none():
    model, batch = small_net(), images(4)
    found = allocate(model, "7bits", "hawq_v2", batch=batch, choices=(2, 4), fixed=ends(["conv1", "conv2", "fc"]))
    assert (found.bits["conv1"], found.bits["fc"]) == (8, 8)
    assert found.bits["conv2"] in (2, 4)
    only = allocate(model, "3bits", "bit_sum", batch=batch, layers=["conv2", "fc"])
    assert set(only.bits) == {"conv2", "fc"}


def a_function(model, bits, batch):
    """No sum: the smallest number of bits counts, then the first layer's."""
    return min(bits.values()) + 0.01 * bits["conv1"] + 0.0 * len(batch)


def test_a_function_of_a_model_is_searched():
    found = allocate(small_net(), "4bits", a_function, batch=images(4), evolution=FEW)
    assert found.method == "evolution"
    assert min(found.bits.values()) == 4
    assert found.proxy == "a_function"
    front = pareto_front(small_net(), a_function, batch=images(4), points=6, evolution=FEW)
    assert [a.size_mib for a in front] == sorted(a.size_mib for a in front)
    assert dict(front[0].bits) == dict.fromkeys(("conv1", "conv2", "fc"), 2)
    with pytest.raises(ProxyError, match="no sum over layers"):
        allocate(small_net(), "4bits", a_function, batch=images(4), method="milp")
    with pytest.raises(ProxyError, match="scores a model"):
        allocate(gather(small_net(), images(4), collect=()), "4bits", a_function)


def exported(broken=0.0):
    weights = {"conv1": 1.0, "conv2": 5.0, "fc": 2.0}

    def table(model, batch, choices, layers):
        return {name: {b: weights[name] * b + (broken if b == 8 else 0.0) for b in choices} for name in layers}

    def score(model, bits, batch):
        return sum(weights[name] * b for name, b in bits.items())

    return ExportedProxy("mine", Path("mine.py"), score, table)


def test_an_exported_proxy_with_a_table_is_solved_exactly():
    found = allocate(small_net(), "4bits", exported(), batch=images(4))
    assert found.method == "milp"
    assert found.score == exported()(None, found.bits, None)
    with pytest.raises(ProxyError, match="sums to"):
        allocate(small_net(), "4bits", exported(broken=0.5), batch=images(4))


def test_an_allocation_goes_through_json(tmp_path):
    found = allocate(small_net(), "1MiB,1GBOPs", "bit_sum", batch=images(2), fixed={"fc": 5})
    assert Allocation.from_json(json.loads(json.dumps(found.to_json(), allow_nan=False))) == found
    assert Allocation.load(found.save(tmp_path / "bits.json")) == found
    point = pareto_front(small_net(), "bit_sum", batch=images(2), points=3)[1]
    assert Allocation.from_json(point.to_json()) == point


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format": "x"}, "no allocation"), ({"bits": {"conv1": 99}}, "99"), ({"score": "high"}, "score"),
        ({"optimal": 1}, "optimal"), ({"budget": {"size": 3}}, "fields"), ({"evaluations": True}, "evaluations"),
    ],
)  # fmt: skip
def test_json_that_is_no_allocation_is_refused(change, says, tmp_path):
    value = allocate(small_net(), "1MiB", "bit_sum", batch=images(2)).to_json() | change
    with pytest.raises(ProxyError, match=says):
        Allocation.from_json(value)


def test_files_that_are_no_allocation_are_refused(tmp_path):
    with pytest.raises(ProxyError, match="cannot read"):
        Allocation.load(tmp_path / "none.json")
    (tmp_path / "text.json").write_text("hello")
    with pytest.raises(ProxyError, match="no JSON"):
        Allocation.load(tmp_path / "text.json")
    (tmp_path / "empty.json").write_text("{}")
    with pytest.raises(ProxyError, match="no allocation"):
        Allocation.load(tmp_path / "empty.json")


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        ({"budget": 3}, ProxyError, "no budget"),
        ({"method": "magic"}, ProxyError, "no method"),
        ({"batch": None}, ProxyError, "on a batch"),
        ({"proxy": "hawq9"}, ProxyError, "hawq9"),
        ({"fixed": {"conv9": 8}}, BitConfigError, "conv9"),
        ({"budget": "1B"}, InfeasibleBudgetError, "smallest possible is 73.5 B"),
    ],
)
def test_requests_that_make_no_sense_are_refused(settings, error, says):
    given = {"budget": "1MiB", "proxy": "bit_sum", "batch": images(2)} | settings
    with pytest.raises(error, match=says):
        allocate(small_net(), given.pop("budget"), given.pop("proxy"), **given)


def test_uniform_bits_are_the_most_that_fit():
    made = shapes([10, 20, 30])
    assert uniform_bits(problem(made, Budget(mean_bits=3.9))) == {"l0": 3, "l1": 3, "l2": 3}
    assert uniform_bits(problem(made, Budget(mean_bits=4))) == {"l0": 4, "l1": 4, "l2": 4}
    assert uniform_bits(problem(made, Budget(mean_bits=3.9), fixed={"l0": 8})) == {"l0": 8, "l1": 3, "l2": 3}
    assert uniform_bits(problem(made, None, fixed={"l0": 8, "l1": 7, "l2": 6})) == {"l0": 8, "l1": 7, "l2": 6}


def test_filled_uniform_bits_spend_what_uniform_ones_leave():
    made = shapes([10, 20, 30])
    assert filled_uniform(problem(made, Budget(mean_bits=3.9))) == {"l0": 4, "l1": 4, "l2": 3}
    assert filled_uniform(problem(made, Budget(mean_bits=3.5))) == {"l0": 4, "l1": 4, "l2": 3}
    assert filled_uniform(problem(made, Budget(mean_bits=3.6), fixed={"l0": 8})) == {"l0": 8, "l1": 3, "l2": 2}
    assert filled_uniform(problem(made, Budget(mean_bits=4))) == {"l0": 4, "l1": 4, "l2": 4}
    assert filled_uniform(problem(made, None)) == {"l0": 8, "l1": 8, "l2": 8}


def test_bits_become_a_quantized_model_whose_accuracy_is_counted():
    model, x = small_net(), images(40)
    labels = model(x).argmax(1)
    assert accuracy(model, x, labels, batch_size=7) == 1.0
    bits = dict.fromkeys(("conv1", "conv2", "fc"), 8)
    fine = quantize(model, bits, x)
    right = (fine(x).argmax(1) == labels).double().mean()
    assert accuracy(fine, x, labels) == pytest.approx(float(right))
    assert accuracy(fine, x, labels) >= 0.9
    rough = quantize(model, dict.fromkeys(bits, 2), x)
    options = QuantizeOptions(adaround=60, finetune=3, batch_size=8, learning_rate=0.02)
    better = quantize(model, dict.fromkeys(bits, 2), x, labels, options)
    loss = torch.nn.functional.cross_entropy
    with torch.no_grad():
        assert loss(better(x), labels) < loss(rough(x), labels)
    some = quantize(model, {"conv2": 8}, x)
    assert type(some.conv1) is torch.nn.Conv2d  # what has no bits stays float
    assert torch.equal(some.conv1.weight, model.conv1.weight)


def test_what_cannot_be_measured_is_refused():
    model, x = small_net(), images(4)
    with pytest.raises(ProxyError, match="needs labels"):
        quantize(model, dict.fromkeys(("conv1", "conv2", "fc"), 4), x, options=QuantizeOptions(finetune=1))
    with pytest.raises(ProxyError, match="labels for"):
        accuracy(model, x, torch.zeros(3, dtype=torch.long))
    with pytest.raises(ProxyError, match="classifiers"):
        accuracy(model.conv1, x, torch.zeros(4, dtype=torch.long))
    with pytest.raises(ProxyError, match="0 or more"):
        QuantizeOptions(adaround=-1)


def test_the_model_is_left_as_it_is():
    model, x = small_net().train(), images(8)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = allocate(model, "4bits", "hawq_v2", batch=x)
    accuracy(quantize(model, found.bits, x), x, torch.zeros(8, dtype=torch.long))
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_a_scorer_names_its_columns():
    found = scorer(small_net(), "sqrt_bits", images(2))
    configs = config_table([{"conv1": 2, "conv2": 4, "fc": 9}], found.names)
    assert found.scores(configs) == pytest.approx([2**0.5 + 2 + 3])
    assert found.table((4, 9)) == pytest.approx(np.array([[2, 3]] * 3))


def test_the_solver_prints_nothing():
    # HiGHS prints a line by C's printf where it repairs a solution; JSON on standard output must stay alone
    code = (
        "import numpy as np\n"
        "from tests.proxies.quantization.allocation.cases import shapes\n"
        "from proxies.quantization.allocation import Budget, problem, solve\n"
        "print('first')\n"
        "for seed in range(8):\n"
        "    rng = np.random.default_rng(seed)\n"
        "    table = -np.outer(10 ** rng.uniform(-3, 1, 53), [1, .25, .06, .001]) * rng.uniform(.9, 1.1, (53, 4))\n"
        "    solve(problem(shapes((10 ** rng.uniform(2, 6, 53)).astype(int).tolist()), Budget(mean_bits=3.1)), table)\n"
        "print('last')\n"
    )
    root = Path(__file__).resolve().parents[4]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout == "first\nlast\n"


def test_solutions_do_not_depend_on_the_scale_of_the_scores():
    posed = problem(shapes([3, 5, 9, 2]), Budget(mean_bits=4))
    table = np.random.default_rng(0).standard_normal((4, 4))
    places = solve(posed, table).places
    for scale in (1e-200, 1e200):
        assert (solve(posed, table * scale).places == places).all()


def test_batch_normalisations_are_estimated_anew_on_a_copy():
    model, x = small_net(), images(30)
    made = with_estimated_norms(model, x)
    seen = model.conv1(x)
    assert torch.allclose(made.norm.running_mean, seen.mean((0, 2, 3)), atol=1e-5)
    assert torch.allclose(made.norm.running_var, seen.var((0, 2, 3)), rtol=1e-4)
    assert made.norm.momentum == model.norm.momentum
    assert not made.training
    assert torch.equal(model.norm.running_mean, small_net().norm.running_mean)
    kept = quantize(model, dict.fromkeys(("conv1", "conv2", "fc"), 2), x, options=QuantizeOptions(batch_norm=False))
    assert torch.equal(kept.norm.running_mean, model.norm.running_mean)
    again = quantize(model, dict.fromkeys(("conv1", "conv2", "fc"), 2), x)
    assert not torch.equal(again.norm.running_mean, model.norm.running_mean)
