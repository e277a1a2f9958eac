"""An optimizer found by evolutionary program search.

It needs torch alone.

Origin:

    run: lion-20261123-214502-3509
    candidate: 13191
    space: lion
    seed: 2026
    refinement 1: 32 leaders evaluated again on the search's tasks under 4 fresh seeds; the best 16 enter the funnel
        (first of them now: candidate 17541, place 18 in the search)
    refinement 2: 16 programs on fashion_mlp_10x, fashion_conv_10x, transformer_10x: 16 beat tuned AdamW, the best 4
        go on
    refinement 3: 4 on fashion_mlp_100x, transformer_100x; by meta-validation over all these tasks: candidate 13191
        (0.890 of AdamW's loss), candidate 13015 (0.892 of AdamW's loss)
    refinement 4: Meta-overfitting from candidate 2865 on: meta-validation was best at candidate 2865, and the last
        best of the search (candidate 13401) stands +2.4 % (95 % interval +1.1 % to +3.2 %, 4 fresh seeds) from it,
        while the search's fitness went on improving from 0.6753 to 0.6345.
    refinement 5: constants of 2 finalists and of AdamW by CMA-ES, 8 generations: candidate 13191 loss x 0.991
        (0.987 to 0.995) on the tasks tuned on, 0.879 after 0.906 in meta-validation: kept; candidate 13015 loss x
        0.996 (0.993 to 0.999) on the tasks tuned on, 0.882 after 0.893 in meta-validation: kept; AdamW, tuned loss
        x 0.975 (0.969 to 0.981) on the tasks tuned on, 1.027 after 1.000 in meta-validation: not kept
    refinement 6: chosen by meta-validation on fresh seeds: candidate 13191, 0.879 of tuned AdamW's loss
    refinement 7: simplified from 5 to 4 statements; 4 of 19 rewrites stood their tests (3 paired tests, on fresh
        seeds each); all together: loss x 0.9239 on 32 more seeds, 0.993 (0.987 to 1.000) on the selection tasks
    refinement 8: on fashion_mlp_100x, transformer_100x and fresh seeds the result is better than tuned AdamW: loss
        x 0.929 (0.917 to 0.945)
    versions: python 3.11.7, platform Linux-6.18.44-fc-v669-x86_64-with-glibc2.36, evo-search 0.1.0, numpy 2.4.6,
        torch 2.13.0+cpu, ray 2.60.0, xxhash 4.1.0, optuna 5.0.0, deap 1.4.4
    commit: c55b6bfa04a93d4f33503c57e09ff949605f5ebd+dirty

The program as it was found (w: weights; g: gradient; v1, v2: state, zero at first; lr: the schedule's fraction of its
peak; then w <- w - update):

    v1 = interp(g, v1, 0.8)
    update = orthogonalize(v1)
    rate = mul(lr, 0.004)
    update = mul(update, rate)

where

    interp(x, y, a) = (1 - a) x + a y
    orthogonalize(x): Muon's Newton-Schulz steps on matrices
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

HALF = (torch.float16, torch.bfloat16)


def capturing() -> bool:
    """Whether a CUDA graph is being captured."""
    return not torch.compiler.is_compiling() and torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()


def real(x: Tensor) -> Tensor:
    """Complex numbers as pairs of real ones, and a lone number as a vector of one."""
    if torch.is_complex(x):
        x = torch.view_as_real(x)
    return x if x.ndim else x.view(1)


def norm(x: Tensor) -> Tensor:
    """Euclidean norm of one tensor, in float64."""
    return x.double().square().sum().sqrt()


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


def rule(
    w: Tensor,
    g: Tensor,
    v1: Tensor,
    *,
    lr: float | Tensor,
    eps: float,
    beta: float,
) -> tuple[Tensor, Tensor]:
    """One step of one tensor: what is subtracted from the weights, then the new state."""
    v1 = (1.0 - beta) * g + beta * v1  # interp(g, v1, 0.8)
    update = orthogonalize(v1, eps)
    update = update * lr
    return update, v1


def rule_foreach(
    w: list[Tensor],
    g: list[Tensor],
    v1: list[Tensor],
    *,
    lr: float | Tensor,
    eps: float,
    beta: float,
) -> tuple[list[Tensor], list[Tensor]]:
    """The same for lists of tensors, a kernel a list; tensor by tensor where torch has no such kernel."""
    v1 = torch._foreach_add(torch._foreach_mul(g, 1.0 - beta), torch._foreach_mul(v1, beta))
    update = [orthogonalize(x, eps) for x in v1]
    update = torch._foreach_mul(update, lr)
    return update, v1


class Discovered(Optimizer):
    """The rule above as a torch optimizer.

    `lr` is the learning rate as in any torch optimizer: it multiplies the update, schedulers change it, and its
    default is the rate that was found.

    The rule has no weight decay of its own. `weight_decay` adds that of AdamW (weights times 1 - lr * weight_decay)
    and is off by default.

    State has the parameters' dtype, but float32 for float16 and bfloat16 ones, whose arithmetic is done in float32
    too. Complex parameters count as pairs of real numbers.

    `OneCycleLR` and `CyclicLR` need `cycle_momentum=False`: no option is called momentum or betas.

    Note: orthogonalize looks at whole tensors, one at a time. Sharded or flattened parameters (FSDP, ZeRO) would
    change what is computed.

    Args:
        params: parameters, (name, parameter) pairs, or groups; every option can be set by group.
        lr: see above; a number, or a tensor without dimensions, for steps that are compiled or captured.
        beta: weight of the old `v1` in its average with the gradient; outside [0, 1] it extrapolates.
        weight_decay: decoupled, times `lr`; no part of the rule as found.
        eps: keeps divisors from zero.
        foreach: step lists of tensors at once. None: if all are on a CUDA device.
        maximize: climb instead of descend.
        capturable: allow capture in a CUDA graph, which keeps lr for good unless it is a tensor.
        differentiable: let gradients pass through the step; excludes foreach.
    """

    SLOTS = ("v1",)
    CONSTANTS = ("beta", "weight_decay", "eps")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 0.004,
        beta: float = 0.8,
        weight_decay: float = 0.0,
        eps: float = 1e-08,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        defaults: dict[str, Any] = {
            "lr": lr,
            "beta": beta,
            "weight_decay": weight_decay,
            "eps": eps,
            "foreach": foreach,
            "maximize": maximize,
            "capturable": capturable,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, as in torch; its options are checked like the arguments.

        Raises:
            ValueError: an option is out of its range, or options exclude each other.
        """
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        try:
            self._check(group)
        except ValueError:
            self.param_groups.pop()
            raise

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            for name, value in self.defaults.items():
                group.setdefault(name, value)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As in torch, but that the state of half-precision parameters stays in float32."""
        super().load_state_dict(state_dict)
        numbers = [number for group in state_dict["param_groups"] for number in group["params"]]
        params = [p for group in self.param_groups for p in group["params"]]
        for number, p in zip(numbers, params, strict=True):
            if p.dtype in HALF:
                for slot, value in state_dict["state"].get(number, {}).items():
                    self.state[p][slot] = value.to(p.device, torch.float32, copy=True)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step for every parameter that has a gradient.

        Args:
            closure: computes the loss again, with its gradients, and returns it.

        Returns:
            What the closure returns; None without one.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if not all(group["capturable"] for group in self.param_groups) and capturing():
            raise RuntimeError("a step is captured in a graph only with capturable=True, and lr as a tensor")
        with torch.set_grad_enabled(self.defaults["differentiable"]):
            for group in self.param_groups:
                batches, foreach = self._batches(group)
                for batch in batches:
                    self._apply(group, batch, foreach, self._run(group, batch, foreach))
        return loss

    def _check(self, group: dict[str, Any]) -> None:
        """Raise ValueError for options that make no sense."""
        lr = group["lr"]
        if isinstance(lr, Tensor) and lr.ndim:
            raise ValueError(f"lr has the shape {tuple(lr.shape)}: it must be a number or a tensor without dimensions")
        if not lr >= 0.0:
            raise ValueError(f"lr is {lr}: it must not be negative")
        for name in self.CONSTANTS:
            if not isinstance(group[name], (int, float)) or not math.isfinite(group[name]):
                raise ValueError(f"{name} is {group[name]!r}: it must be a finite number")
        if group["weight_decay"] < 0.0:
            raise ValueError(f"weight_decay is {group['weight_decay']}: it must not be negative")
        if group["eps"] < 0.0:
            raise ValueError(f"eps is {group['eps']}: it must not be negative")
        if group["foreach"] and group["differentiable"]:
            raise ValueError("foreach and differentiable exclude each other: list kernels have no gradients")

    def _options(self, group: dict[str, Any]) -> dict[str, Any]:
        """What the rule is given beside tensors."""
        return {"lr": group["lr"], "beta": group["beta"], "eps": group["eps"]}

    def _batches(self, group: dict[str, Any]) -> tuple[list[list[Tensor]], bool]:
        """The parameters with gradients, in parts that are stepped together, and whether by `rule_foreach`."""
        ready = [p for p in group["params"] if p.grad is not None]
        foreach = group["foreach"]
        if foreach is None:
            plain = all(type(p) in (Tensor, torch.nn.Parameter) and p.is_cuda for p in ready)
            foreach = plain and not group["differentiable"]
        if not foreach:
            return [[p] for p in ready], False
        alike: dict[Any, list[Tensor]] = {}
        for p in ready:
            alike.setdefault((p.device, p.dtype), []).append(p)
        return list(alike.values()), True

    def _run(self, group: dict[str, Any], batch: list[Tensor], foreach: bool) -> Any:
        """The rule on a part: lists of updates and of new state."""
        columns = [list(column) for column in zip(*(self._inputs(group, p) for p in batch), strict=True)]
        if foreach:
            return rule_foreach(*columns, **self._options(group))
        return rule(*(column[0] for column in columns), **self._options(group))

    def _inputs(self, group: dict[str, Any], p: Tensor) -> list[Tensor]:
        """Weights, gradient and state of a parameter as the rule sees them."""
        if p.grad.is_sparse:
            raise RuntimeError("Discovered does not support sparse gradients, such as those of Embedding(sparse=True)")
        state = self.state[p]
        if not state:
            dtype = torch.float32 if p.dtype in HALF else p.dtype
            for slot in self.SLOTS:
                state[slot] = torch.zeros_like(p, dtype=dtype, memory_format=torch.preserve_format)
        tensors = [p, -p.grad if group["maximize"] else p.grad, *(state[slot] for slot in self.SLOTS)]
        tensors = [real(x) for x in tensors]
        if p.dtype in HALF:
            tensors = [x.float() for x in tensors]
        # autograd keeps what it was given, and weights and state are about to change in place
        return [x.clone() for x in tensors] if group["differentiable"] else tensors

    def _apply(self, group: dict[str, Any], batch: list[Tensor], foreach: bool, result: Any) -> None:
        """Subtract the updates and keep the new state."""
        weights = [real(p) for p in batch]
        updates, *states = result if foreach else ([x] for x in result)
        if group["weight_decay"] != 0.0:
            keep = 1.0 - group["lr"] * group["weight_decay"]
            for x in weights:
                x.mul_(keep)
        if foreach:
            torch._foreach_sub_(weights, updates)
        else:
            weights[0].sub_(updates[0])
        for slot, values in zip(self.SLOTS, states, strict=True):
            kept = [real(self.state[p][slot]) for p in batch]
            if foreach:
                torch._foreach_copy_(kept, values)
            else:
                kept[0].copy_(values[0])
