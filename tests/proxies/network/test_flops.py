"""FLOPs in the convention of the NAS-Bench-201 tables."""

from __future__ import annotations

import torch
from torch import nn

from proxies.network import score
from tests.proxies.network.networks import batch


class Stage(nn.Module):
    """One ReLU-convolution-norm, a pooling and a global mean as a function or a module."""

    def __init__(self, pool: nn.Module | None) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(2, 6, 3, padding=1, groups=2), nn.BatchNorm2d(6)
        self.small, self.pool, self.classifier = nn.AvgPool2d(3, 1, 1), pool, nn.Linear(6, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.small(self.norm(self.conv(torch.relu(x))))
        x = x.mean(dim=(2, 3)) if self.pool is None else self.pool(x).flatten(1)
        return self.classifier(x)


def test_each_kind_of_operation_counts_as_in_the_tables():
    relu, conv, norm, pool = 2 * 64, 6 * 64 * (9 + 1), 2 * 6 * 64, 9 * 6 * 64
    mean, linear = 6 * 9 * 9, 30
    for kind in (None, nn.AdaptiveAvgPool2d(1)):
        found = score(Stage(kind), batch(4, (2, 8, 8)), ["flops"])
        assert found["flops"] == relu + conv + norm + pool + mean + linear


def test_a_sample_costs_the_same_in_any_batch_and_pass():
    model = Stage(None)
    alone = score(model, batch(4, (2, 8, 8)), ["flops"])
    for count in (5, 8):
        assert score(model, batch(count, (2, 8, 8)), ["flops", "swap"])["flops"] == alone["flops"]


def test_the_empty_network_of_nas_bench_201_has_the_published_number():
    def reduction(inputs: int) -> list[nn.Module]:
        outputs = 2 * inputs
        return [
            nn.ReLU(), nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), nn.BatchNorm2d(outputs),
            nn.ReLU(), nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs),
        ]  # fmt: skip

    class Residual(nn.Module):
        def __init__(self, inputs: int) -> None:
            super().__init__()
            self.path = nn.Sequential(*reduction(inputs))
            self.shortcut = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(inputs, 2 * inputs, 1, bias=False))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.path(x) + self.shortcut(x)

    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), Residual(16), Residual(32),
        nn.BatchNorm2d(64), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip
    found = score(model, batch(2, (3, 32, 32)), ["flops", "params"])
    # idx 1651 of NAS-Bench-201 ("none" on every edge), NAS-Bench-Suite-Zero's table: 7.943872 M, 73,306
    assert found == {"flops": 7_943_872.0, "params": 73_306.0}


def test_products_of_matrices_count_their_multiply_accumulates():
    class Product(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(6, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            pairs = x[:, :, None] @ x[:, None, :]
            return self.layer(torch.matmul(pairs, x[:, :, None])[:, :, 0])

    assert score(Product(), batch(4, (6,)), ["flops"])["flops"] == 36 * 1 + 6 * 6 + 24
