"""What is gathered: right, named, sampled evenly, and without a trace on the model."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from evo.errors import ConfigError
from proxies.quantization import fit_weight
from search_spaces.emq.expression import expression
from search_spaces.emq.gathered import read, write
from search_spaces.emq.known import KNOWN
from search_spaces.emq.samples import grid, sampled
from search_spaces.emq.statistics import gather_samples
from search_spaces.emq.tables import Tables
from tests.search_spaces.emq import tiny


@settings(deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(16, 4000))
def test_a_grid_is_even_distinct_and_no_larger_than_asked(rows: int, columns: int, most: int) -> None:
    r, k = grid(rows, columns, most)
    assert 1 <= len(r) * len(k) <= max(most, 1)
    for kept, whole in ((r, rows), (k, columns)):
        assert kept[0] == 0
        assert kept[-1] < whole
        steps = np.diff(kept)
        assert not len(steps) or (steps.min() >= 1 and steps.max() - steps.min() <= 1)
    if rows * columns <= most:
        assert len(r) == rows
        assert len(k) == columns


def test_without_a_limit_everything_is_kept() -> None:
    x = np.arange(12.0).reshape(3, 4)
    assert np.array_equal(sampled(x, None), x)


def whole():  # type: ignore[no-untyped-def]
    return tiny.gathered(None).samples


def layer(word: str, place: int, choice: int = 0) -> np.ndarray:
    samples = whole()
    from search_spaces.emq.operators import INPUTS

    layout = samples.layouts[INPUTS[word].kind]
    row = samples.values[word][choice if len(samples.values[word]) > 1 else 0]
    start = layout.starts[place]
    return row[start : start + layout.sizes[place]].reshape(layout.rows[place], layout.columns[place])


def test_gradients_of_outputs_are_those_of_each_samples_loss() -> None:
    model, (images, labels) = copy.deepcopy(tiny.model()), tiny.batch()
    for i in (0, 7):
        seen: list[torch.Tensor] = []
        handle = model.conv3.register_forward_hook(lambda m, a, out: (seen.append(out), out.clone())[1])  # noqa: B023
        nn.functional.cross_entropy(model(images[i : i + 1]), labels[i : i + 1]).backward(inputs=seen)
        handle.remove()
        np.testing.assert_allclose(layer("output_gradient", 2)[i], seen[0].grad.flatten().numpy(), rtol=1e-4, atol=1e-7)


def test_output_errors_are_what_quantized_weights_change() -> None:
    model, (images, _) = copy.deepcopy(tiny.model()), tiny.batch()
    with torch.no_grad():
        before = model.conv1(images)
        model.conv1.weight.copy_(fit_weight(model.conv1.weight, 2).quantize(model.conv1.weight))
        after = model.conv1(images)
    np.testing.assert_allclose(layer("output_error", 0), (after - before).flatten(1).numpy(), atol=1e-5)
    np.testing.assert_allclose(layer("activation", 0), before.flatten(1).numpy(), atol=1e-6)
    error = (model.conv1.weight - tiny.model().conv1.weight).detach().flatten(1).numpy()
    np.testing.assert_allclose(layer("weight_error", 0), error, atol=1e-7)
    np.testing.assert_allclose(layer("weight_quantized", 0) - layer("weight", 0), layer("weight_error", 0), atol=1e-7)


def test_a_bias_is_no_error() -> None:
    """The linear layer has one; quantizing its weight moves the output by dW x alone."""
    expected = layer("layer_input", 3) @ layer("weight_error", 3, 1).T
    np.testing.assert_allclose(layer("output_error", 3, 1), expected, atol=1e-6)


def test_hawq_v2_in_the_language_is_the_hand_made_one() -> None:
    found = tiny.gathered(None)
    table = Tables(found).table(expression(KNOWN["hawq_v2"]))
    np.testing.assert_allclose(-table, found.handmade["hawq_v2"], rtol=1e-5)


def test_the_square_root_of_bits_and_size_are_in_the_language() -> None:
    found = tiny.gathered(None)
    np.testing.assert_allclose(Tables(found).table(expression(KNOWN["sqrt_bits"])), found.handmade["sqrt_bits"])
    table = Tables(found).table(expression(KNOWN["size"]))
    weights = [54.0, 54.0, 48.0, 40.0]
    np.testing.assert_allclose(table, np.outer(tiny.CHOICES, weights))


def test_the_fisher_weighted_error_is_in_the_language() -> None:
    """sum_l E[sum_j (dL/dz_j dz_j)^2], from its definition."""
    expected = np.array(
        [[((layer("output_gradient", place) * layer("output_error", place, choice)) ** 2).sum(1).mean()
          for place in range(4)] for choice in range(4)]
    )  # fmt: skip
    np.testing.assert_allclose(Tables(tiny.gathered(None)).table(expression(KNOWN["fisher"])), expected, rtol=1e-10)
    first_order = np.array(
        [[((layer("output_gradient", place) * layer("output_error", place, choice)).sum(1) ** 2).mean()
          for place in range(4)] for choice in range(4)]
    )  # fmt: skip
    np.testing.assert_allclose(
        Tables(tiny.gathered(None)).table(expression(KNOWN["first_order"])), first_order, rtol=1e-10
    )


def test_layers_go_by_name() -> None:
    order = ("fc", "conv1", "conv3", "conv2")
    found = gather_samples(tiny.model(), *tiny.batch(), order, tiny.CHOICES, 64, tiny.HESSIAN)
    there, here = Tables(found), Tables(tiny.gathered())
    e = expression(KNOWN["fisher"])
    places = [order.index(name) for name in tiny.LAYERS]
    np.testing.assert_array_equal(there.table(e)[:, places], here.table(e))
    assert found.convolutions == (1, 3, 2), "in the order in which the model registers them"
    for name, table in found.handmade.items():
        np.testing.assert_allclose(table[:, places], tiny.gathered().handmade[name], rtol=1e-6, err_msg=name)


def test_the_model_is_left_as_it_was() -> None:
    model = copy.deepcopy(tiny.model()).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.random.get_rng_state()
    gather_samples(model, *tiny.batch(), tiny.LAYERS, tiny.CHOICES, 64, tiny.HESSIAN)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert model.training
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert all(not m._forward_hooks for m in model.modules())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_what_is_not_finite_is_an_error() -> None:
    model = copy.deepcopy(tiny.model())
    images, labels = tiny.batch()
    with pytest.raises(Exception, match="finite"):
        gather_samples(model, images * float("nan"), labels, tiny.LAYERS, tiny.CHOICES, 64, tiny.HESSIAN)
    assert issubclass(ConfigError, Exception)


def test_a_file_holds_all_of_it(tmp_path) -> None:  # type: ignore[no-untyped-def]
    write(tmp_path / "a.npz", tiny.gathered())
    back, found = read(tmp_path / "a.npz"), tiny.gathered()
    assert back.samples.layers == found.samples.layers
    assert back.samples.choices == found.samples.choices
    assert back.convolutions == found.convolutions
    assert set(back.handmade) == set(found.handmade)
    for word, value in found.samples.values.items():
        assert back.samples.values[word].tobytes() == value.tobytes()
    for kind, layout in found.samples.layouts.items():
        assert np.array_equal(back.samples.layouts[kind].rows, layout.rows)
        assert np.array_equal(back.samples.layouts[kind].width, layout.width)
    assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]


@pytest.mark.parametrize("name", tiny.LAYERS)
def test_changes_of_margin_and_loss_are_first_order(name: str) -> None:
    """Against finite differences: the layer's output moved a little along what quantization changes in it."""
    samples, (images, labels) = tiny.gathered(None).samples, tiny.batch()
    place = tiny.LAYERS.index(name)
    sizes = samples.layouts["output"].sizes
    start = int(samples.layouts["output"].starts[place])
    for bits in range(4):
        flat = samples.values["output_error"][bits, start : start + int(sizes[place])]

        def moved(step: float, flat: np.ndarray = flat) -> torch.Tensor:
            def hook(module: object, given: object, output: torch.Tensor) -> torch.Tensor:
                return output + step * torch.from_numpy(flat).reshape(output.shape)

            double = copy.deepcopy(tiny.model()).double()
            dict(double.named_modules())[name].register_forward_hook(hook)
            with torch.no_grad():
                return double(images.double())

        step = 1e-6
        ahead, behind, here = moved(step), moved(-step), moved(0.0)
        best = here.topk(2, 1).indices

        def margin(logits: torch.Tensor, best: torch.Tensor = best) -> torch.Tensor:
            top = logits.gather(1, best)
            return top[:, 0] - top[:, 1]

        expected = ((margin(ahead) - margin(behind)) / (2 * step)).numpy()
        found = samples.values["margin_change"].reshape(4, 4, 12)[bits, place]
        np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-5)
        loss = [torch.nn.functional.cross_entropy(x, labels, reduction="none") for x in (ahead, behind)]
        expected = ((loss[0] - loss[1]) / (2 * step)).numpy()
        found = samples.values["loss_change"].reshape(4, 4, 12)[bits, place]
        np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-5)
    np.testing.assert_allclose(samples.values["margin"].reshape(4, 12)[place], margin(here).numpy(), rtol=1e-5)
