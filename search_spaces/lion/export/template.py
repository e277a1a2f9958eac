"""The text that all exported modules have in common; `$name` is filled in."""

from __future__ import annotations

MODULE = '''\
"""$title

It needs torch alone.

Origin:

$origin

The program as it was found (w: weights; g: gradient; v1, v2: state, zero at first; lr: the schedule's fraction of its
peak; then w <- w - update):

$found
$legend"""

from __future__ import annotations

$imports

import torch
from torch import Tensor
from torch.optim import Optimizer
$sums$helpers

def rule($signature) -> $returns:
    """One step of one tensor: what is subtracted from the weights$then_state.$note"""
$single    $leave $results


def rule_foreach($signature_foreach) -> $returns_foreach:
    """The same for lists of tensors, a kernel a list$fallback."""
$foreach    $leave $results


class Discovered(Optimizer):
    """The rule above as a torch optimizer.

$about

    Args:
$arguments
    """

    SLOTS = $slots
    CONSTANTS = $names

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = $lr,
$parameters        *,
$keywords        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        defaults: dict[str, Any] = {
            "lr": lr,
$defaults            "foreach": foreach,
            "maximize": maximize,
            "capturable": capturable,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)
$warning
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
$first_lr
    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            for name, value in self.defaults.items():
                group.setdefault(name, value)

$load    def step(self, closure: Callable[[], Any] | None = None) -> Any:
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
$step
        return loss

    def _check(self, group: dict[str, Any]) -> None:
        """Raise ValueError for options that make no sense."""
        lr = group["lr"]
        if not hasattr(lr, "__float__"):
            raise ValueError(f"lr is {lr!r}, of type {type(lr).__name__}: it must be a number or a tensor")
        if isinstance(lr, Tensor) and lr.ndim:
            raise ValueError(f"lr has the shape {tuple(lr.shape)}: it must be a number or a tensor without dimensions")
        if not lr >= 0.0:
            raise ValueError(f"lr is {lr}: it must not be negative")
$checks        for name in self.CONSTANTS:
            if not isinstance(group[name], (int, float)) or not math.isfinite(group[name]):
                raise ValueError(f"{name} is {group[name]!r}: it must be a finite number")
$signs        if group["foreach"] and group["differentiable"]:
            raise ValueError("foreach and differentiable exclude each other: list kernels have no gradients")

    def _options(self, group: dict[str, Any]) -> dict[str, Any]:
        """What the rule is given beside tensors."""
$options
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
        """The rule on a part: lists of updates and of new state$generator."""
        columns = [list(column) for column in zip(*(self._inputs(group, p) for p in batch), strict=True)]
        if foreach:
            return rule_foreach(*columns, **self._options(group))
        return rule(*(column[0] for column in columns), **self._options(group))

    def _inputs(self, group: dict[str, Any], p: Tensor) -> list[Tensor]:
        """Weights, gradient and state of a parameter as the rule sees them."""
        if p.grad.is_sparse:
            raise RuntimeError("Discovered does not support sparse gradients, such as those of Embedding(sparse=True)")
$state        tensors = [p, -p.grad if group["maximize"] else p.grad$state_read]
        tensors = [real(x) for x in tensors]
        if p.dtype in HALF:
            tensors = [x.float() for x in tensors]
        # autograd keeps what it was given, and weights and state are about to change in place
        return [x.clone() for x in tensors] if group["differentiable"] else tensors

    def _apply(self, group: dict[str, Any], batch: list[Tensor], foreach: bool, result: Any) -> None:
        """Subtract the updates and keep the new state."""
        weights = [real(p) for p in batch]
        updates, *states = result if foreach else ([x] for x in result)
$decay        if foreach:
            torch._foreach_sub_(weights, updates)
        else:
            weights[0].sub_(updates[0])
$keep$self_test'''

STEP = """\
            for group in self.param_groups:
                batches, foreach = self._batches(group)
                for batch in batches:
                    self._apply(group, batch, foreach, self._run(group, batch, foreach))"""

STEP_COUPLED = """\
            jobs = []
            for group in self.param_groups:
                batches, foreach = self._batches(group)
                jobs += [(group, batch, foreach) for batch in batches]
            rules = [self._run(*job) for job in jobs]
            for job, result in zip(jobs, lockstep(rules, $count), strict=True):
                self._apply(*job, result)"""

REAL = '''\
HALF = (torch.float16, torch.bfloat16)


def capturing() -> bool:
    """Whether a CUDA graph is being captured."""
    return not torch.compiler.is_compiling() and torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()


def real(x: Tensor) -> Tensor:
    """Complex numbers as pairs of real ones, and a lone number as a vector of one."""
    if torch.is_complex(x):
        x = torch.view_as_real(x)
    return x if x.ndim else x.view(1)
'''

SUMS = '''
T = TypeVar("T")
Sums = Generator[list[Tensor], Tensor, T]
"""Yields its tensors' shares of a sum over all tensors, and is sent the sum."""
'''

LOAD = '''\
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As in torch, but that the state of half-precision parameters stays in float32."""
        super().load_state_dict(state_dict)
        numbers = [number for group in state_dict["param_groups"] for number in group["params"]]
        params = [p for group in self.param_groups for p in group["params"]]
        for number, p in zip(numbers, params, strict=True):
            if p.dtype in HALF:
                for slot, value in state_dict["state"].get(number, {}).items():
                    self.state[p][slot] = value.to(p.device, torch.float32, copy=True)

'''

STATE = """\
        state = self.state[p]
        if not state:
            dtype = torch.float32 if p.dtype in HALF else p.dtype
            for slot in self.SLOTS:
                state[slot] = torch.zeros_like(p, dtype=dtype, memory_format=torch.preserve_format)
"""

KEEP = """\
        for slot, values in zip(self.SLOTS, states, strict=True):
            kept = [real(self.state[p][slot]) for p in batch]
            if foreach:
                torch._foreach_copy_(kept, values)
            else:
                kept[0].copy_(values[0])
"""

DECAY = """\
        if group["weight_decay"] != 0.0:
            keep = 1.0 - group["lr"] * group["weight_decay"]
            for x in weights:
                x.mul_(keep)
"""

FIRST_LR = """\
        if "first_lr" not in group:
            lr = group["lr"]
            group["first_lr"] = lr.clone() if isinstance(lr, Tensor) else lr
"""

PEAK = """\
        peak = group["peak_lr"]
        if peak is None:
            peak = group.get("max_lr", group.get("initial_lr", group["first_lr"]))
"""
