"""The size of a model and the bit operations of a forward pass: each rule is written once, here.

Two rules. `PLAIN` counts what is quantized: weights, and multiply-accumulates times weight bits times activation bits.
`RELEASED` is the rule behind the published figures of OMPQ and EMQ, which was read off their configurations:
a convolution brings two parameters an output channel with it (its batch normalisation), a linear layer its bias, all
at the layer's own bits; operations are those of 5-bit activations. With it OMPQ's six configurations of ResNet-18
come out 0 to 0.002 MiB under their budgets of 3 to 5.5 MiB.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from proxies.quantization.bits import BitConfig, checked_table
from proxies.quantization.layers import LayerShape

MIB = 8 * 2**20
"""Bits in one MiB."""


@dataclass(frozen=True, slots=True)
class CostRule:
    """What of a layer is counted.

    Attributes:
        channel_parameters: parameters that a convolution brings with each output channel, at its own bits.
        channel_operations: operations that a convolution brings with each output value.
        linear_bias: whether a linear layer's bias counts as parameters.
        linear_operations: operations of one linear weight.
        activation_bits: factor of the bit operations.
    """

    channel_parameters: int = 0
    channel_operations: int = 0
    linear_bias: bool = False
    linear_operations: int = 1
    activation_bits: int = 8

    def parameters(self, layer: LayerShape) -> int:
        """p_l: parameters stored at the layer's bits."""
        if layer.kind == "conv2d":
            return layer.weights + self.channel_parameters * layer.out_channels
        return layer.weights + (layer.biases if self.linear_bias else 0)

    def operations(self, layer: LayerShape) -> int:
        """F_l: operations for one sample."""
        if layer.kind == "conv2d":
            return layer.positions * (layer.weights + self.channel_operations * layer.out_channels)
        return layer.positions * (self.linear_operations * layer.weights + (layer.biases if self.linear_bias else 0))


PLAIN = CostRule()
RELEASED = CostRule(
    channel_parameters=2, channel_operations=5, linear_bias=True, linear_operations=2, activation_bits=5
)


def size_mib(bits: Mapping[str, int], layers: Sequence[LayerShape], rule: CostRule = PLAIN) -> float:
    """Size of the quantized layers: sum_l b_l p_l / 8 / 2^20, in MiB.

    Args:
        bits: layer to weight bits, exactly for these layers.
        layers: from `layer_shapes`.
        rule: what counts as parameters.

    Raises:
        BitConfigError: bits for other layers than these.
    """
    return float(sizes_mib([BitConfig(bits).row([layer.name for layer in layers])], layers, rule)[0])


def sizes_mib(configs: Any, layers: Sequence[LayerShape], rule: CostRule = PLAIN) -> np.ndarray:
    """(n,) float64 in MiB, of configurations (n, layers) whose columns are the layers in order. Exact sums."""
    table = checked_table(configs, [layer.name for layer in layers])
    return _products(table, [rule.parameters(layer) for layer in layers]) / MIB


def giga_bops(bits: Mapping[str, int], layers: Sequence[LayerShape], rule: CostRule = PLAIN) -> float:
    """Bit operations of one sample: sum_l F_l b_l b_activation / 1e9, in units of 10^9. Raises as `size_mib`."""
    return float(all_giga_bops([BitConfig(bits).row([layer.name for layer in layers])], layers, rule)[0])


def all_giga_bops(configs: Any, layers: Sequence[LayerShape], rule: CostRule = PLAIN) -> np.ndarray:
    """(n,) float64 in 10^9, of configurations (n, layers) whose columns are the layers in order. Exact sums."""
    table = checked_table(configs, [layer.name for layer in layers])
    return _products(table, [rule.operations(layer) * rule.activation_bits for layer in layers]) / 1e9


def _products(table: np.ndarray, factors: Sequence[int]) -> np.ndarray:
    # int64 is exact: bits at most 16, and no layer has 2^55 parameters
    return (table @ np.array(factors, np.int64)).astype(np.float64)
