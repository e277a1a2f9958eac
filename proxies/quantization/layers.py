"""The layers of a model that can be quantized: finding them by name, their shapes and costs, and watching them run.

Everything here leaves the model as it was: what must be changed (mode, gradients, hooks) is changed on a deep copy, and
the global random state is put back.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from proxies.errors import ProxyError, UnsupportedModelError

Batch = Tensor | Sequence[Tensor]
"""The arguments of one call of the model: a tensor (batch, ...), or several of the same first dimension."""

_KINDS = {nn.Conv2d: "conv2d", nn.Linear: "linear"}


@dataclass(frozen=True, slots=True)
class LayerShape:
    """Sizes of one layer, measured in a forward pass.

    Attributes:
        name: its path in the model ("layer1.0.conv1").
        kind: "conv2d" or "linear".
        weights: number of elements of its weight.
        biases: number of elements of its bias (0 without one).
        out_channels: output channels or features.
        positions: how often the weight is applied to one sample: output pixels of all calls, 1 for a plain classifier.
        output_shape: shape of its (first) output for one sample.
    """

    name: str
    kind: str
    weights: int
    biases: int
    out_channels: int
    positions: int
    output_shape: tuple[int, ...]

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one sample, the bias left out."""
        return self.weights * self.positions


def quantizable(model: nn.Module, layers: Iterable[str] | None = None) -> dict[str, nn.Module]:
    """The Conv2d and Linear layers of a model by name, in the order in which the model registers them.

    Args:
        model: any module.
        layers: the names wanted; None for all. The order stays the model's.

    Raises:
        UnsupportedModelError: there is no such layer, a name is none of them, two layers share one weight, or a
            weight is not a plain parameter.
    """
    found = {name: module for name, module in model.named_modules() if name and isinstance(module, tuple(_KINDS))} or {
        name: module for name, module in [("", model)] if isinstance(module, tuple(_KINDS))
    }
    if layers is not None:
        wanted = list(layers)
        unknown = [name for name in wanted if name not in found]
        if unknown:
            known = ", ".join(found) or "none"
            raise UnsupportedModelError(f"no Conv2d or Linear layer is called {', '.join(unknown)}", f"known: {known}")
        found = {name: module for name, module in found.items() if name in set(wanted)}
    if not found:
        raise UnsupportedModelError(
            "the model has no Conv2d or Linear layer", "these are the kinds that can be quantized"
        )
    owners: dict[int, str] = {}
    for name, module in found.items():
        if parametrize.is_parametrized(module, "weight"):
            raise UnsupportedModelError(
                f"the weight of {name} is parametrized", "quantize the original model, or remove the parametrization"
            )
        weight = module._parameters.get("weight")
        if weight is None or isinstance(weight, nn.parameter.UninitializedParameter):
            raise UnsupportedModelError(
                f"the weight of {name} is not a parameter with values",
                "make pruning or weight normalisation permanent, and run lazy modules once",
            )
        if id(weight) in owners:
            raise UnsupportedModelError(
                f"{owners[id(weight)]} and {name} share one weight", "untie them, or leave one out: layers=[...]"
            )
        owners[id(weight)] = name
    return found


def kind_of(module: nn.Module) -> str:
    """ "conv2d" or "linear"."""
    return next(kind for base, kind in _KINDS.items() if isinstance(module, base))


def inputs_of(batch: Batch) -> tuple[Tensor, ...]:
    """The model's arguments as a tuple.

    Raises:
        ProxyError: no tensor, an empty one, or first dimensions that differ.
    """
    inputs = (batch,) if isinstance(batch, Tensor) else tuple(batch)
    if not inputs or not all(isinstance(x, Tensor) and x.ndim for x in inputs):
        raise ProxyError("the batch is no tensor with a first dimension, nor a sequence of such", "give (batch, ...)")
    sizes = {len(x) for x in inputs}
    if len(sizes) > 1 or 0 in sizes:
        raise ProxyError(
            f"the batch's tensors have {sorted(sizes)} samples", "give one sample or more, in each as many"
        )
    return inputs


@contextlib.contextmanager
def isolated(model: nn.Module, seed: int = 0) -> Iterator[None]:
    """Inside: gradients can be taken, whatever the caller's mode; autocast is off; the global generators of torch (CPU,
    and the model's CUDA devices) stand at `seed`. After it, also after an error, the generators are as they were.

    Only a model that draws in evaluation mode ever uses those generators; nothing here does.
    """
    tensors = [*model.parameters(), *model.buffers()]
    devices = sorted({t.device.index or 0 for t in tensors if t.device.type == "cuda"})
    types = {t.device.type for t in tensors if t.device.type in ("cuda", "cpu")} | {"cpu"}
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(devices=devices))
        torch.default_generator.manual_seed(seed)
        for device in devices:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for kind in sorted(types):
            stack.enter_context(torch.autocast(kind, enabled=False))
        yield


def working_copy(model: nn.Module) -> nn.Module:
    """A deep copy in evaluation mode whose parameters ask for no gradient; call it inside `isolated`.

    Raises:
        UnsupportedModelError: the model cannot be copied.
    """
    try:
        copied = copy.deepcopy(model)
    except Exception as error:
        raise UnsupportedModelError(
            f"the model cannot be copied: {type(error).__name__}: {error}",
            "keep tensors with a gradient history, locks and open files out of its attributes",
        ) from error
    copied.zero_grad(set_to_none=True)
    return copied.eval().requires_grad_(False)


@contextlib.contextmanager
def watched(modules: Mapping[str, nn.Module], see: Callable[[str, Tensor, Tensor], None]) -> Iterator[None]:
    """Inside, `see(name, input, output)` is called whenever one of the modules runs; the hooks go at the end.

    The tensors are the live ones, which a later in-place operation may change: clone what is kept.
    """
    handles = []

    def hook_of(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple, kwargs: dict, output: Tensor) -> None:
            see(name, args[0] if args else kwargs["input"], output)

        return hook

    try:
        for name, module in modules.items():
            handles.append(module.register_forward_hook(hook_of(name), with_kwargs=True))
        yield
    finally:
        for handle in handles:
            handle.remove()


def layer_shapes(model: nn.Module, batch: Batch, layers: Iterable[str] | None = None) -> tuple[LayerShape, ...]:
    """Sizes of the layers, from one forward pass of a copy (a model and batch on the meta device will do).

    Args:
        model: any module.
        batch: what the model is called with.
        layers: the names wanted; None for all Conv2d and Linear.

    Raises:
        UnsupportedModelError: see `quantizable`; or a layer does not run in a forward pass.
    """
    with isolated(model):
        copied = working_copy(model)
        modules = quantizable(copied, layers)
        calls: dict[str, list[torch.Size]] = {name: [] for name in modules}
        with torch.no_grad(), watched(modules, lambda name, _, output: calls[name].append(output.shape)):
            copied(*inputs_of(batch))
    return shapes_of(modules, calls, len(inputs_of(batch)[0]))


def shapes_of(
    modules: Mapping[str, nn.Module], calls: Mapping[str, Sequence[Sequence[int]]], batch_size: int
) -> tuple[LayerShape, ...]:
    """`LayerShape` of each module from the shapes of its outputs, call by call.

    Raises:
        UnsupportedModelError: a layer did not run, or its output cannot be dealt to the samples.
    """
    idle = [name for name in modules if not calls.get(name)]
    if idle:
        used = [name for name in modules if name not in idle]
        raise UnsupportedModelError(
            f"{', '.join(idle)} did not run in a forward pass", f"leave them out: layers={used}"
        )
    shapes = []
    for name, module in modules.items():
        weight, bias = module.weight, module.bias
        total = sum(torch.Size(shape).numel() for shape in calls[name]) // len(weight)
        if total % batch_size:
            raise UnsupportedModelError(
                f"{name} is applied {total} times, which is no multiple of the {batch_size} samples",
                "the model must treat its samples alike",
            )
        shapes.append(
            LayerShape(
                name=name,
                kind=kind_of(module),
                weights=weight.numel(),
                biases=0 if bias is None else bias.numel(),
                out_channels=len(weight),
                positions=total // batch_size,
                output_shape=tuple(calls[name][0][1:]),
            )
        )
    return tuple(shapes)
