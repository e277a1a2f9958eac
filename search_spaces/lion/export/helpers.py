"""Functions that an exported module may need, as source; a module gets those that its rule calls."""

from __future__ import annotations

import re

HELPERS: dict[str, str] = {
    "scalar": '''\
def scalar(x: float | Tensor) -> Tensor:
    """A number as a tensor."""
    return x if isinstance(x, Tensor) else torch.tensor(x, dtype=torch.float64)
''',
    "guarded": '''\
def guarded(x: float | Tensor, eps: float) -> float | Tensor:
    """A divisor, pushed away from zero to the side on which it lies."""
    if isinstance(x, Tensor):
        return torch.where(x < 0, x - eps, x + eps)
    return x - eps if x < 0 else x + eps
''',
    "divide": '''\
def divide(x: float | Tensor, y: Tensor, eps: float) -> Tensor:
    """x / y. Of a plain x, torch would make x * (1 / y), which rounds twice."""
    return scalar(x) / guarded(y, eps)
''',
    "power": '''\
def power(x: float | Tensor, y: float | Tensor) -> Tensor:
    """x to the power y; NaN where that is not real. In full shape: torch treats single exponents in ways of its own."""
    x, y = scalar(x), scalar(y)
    dtype = torch.result_type(x, y)
    x, y = torch.broadcast_tensors(x.to(dtype), y.to(dtype))
    return torch.pow(x.contiguous(), y.contiguous())
''',
    "exp10": '''\
def exp10(x: float | Tensor) -> Tensor:
    """10 to the power x."""
    x = scalar(x)
    return torch.pow(torch.full_like(x, 10.0), x)
''',
    "cube_root": '''\
def cube_root(x: float | Tensor) -> Tensor:
    """The real cube root."""
    x = scalar(x)
    return torch.copysign(x.abs().pow(1 / 3), x)
''',
    "norm": '''\
def norm(x: Tensor) -> Tensor:
    """Euclidean norm of one tensor, in float64."""
    return x.double().square().sum().sqrt()
''',
    "orthogonalize": '''\
def orthogonalize(x: Tensor, eps: float) -> Tensor:
    """Nearly the nearest matrix with orthonormal rows or columns, scaled to elements of about 1 (root mean square).

    Five Newton-Schulz steps as in Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon). More than two
    dimensions are taken as (first, rest). What is no matrix (a bias, a gain) is divided by its root mean square.
    """
    size = norm(x)
    matrix = x.flatten(1) if x.ndim > 1 else x.unsqueeze(1)
    if min(matrix.shape) <= 1:
        return (x.double() / (size / math.sqrt(x.numel()) + eps)).to(x.dtype)
    y = (matrix.double() / (size + eps)).to(x.dtype)
    y = y if y.shape[0] <= y.shape[1] else y.T
    for _ in range(5):
        gram = y @ y.T
        y = 3.4445 * y + (-4.7750 * gram + 2.0315 * (gram @ gram)) @ y
    y = y if matrix.shape[0] <= matrix.shape[1] else y.T
    return (y * math.sqrt(max(y.shape))).reshape(x.shape)
''',
    "inner": '''\
def inner(x: float | Tensor, y: float | Tensor) -> Tensor:
    """One tensor's share of a sum of products, in float64."""
    return (scalar(x).double() * scalar(y).double()).sum()
''',
    "global_norm": '''\
def global_norm(xs: list[Any]) -> Sums[Tensor]:
    """Euclidean norm over all tensors."""
    return torch.sqrt((yield [inner(x, x) for x in xs]))
''',
    "dot": '''\
def dot(xs: list[Any], ys: list[Any]) -> Sums[Tensor]:
    """Sum of products over all tensors."""
    return (yield [inner(x, y) for x, y in zip(xs, ys, strict=True)])
''',
    "cosine_similarity": '''\
def cosine_similarity(xs: list[Any], ys: list[Any], eps: float) -> Sums[Tensor]:
    """Cosine of the angle over all tensors."""
    pairs = [torch.broadcast_tensors(scalar(x).double(), scalar(y).double()) for x, y in zip(xs, ys, strict=True)]
    norms = torch.sqrt((yield [inner(x, x) for x, _ in pairs])) * torch.sqrt((yield [inner(y, y) for _, y in pairs]))
    return (yield [inner(x, y) for x, y in pairs]) / (norms + eps)
''',
    "shrinkage": '''\
def shrinkage(xs: list[Any], bound: float | Tensor, eps: float) -> Sums[Tensor]:
    """The factor that brings the norm over all tensors down to a bound; 1 where it is below."""
    return torch.clamp(scalar(bound) / (torch.sqrt((yield [inner(x, x) for x in xs])) + eps), max=1.0)
''',
    "lockstep": '''\
def lockstep(rules: list[Sums[Any]], sums: int) -> list[Any]:
    """Run the rules of all tensors side by side: where each yields its shares of a sum, each is sent the sum.

    Args:
        rules: they yield `sums` times a list of shares, and last what they have found.
    """
    found = [next(rule) for rule in rules]
    for _ in range(sums):
        shares = [share for part in found for share in part]
        total = torch.stack([share.to(shares[0].device) for share in shares]).sum() if shares else None
        found = [rule.send(total.to(part[0].device)) for rule, part in zip(rules, found, strict=True)]
    return found
''',
}
"""By name, in the order in which they are written."""


def needed(body: str, wanted: set[str]) -> list[str]:
    """Names of the helpers that a body calls, and `wanted` ones, with those that they call, in order."""
    text = "\n".join([body, *(HELPERS[name] for name in wanted)])
    while True:
        more = {name for name in HELPERS if re.search(rf"(?<![\w.]){name}\(", text)} | wanted
        if more == wanted:
            return [name for name in HELPERS if name in wanted]
        wanted = more
        text = "\n".join([body, *(HELPERS[name] for name in wanted)])
