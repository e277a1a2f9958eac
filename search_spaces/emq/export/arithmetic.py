"""Parts of an exported proxy: its operators, on matrices in float64; a number is a matrix (1, 1).

An export holds those that it uses, word for word. They compute what `search_spaces/emq/arithmetic.py` (mode
"corrected") and `search_spaces/emq/released.py` (`released_...`) compute: tests hold them to it. `width` is the number
of columns of the whole matrix, of which x is a sample.
"""

from __future__ import annotations

import torch
from torch import Tensor


def total(x: Tensor) -> Tensor:
    """The sum as a matrix of one element."""
    return x.sum().reshape(1, 1)


def mean(x: Tensor) -> Tensor:
    """The mean as a matrix of one element."""
    return x.mean().reshape(1, 1)


def log(x: Tensor) -> Tensor:
    """ln(x + 1e-9); 0 for x <= 0."""
    return torch.where(x > 0, x + 1e-9, 1.0).log()


def abslog(x: Tensor) -> Tensor:
    """ln |x|; 0 for 0."""
    return torch.where(x == 0, 1.0, x.abs()).log()


def invert(x: Tensor) -> Tensor:
    """1 / x, kept finite."""
    return torch.where(x < 0, -1.0, 1.0).to(x) / (x.abs() + 1e-9)


def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + e^-x)."""
    return 1.0 / (1.0 + torch.exp(-x))


def sqrt(x: Tensor) -> Tensor:
    """Of what is positive; 0 elsewhere."""
    return x.clamp(min=0).sqrt()


def mish(x: Tensor) -> Tensor:
    """x tanh(ln(1 + e^x))."""
    return x * torch.tanh(torch.logaddexp(torch.zeros_like(x), x))


def variance(x: Tensor) -> Tensor:
    """Over all elements, with n - 1; 0 for one element, and where the deviation is rounding."""
    found = total((x - mean(x)).square()) / max(x.numel() - 1, 1)
    return torch.where(found.sqrt() <= 1e-12 * x.abs().max(), 0.0, found)


def normalize(x: Tensor) -> Tensor:
    """(x - mean) / standard deviation; 0 where all are equal, but for rounding."""
    deviation = variance(x).sqrt()
    usable = (deviation > 0) & (x.numel() > 1)
    return torch.where(usable, (x - mean(x)) / torch.where(usable, deviation, 1.0), 0.0)


def min_max(x: Tensor) -> Tensor:
    """(x - min) / (max - min); 0 where all are equal, but for rounding."""
    span = (x.max() - x.min()).reshape(1, 1)
    flat = (span <= 1e-12 * x.abs().max()) & span.isfinite()
    return torch.where(flat, 0.0, (x - x.min()) / torch.where(flat, 1.0, span))


def frobenius_norm(x: Tensor, elements: int) -> Tensor:
    """Of the whole matrix, from its sample."""
    return (mean(x * x) * elements).sqrt()


def whole_sum(x: Tensor, elements: int) -> Tensor:
    """Of the whole matrix, from its sample."""
    return mean(x) * elements


def softmax_rows(x: Tensor) -> Tensor:
    """Over the rows, each column alone."""
    powers = torch.exp(x - x.amax(0, keepdim=True))
    return powers / powers.sum(0, keepdim=True)


def logsoftmax_rows(x: Tensor) -> Tensor:
    """Over the rows, each column alone."""
    shifted = x - x.amax(0, keepdim=True)
    return shifted - shifted.exp().sum(0, keepdim=True).log()


def logsoftmax_columns(x: Tensor) -> Tensor:
    """Over the columns, each row alone."""
    shifted = x - x.amax(1, keepdim=True)
    return shifted - shifted.exp().sum(1, keepdim=True).log()


def row_sum(x: Tensor, width: int) -> Tensor:
    """One number a row: the sum over the whole row, from its sample."""
    return x.sum(1, keepdim=True) * (width / x.shape[1])


def products(a: Tensor, b: Tensor, width: int) -> Tensor:
    """a b^T of the whole matrices, from their samples."""
    return (a @ b.T) * (width / a.shape[1])


def p_dist(x: Tensor, width: int) -> Tensor:
    """Euclidean distances of all pairs of rows, one a row of the result."""
    first, second = torch.triu_indices(len(x), len(x), 1)
    if not len(first):
        return torch.zeros(1, 1, dtype=x.dtype)
    return (x[first] - x[second]).square().sum(1, keepdim=True).sqrt() * (width / x.shape[1]) ** 0.5


def slogdet(x: Tensor) -> Tensor:
    """ln |det(x x^T / columns + 1e-6 I)|."""
    gram = x @ x.T / x.shape[1] + 1e-6 * torch.eye(len(x), dtype=x.dtype)
    return torch.linalg.slogdet(gram)[1].reshape(1, 1)


def nearest(x: Tensor) -> Tensor:
    """Whole numbers; halves upwards, and what is a half but for rounding."""
    return torch.floor(x + (0.5 + 1e-9))


def on_bits(x: Tensor, bits: int) -> Tensor:
    """x at the nearest of 2^bits evenly spaced points over its range, 0 among them."""
    low, high = x.min().clamp(max=0), x.max().clamp(min=0)
    most = 2.0**bits - 1
    step = (high - low) / most
    if not step > 0:
        return x
    zero = nearest(-low / step)
    return ((nearest(x / step) + zero).clamp(0, most) - zero) * step


def bits_error(x: Tensor, bits: int) -> Tensor:
    """What `on_bits` changes; 0 where that is rounding."""
    error = on_bits(x, bits) - x
    return torch.where(error.abs() <= 1e-12 * x.abs().max(), 0.0, error)


def hamming_distance(a: Tensor, b: Tensor) -> Tensor:
    """Share of elements whose signs differ."""
    return mean((a.sign() != b.sign()).double())


def pairwise_distance(a: Tensor, b: Tensor, width: int) -> Tensor:
    """Mean over the rows of their Euclidean distance."""
    gap = a - b
    return mean((gap * gap).sum(1).sqrt()) * (width / gap.shape[1]) ** 0.5


def kl_divergence(a: Tensor, b: Tensor) -> Tensor:
    """Mean over the rows of KL(softmax(a) || softmax(b))."""
    a, b = torch.broadcast_tensors(a, b)
    log_p, log_q = logsoftmax_columns(a), logsoftmax_columns(b)
    return mean((log_p.exp() * (log_p - log_q)).sum(1))


def cosine_similarity(a: Tensor, b: Tensor) -> Tensor:
    """Mean over the rows."""
    a, b = torch.broadcast_tensors(a, b)
    norms = (a * a).sum(1).sqrt() * (b * b).sum(1).sqrt()
    return mean((a * b).sum(1) / norms.clamp(min=1e-9))


def released_normalize(x: Tensor) -> Tensor:
    """(x - mean) / standard deviation; 0 where that is no number."""
    z = (x - mean(x)) / released_variance(x).sqrt()
    return torch.where(z.isnan(), 0.0, z)


def released_min_max(x: Tensor) -> Tensor:
    """(x - min) / (max - min + 1e-9)."""
    return (x - x.min()) / (x.max() - x.min() + 1e-9)


def released_variance(x: Tensor) -> Tensor:
    """With n - 1: of one number none."""
    return total((x - mean(x)).square()) / torch.tensor(x.numel() - 1.0, dtype=x.dtype)


def released_mean(x: Tensor) -> Tensor:
    """sum / (n + 1e-9)."""
    return total(x) / (x.numel() + 1e-9)
