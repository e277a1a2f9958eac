"""Weights with learned rounding for a whole table: AdaRound once for each (layer, bits), against the float layer.

The table's configurations combine them, so that the cost is layers times choices, not rows times layers. Each layer
is given the float network's activations, since what runs before it differs from row to row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from proxies.quantization import adaround, quantizable, quantized
from search_spaces.emq.benchmark.files import read_arrays, write_arrays
from search_spaces.emq.benchmark.measuring import Protocol, calibration_rows


@dataclass(frozen=True, slots=True)
class Rounding:
    """Settings of `proxies.quantization.adaround`, and the training images it looks at."""

    iterations: int = 300
    images: int = 256
    batch: int = 64
    seed: int = 0


def learned_weights(
    model: nn.Module,
    train: Tensor,
    protocol: Protocol,
    rounding: Rounding,
    checkpoint: Path,
    identity: str,
    progress: Callable[[int, int], None],
) -> dict[tuple[str, int], Tensor]:
    """Each layer's weight at each choice with learned rounding; kept layer by layer, gone on with after a kill.

    Args:
        model: the float network.
        train: training images.
        protocol: choices and layers.
        rounding: how.
        checkpoint: the file to keep them in.
        identity: of everything they depend on; what was kept under another is not used.
        progress: called with layers done and all layers.

    Raises:
        DamagedBenchmarkError: the checkpoint is damaged.
    """
    meta = {"identity": identity, "rounding": asdict(rounding)}
    arrays: dict[str, np.ndarray] = {}
    if checkpoint.is_file():
        kept, kept_meta = read_arrays(checkpoint)
        del kept_meta["checksum"]
        arrays = kept if kept_meta == meta else {}
    names = list(quantizable(model, protocol.layers))
    images = train[calibration_rows(len(train), rounding.images, rounding.seed)]
    for place, name in enumerate(names):
        progress(place, len(names))
        if f"{name}/{protocol.choices[-1]}" in arrays:
            continue
        for bits in protocol.choices:
            nearest = quantized(model, {name: bits}, None, layers=[name])
            result = adaround(
                model, nearest, images, iterations=rounding.iterations, batch_size=rounding.batch, seed=rounding.seed
            )
            layer = result.model.get_submodule(name)
            arrays[f"{name}/{bits}"] = layer.weight.detach().numpy().copy()
        write_arrays(checkpoint, arrays, meta)
    progress(len(names), len(names))
    return {(name, bits): torch.from_numpy(arrays[f"{name}/{bits}"]) for name in names for bits in protocol.choices}
