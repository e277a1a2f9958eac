"""The networks of the held-out tasks: plain modules, made without touching torch's global generator."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EMBEDDING_SCALE = 0.02


class Block(nn.Module):
    """A pre-norm transformer block: attention, then a two-layer perceptron of twice the width.

    Args:
        width: of the residual stream.
        heads: of the attention; divides `width`.
        causal: whether a position sees only those before it and itself.
    """

    def __init__(self, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.before_attention, self.before_perceptron = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attend, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.widen, self.narrow = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self._heads, self._causal = heads, causal

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        parts = self.attend(self.before_attention(x)).view(batch, tokens, 3, self._heads, width // self._heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=self._causal)
        x = x + self.project(mixed.transpose(1, 2).reshape(batch, tokens, width))
        return x + self.narrow(F.gelu(self.widen(self.before_perceptron(x))))


class VisionTransformer(nn.Module):
    """(n, 28, 28) images -> (n, classes) logits: 16 patches of 7 x 7 pixels, blocks, the mean over the patches."""

    def __init__(self, width: int, depth: int, heads: int, classes: int = 10) -> None:
        super().__init__()
        self.patches = nn.Linear(49, width)
        self.positions = nn.Parameter(torch.empty(16, width))
        self.blocks = nn.ModuleList(Block(width, heads, causal=False) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        patches = x.view(-1, 4, 7, 4, 7).transpose(2, 3).reshape(-1, 16, 49)
        x = self.patches(patches) + self.positions
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x).mean(dim=1))


class CharacterTransformer(nn.Module):
    """(n, context) int64 characters -> (n, context, vocabulary) logits of the characters that follow."""

    def __init__(self, vocabulary: int, context: int, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.positions = nn.Parameter(torch.empty(context, width))
        self.blocks = nn.ModuleList(Block(width, heads, causal=True) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embedding(x) + self.positions
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


class Perceptron(nn.Module):
    """Dense layers with GELU between them; `sizes` runs from inputs to outputs. The last layer is `head`."""

    def __init__(self, sizes: Sequence[int]) -> None:
        super().__init__()
        *inner, outputs = sizes
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(inner))
        self.head = nn.Linear(inner[-1], outputs)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = F.gelu(layer(x))
        return self.head(x)


class GraphConvolution(nn.Module):
    """Two convolutions over a graph's nodes (Hamilton et al. 2017, GraphSAGE, mean aggregator), then a dense layer.

    (n, 1 + neighbours, 2 x features) -> (n, outputs). A node's first row is its own, the others are its neighbours';
    each row holds a node's features and the mean of its neighbours', which is what the first convolution takes in.
    """

    def __init__(self, features: int, width: int, outputs: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(2 * features, width), nn.Linear(2 * width, width)
        self.head = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.first(x))
        x = torch.cat([x[:, 0], x[:, 1:].mean(dim=1)], dim=-1)
        return self.head(F.gelu(self.second(x)))


def materialise(build: Callable[[], nn.Module], generator: torch.Generator) -> nn.Module:
    """The network that `build` describes, on the CPU in float32, its weights drawn from `generator`.

    Weights of dense layers are normal with variance 1 / inputs (LeCun), embeddings and positions normal with standard
    deviation 0.02, gains one, biases zero.
    """
    with torch.device("meta"):  # torch's own initialisation would draw from the global generator
        network = build()
    network.to_empty(device="cpu")
    with torch.no_grad():
        for module in network.modules():
            for name, parameter in module.named_parameters(recurse=False):
                if name == "bias":
                    parameter.zero_()
                elif isinstance(module, nn.LayerNorm):
                    parameter.fill_(1.0)
                else:
                    dense = isinstance(module, nn.Linear)
                    scale = 1.0 / math.sqrt(parameter.shape[1]) if dense else EMBEDDING_SCALE
                    parameter.normal_(0.0, scale, generator=generator)
    return network


def hidden_matrices(network: nn.Module) -> set[str]:
    """Names of the matrices between the inputs and the output layer: dense layers but the last that was defined.

    Muon is made for these; its author's advice leaves embeddings, the output layer, gains and biases to AdamW.
    """
    dense = [f"{name}.weight" if name else "weight" for name, m in network.named_modules() if isinstance(m, nn.Linear)]
    return set(dense[:-1])
