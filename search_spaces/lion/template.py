"""The text of an exported module: what all have in common."""

from __future__ import annotations

HELPERS: dict[str, str] = {
    "scalar": '''\
def scalar(x: Any) -> Tensor:
    """A number as a tensor."""
    return x if isinstance(x, Tensor) else torch.tensor(x, dtype=torch.float64)
''',
    "guarded": '''\
def guarded(x: Any) -> Any:
    """A divisor, pushed away from zero by 1e-8 to the side on which it lies."""
    if isinstance(x, Tensor):
        return torch.where(x < 0, x - 1e-8, x + 1e-8)
    return x + (-1e-8 if x < 0 else 1e-8)
''',
    "divide": '''\
def divide(x: Any, y: Any) -> Any:
    """x / y with a guarded divisor. A plain number over a tensor would be rounded twice, as x * (1 / y)."""
    return (scalar(x) if isinstance(y, Tensor) else x) / guarded(y)
''',
    "power": '''\
def power(x: Any, y: Any) -> Tensor:
    """x to the power y; NaN where that is not real. In full shape: torch treats single exponents in ways of its own."""
    x, y = scalar(x), scalar(y)
    dtype = torch.result_type(x, y)
    x, y = torch.broadcast_tensors(x.to(dtype), y.to(dtype))
    return torch.pow(x.contiguous(), y.contiguous())
''',
    "exp10": '''\
def exp10(x: Any) -> Tensor:
    """10 to the power x."""
    x = scalar(x)
    return torch.pow(torch.full_like(x, 10.0), x)
''',
    "cube_root": '''\
def cube_root(x: Any) -> Tensor:
    """The real cube root."""
    x = scalar(x)
    return torch.copysign(x.abs().pow(1 / 3), x)
''',
    "norm": '''\
def norm(x: Tensor) -> Tensor:
    """Euclidean norm of one tensor, in float64."""
    return x.double().square().sum().sqrt()
''',
    "inner": '''\
def inner(x: Any, y: Any) -> Tensor:
    """This tensor's share of a sum of products, in float64."""
    return (scalar(x).double() * scalar(y).double()).sum()
''',
    "global_norm": '''\
def global_norm(x: Tensor) -> Generator[Tensor, Tensor, Tensor]:
    """Euclidean norm over all tensors."""
    return torch.sqrt((yield inner(x, x)))
''',
    "dot": '''\
def dot(x: Any, y: Any) -> Generator[Tensor, Tensor, Tensor]:
    """Sum of products over all tensors."""
    return (yield inner(x, y))
''',
    "cosine_similarity": '''\
def cosine_similarity(x: Any, y: Any) -> Generator[Tensor, Tensor, Tensor]:
    """Cosine of the angle over all tensors."""
    x, y = torch.broadcast_tensors(scalar(x).double(), scalar(y).double())
    norms = torch.sqrt((yield inner(x, x))) * torch.sqrt((yield inner(y, y)))
    return (yield inner(x, y)) / guarded(norms)
''',
    "clip_by_global_norm": '''\
def clip_by_global_norm(x: Tensor, bound: Any) -> Generator[Tensor, Tensor, Tensor]:
    """x, shrunk where its norm over all tensors is above the bound."""
    share = divide(bound, torch.sqrt((yield inner(x, x))))
    return x * torch.clamp_max(share, 1.0)
''',
    "lockstep": '''\
def lockstep(rules: list[Generator[Tensor, Tensor, tuple[Tensor, ...]]]) -> list[tuple[Tensor, ...]]:
    """Run the rules of all tensors together: where each yields its share of a sum, each is given the sum."""
    total: Any = None
    while True:
        shares, results = [], []
        for rule in rules:
            try:
                shares.append(rule.send(total))
            except StopIteration as finished:
                results.append(finished.value)
        if not shares:
            return results
        total = torch.stack([share.to(shares[0].device) for share in shares]).sum()
''',
}
"""Helper functions by name, in the order in which they are written."""

STEP_PLAIN = """\
        for group in self.param_groups:
            fraction, constants = self._settings(group)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._apply(group, parameter, rule(*self._inputs(group, parameter), fraction, **constants))
        return loss
"""

STEP_COUPLED = """\
        jobs = []
        for group in self.param_groups:
            fraction, constants = self._settings(group)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    running = rule(*self._inputs(group, parameter), fraction, **constants)
                    jobs.append((group, parameter, running))
        results = lockstep([running for _, _, running in jobs])
        for (group, parameter, _), result in zip(jobs, results):
            self._apply(group, parameter, result)
        return loss
"""

MODULE = '''\
"""An optimizer found by evolutionary program search; it needs torch alone.

The rule (w: weights, g: gradient, lr: the schedule's fraction of its peak; w <- w - update):

{rule_text}

where a / b is guarded against zero divisors by 1e-8 and interp(x, y, a) = (1 - a) x + a y.

Origin:

{origin}
"""

from __future__ import annotations

{math}from collections.abc import Callable, {generator}Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
{helpers}

def rule({signature}) -> {returns}:
    """One step of one tensor: what to subtract from the weights, then the new state."""
{body}    return {result}


class Discovered(Optimizer):
    """The rule above as a torch optimizer.
{warning}
    The base learning rate is a constant of the rule. `lr` is what schedulers change: the rule is given `lr` divided by
    the group's first `lr` (`peak_lr`), a fraction that a schedule takes from 1 to 0, and the update is multiplied by
    `peak_lr`. So leave `lr` at 1.0 to train as the search did, with a schedule that falls to zero, and use 0.5 for
    steps of half the size. All constants are options of the parameter groups.

    Args:
        params: tensors, (name, tensor) pairs, or groups.
        lr: scale of the update, see above; a number or a tensor of one.
{meanings}        maximize: climb instead of descend.
    """

    SLOTS = {slots}
    CONSTANTS = {names}

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1.0,
{parameters}        *,
        maximize: bool = False,
    ) -> None:
        if not lr > 0.0:
            raise ValueError(f"lr must be positive, not {{lr}}: it is the peak of the schedule")
        defaults: dict[str, Any] = {{
            "lr": lr,
            "peak_lr": None,
{defaults}            "maximize": maximize,
        }}
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """As in torch; the group's `lr` is taken for the peak of its schedule."""
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        if group["peak_lr"] is None:
            group["peak_lr"] = float(group["lr"])

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            group.setdefault("maximize", False)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step for every parameter that has a gradient.

        Args:
            closure: computes the loss again and returns it.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
{step}
    def _settings(self, group: dict[str, Any]) -> tuple[Any, dict[str, float]]:
        """The schedule's fraction, and the group's constants."""
        return group["lr"] / group["peak_lr"], {{name: group[name] for name in self.CONSTANTS}}

    def _inputs(self, group: dict[str, Any], parameter: Tensor) -> list[Tensor]:
        """Weights, gradient and state, complex ones as pairs of real numbers."""
        gradient = parameter.grad
        if gradient.is_sparse:
            raise RuntimeError("Discovered does not support sparse gradients")
        state = self.state[parameter]
        if not state:
            for slot in self.SLOTS:
                state[slot] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
        tensors = [parameter, -gradient if group["maximize"] else gradient, *(state[slot] for slot in self.SLOTS)]
        return [torch.view_as_real(x) if torch.is_complex(x) else x for x in tensors]

    def _apply(self, group: dict[str, Any], parameter: Tensor, result: tuple[Tensor, ...]) -> None:
        """Subtract the update and keep the new state."""
        update, *states = result
        if group["peak_lr"] != 1.0:
            update = update * group["peak_lr"]
        weights = torch.view_as_real(parameter) if torch.is_complex(parameter) else parameter
        weights.sub_(update)
        for slot, value in zip(self.SLOTS, states):
            kept = self.state[parameter][slot]
            (torch.view_as_real(kept) if torch.is_complex(kept) else kept).copy_(value)
'''
