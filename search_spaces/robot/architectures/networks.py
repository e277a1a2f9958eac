"""Cells as live torch networks: NAS-Bench-201's macro skeleton, full size or reduced.

Dong and Yang, "NAS-Bench-201" (ICLR 2020), section 2: a 3 x 3 stem, three stages of N cells with C, 2C and 4C channels,
a residual block of stride 2 between stages, then batch normalisation, ReLU, global average and a linear layer. A cell
has four nodes; a node is the sum of its incoming edges, each an operation on an earlier node.

Every edge but "none" is computed and has its parameters, also one that never reaches the output, as in the benchmark.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
"""(from, to) of a cell's edges, in the order of the architecture string."""
NODES = 4


@dataclass(frozen=True, slots=True)
class Skeleton:
    """What surrounds the cells.

    Attributes:
        channels: C, of the first stage; each further stage has twice as many.
        cells: N, cells a stage.
        stages: of cells.
        inputs: channels of an image.
        classes: outputs.
        stem_stride: of the first convolution.
    """

    channels: int = 16
    cells: int = 5
    stages: int = 3
    inputs: int = 3
    classes: int = 10
    stem_stride: int = 1


FULL = Skeleton()
"""NAS-Bench-201's: 17 layers of cells and reductions, for 32 x 32 colour images."""
REDUCED = Skeleton(channels=8, cells=1, inputs=1, stem_stride=2)
"""That of the shipped benchmark: one cell a stage, 8, 16 and 32 channels, for grey images of 14 x 14."""


class ReLUConvBN(nn.Module):
    """ReLU, convolution without bias, batch normalisation."""

    def __init__(self, inputs: int, outputs: int, size: int, stride: int = 1) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.conv = nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(self.relu(x)))


OPERATIONS: Mapping[str, Callable[[int], nn.Module]] = {
    "skip_connect": lambda channels: nn.Identity(),
    "nor_conv_1x1": lambda channels: ReLUConvBN(channels, channels, 1),
    "nor_conv_3x3": lambda channels: ReLUConvBN(channels, channels, 3),
    "avg_pool_3x3": lambda channels: nn.AvgPool2d(3, 1, 1, count_include_pad=False),
}
"""What an edge may compute besides "none", by the benchmark's names: a module that keeps channels and size."""


class Cell(nn.Module):
    """Four nodes and up to six edges.

    Args:
        operations: names of the operations on `EDGES`, "none" or of `OPERATIONS`.
        channels: of its input and output.
    """

    def __init__(self, operations: Sequence[str], channels: int) -> None:
        super().__init__()
        self.edges = nn.ModuleDict(
            {
                f"{start}{end}": OPERATIONS[name](channels)
                for (start, end), name in zip(EDGES, operations, strict=True)
                if name != "none"
            }
        )
        self._incoming = [
            [(start, f"{start}{end}") for start, end in EDGES if end == node and f"{start}{end}" in self.edges]
            for node in range(NODES)
        ]

    def forward(self, x: Tensor) -> Tensor:
        nodes = [x]
        for incoming in self._incoming[1:]:
            terms = [self.edges[name](nodes[start]) for start, name in incoming]
            total = terms[0] if terms else torch.zeros_like(x)
            for term in terms[1:]:
                total = total + term
            nodes.append(total)
        return nodes[-1]


class Reduction(nn.Module):
    """The residual block between stages: halves the size and changes the number of channels."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv_a = ReLUConvBN(inputs, outputs, 3, stride=2)
        self.conv_b = ReLUConvBN(outputs, outputs, 3)
        # an odd size is rounded up, as by the convolution; the same as the benchmark's where it is even
        self.shortcut = nn.Sequential(
            nn.AvgPool2d(2, 2, ceil_mode=True, count_include_pad=False), nn.Conv2d(inputs, outputs, 1, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.conv_b(self.conv_a(x)) + self.shortcut(x)


class CellNetwork(nn.Module):
    """A classifier made of copies of one cell.

    Args:
        operations: names of the operations on the cell's edges, in the order of `EDGES`.
        skeleton: what surrounds the cells.
    """

    def __init__(self, operations: Sequence[str], skeleton: Skeleton = FULL) -> None:
        super().__init__()
        channels = skeleton.channels
        self.stem = nn.Sequential(
            nn.Conv2d(skeleton.inputs, channels, 3, skeleton.stem_stride, 1, bias=False), nn.BatchNorm2d(channels)
        )
        self.body = nn.Sequential()
        for stage in range(skeleton.stages):
            if stage:
                self.body.append(Reduction(channels, 2 * channels))
                channels *= 2
            for _ in range(skeleton.cells):
                self.body.append(Cell(operations, channels))
        self.last = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU())
        self.classifier = nn.Linear(channels, skeleton.classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, classes) of images (n, inputs, height, width)."""
        return self.classifier(self.last(self.body(self.stem(x))).mean((2, 3)))


def network(operations: Sequence[str], skeleton: Skeleton = FULL, *, seed: int = 0) -> CellNetwork:
    """A network with torch's default initial weights, drawn from `seed`; the global random state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return CellNetwork(operations, skeleton)
