"""What every cell of a space computes inside a network, all at once: operations run once on each distinct input."""

from __future__ import annotations

import torch
from torch import Tensor

from search_spaces.robot.architectures.behaviour import PROBE, OpaquePool, prepared, probe_images
from search_spaces.robot.architectures.networks import network


def every_behaviour(names: tuple[str, ...], *, pooling_is_linear: bool, seed: int = 0) -> Tensor:
    """(cells, outputs) float64, cells by number (the first edge's operation is the first digit)."""
    cell = [name for name in names if name != "none"]
    model = prepared(network([*cell, *["none"] * (6 - len(cell))], PROBE), seed)
    modules = dict(zip(cell, model.body[0].edges.values(), strict=True))
    if not pooling_is_linear and "avg_pool_3x3" in modules:
        modules["avg_pool_3x3"] = OpaquePool(modules["avg_pool_3x3"])
    with torch.no_grad():
        x = model.stem(probe_images(seed))

        def all_of(node: Tensor) -> Tensor:
            """(operations, n, ...) of (n, ...): what an edge from each variant of a node may give."""
            flat = node.flatten(0, 1)
            parts = [torch.zeros_like(flat) if name == "none" else modules[name](flat) for name in names]
            return torch.stack(parts).unflatten(1, node.shape[:2])

        k = len(names)
        from_0 = all_of(x[None])[:, 0]
        first = from_0  # (01)
        from_1 = all_of(first)  # (13 or 12, 01)
        # the order of sums is that of the edges, as in a cell: 02 then 12
        second = from_0[:, None, None] + from_1[None].transpose(1, 2)  # (02, 01, 12)
        second = second.transpose(0, 1).flatten(0, 2)  # (01 02 12)
        from_2 = all_of(second).unflatten(1, (k, k, k))  # (23, 01, 02, 12)
        third = from_0[None, None, None, :, None] + from_1.transpose(0, 1)[:, None, None, None, :]  # (01, ., ., 03, 13)
        third = third[..., None, :, :, :, :] + from_2.movedim(0, 3)[:, :, :, None, None]
        flat = third.flatten(0, 5)  # (cells, images, c, h, w)
        outputs = model.classifier(model.last(flat.flatten(0, 1)).mean((2, 3)))
    return outputs.unflatten(0, flat.shape[:2]).flatten(1)
