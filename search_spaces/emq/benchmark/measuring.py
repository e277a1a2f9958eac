"""Accuracy of a network under bit configurations: weights rounded once, then only swapped; one calibration a seed.

A layer's rounded weight depends on (layer, bits) alone. What a seed changes is the calibration images: the grids of the
activations come from the float network's activations on them. The quantized network is then exactly the one that
`proxies.quantization.quantized(model, bits, activation_bits, images, seed=seed)` gives.

If asked for, the means and variances of batch normalisations are estimated anew from those images with the rounded
weights in place (Sun et al., "Hybrid 8-bit Floating Point Training and Inference", NeurIPS 2019, section 3.2). On these
networks that lifts a uniform 2 bits from 0.65 to 0.90, and leaves little to tell configurations apart by.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from proxies.quantization import BitConfig, Grid, fit_weight, quantizable, quantized
from proxies.quantization.layers import watched, working_copy
from proxies.quantization.quantizer import input_quantizer, quantized_layers
from search_spaces.emq.benchmark.errors import BenchmarkError
from search_spaces.emq.benchmark.images import Images

CHUNK = 500
"""Test images a forward pass: their activations stay in the processor's cache."""


@dataclass(frozen=True, slots=True)
class Protocol:
    """How a configuration is measured.

    Attributes:
        choices: bits a layer may have.
        activation_bits: of every quantized layer's input.
        calibration: images a seed draws, without replacement, from the training images.
        norms: whether batch normalisations are estimated anew.
        layers: the layers to quantize; None for all Conv2d and Linear.
    """

    choices: tuple[int, ...] = (2, 3, 4, 8)
    activation_bits: int = 8
    calibration: int = 256
    norms: bool = False
    layers: tuple[str, ...] | None = None


Weights = Mapping[tuple[str, int], Tensor]
"""A layer's rounded weight by (name, bits)."""


def nearest_weights(model: nn.Module, protocol: Protocol) -> dict[tuple[str, int], Tensor]:
    """Each layer's weight rounded to nearest at each choice, per channel, with the scales of least squared error."""
    layers = quantizable(model, protocol.layers)
    with torch.no_grad():
        return {
            (name, bits): fit_weight(layer.weight, bits).quantize(layer.weight)
            for name, layer in layers.items()
            for bits in protocol.choices
        }


class Meter:
    """Measures configurations of one network; the network itself is copied and left as it is.

    Args:
        model: the float network.
        images: what to calibrate and test on.
        protocol: how.
    """

    def __init__(self, model: nn.Module, images: Images, protocol: Protocol) -> None:
        self._float = working_copy(model)
        self._model = working_copy(model)
        if images.test.ndim == 4:
            self._model.to(memory_format=torch.channels_last)
        self._layers = in_forward_order(self._model, quantizable(self._model, protocol.layers), images.test[:1])
        norms = [m for m in self._model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
        self._norms = norms if protocol.norms else []
        self._images, self._protocol = images, protocol
        self._grids: dict[int, dict[str, Grid]] = {}
        self._calibration: dict[int, Tensor] = {}
        self.names = tuple(self._layers)

    def float_correct(self) -> int:
        """Test images that the float network gets right."""
        return self._correct(self._float, self._images.test.contiguous())

    def correct(self, bits: Sequence[int], weights: Weights, seed: int) -> int:
        """Test images that the quantized network gets right.

        Args:
            bits: of each layer, in the order of `names`.
            weights: from `nearest_weights`, or learned.
            seed: of the calibration images.
        """
        with self.quantized(bits, weights, seed) as model:
            return self._correct(model, _formatted(self._images.test))

    @contextlib.contextmanager
    def quantized(self, bits: Sequence[int], weights: Weights, seed: int) -> Iterator[nn.Module]:
        """The network with rounded weights and inputs and its batch normalisations estimated anew, while it lasts."""
        grids, images = self._calibrated(seed)
        handles = [layer.register_forward_pre_hook(_rounding(grids[name])) for name, layer in self._layers.items()]
        try:
            with torch.no_grad():
                for (name, layer), b in zip(self._layers.items(), bits, strict=True):
                    layer.weight.copy_(weights[name, int(b)])
                self._estimate_norms(images)
                yield self._model
        finally:
            for handle in handles:
                handle.remove()

    def _calibrated(self, seed: int) -> tuple[dict[str, Grid], Tensor]:
        if seed not in self._grids:
            images = self._images.train[calibration_rows(len(self._images.train), self._protocol.calibration, seed)]
            copied = quantized(
                self._float,
                BitConfig.uniform(self.names, max(self._protocol.choices)),
                self._protocol.activation_bits,
                images,
                layers=self.names,
                seed=seed,
            )
            layers = quantized_layers(copied)
            self._grids[seed] = {name: input_quantizer(layers[name]).grid for name in self.names}
            self._calibration[seed] = _formatted(images)
        return self._grids[seed], self._calibration[seed]

    def _estimate_norms(self, images: Tensor) -> None:
        if not self._norms:
            return
        for norm in self._norms:
            norm.train()
            norm.reset_running_stats()
            norm.momentum = None  # the plain average over calls: here, the one batch
        self._model(images)
        for norm in self._norms:
            norm.eval()

    def _correct(self, model: nn.Module, images: Tensor) -> int:
        labels = self._images.test_labels
        right = 0
        with torch.no_grad():
            for start in range(0, len(labels), CHUNK):
                logits = model(images[start : start + CHUNK])
                right += int((logits.argmax(1) == labels[start : start + CHUNK]).sum())
        return right


def in_forward_order(model: nn.Module, layers: Mapping[str, nn.Module], example: Tensor) -> dict[str, nn.Module]:
    """Layers in the order in which the model first runs them.

    Raises:
        BenchmarkError: one does not run.
    """
    order: dict[str, None] = {}
    with torch.no_grad(), watched(layers, lambda name, _, __: order.setdefault(name)):
        model(example)
    idle = [name for name in layers if name not in order]
    if idle:
        raise BenchmarkError(
            f"{', '.join(idle)} did not run in a forward pass", f"leave them out: --set 'layers={list(order)}'"
        )
    return {name: layers[name] for name in order}


def calibration_rows(available: int, count: int, seed: int) -> np.ndarray:
    """(count,) int64: the training images of a calibration seed, distinct and in a random order."""
    rng = np.random.Generator(np.random.Philox(key=[seed, 0xCA1]))
    return rng.choice(available, min(count, available), replace=False)


def _rounding(grid: Grid) -> Callable[[nn.Module, tuple], tuple]:
    scale = grid.scale.clone()
    low, high = float(grid.low - grid.zero_point), float(grid.high - grid.zero_point)

    def hook(module: nn.Module, args: tuple) -> tuple:
        # `Grid.quantize` in one buffer: the zero point is whole, so that bounds moved by it give the same values
        return (args[0].div(scale).round_().clamp_(low, high).mul_(scale), *args[1:])

    return hook


def _formatted(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last) if images.ndim == 4 else images.contiguous()
