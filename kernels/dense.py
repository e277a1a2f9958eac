"""Dense networks for many candidates at once: loss and gradient of N multilayer perceptrons on one shared batch.

All N networks have one shape and see one batch of data; only their weights differ. There is no autograd: the backward
pass is written out, and every gradient lands in its place of one flat array by a view.

**Layout.** Row n of `weights` (N, P) holds network n, its tensors one after another in the order W1, b1, W2, b2, ...,
each row-major; layer l maps `sizes[l]` inputs to `sizes[l + 1]` outputs by `h @ W + b` with W of shape
(inputs, outputs) and b of shape (outputs,). `mlp_segments(sizes)` gives the offsets of those tensors: the
`segments` that `kernels.programs.optimizer_step` takes. Between layers stands a ReLU; after the last one a softmax.

**Independence.** In float32 and float64, on one thread, the numbers of a network are the same to the bit whatever N is
and whatever shares the batch. That rules out every operation whose rounding depends on where an element lies: sums over
an axis that a library may reorder are written as matrix products of one network, and the softmax, whose rows are
short, is a loop over classes (also five times faster than `torch.log_softmax` on 10 classes: spec/platform.md has
the figures for the products).

CPU arrays go through C (`kernels/mlp`: one network at a time, whole in the cache), or, where no compiler is found,
through numpy, whose matrix product beats `torch.bmm` on small layers; CUDA tensors through torch. The paths agree to
rounding, and `kernels.digest()` tells them apart.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from kernels import dispatch, mlp
from kernels.errors import KernelError
from kernels.programs.packing import PackedPrograms
from kernels.programs.step import check_arrays, optimizer_step, shapes_array

# Bounds the temporaries to the third-level cache. A chunk costs some 100 us of calls: with 1 MiB, 15% more time.
_CHUNK_BYTES = 1 << 23


def mlp_segments(sizes: Sequence[int]) -> np.ndarray:
    """Offsets of the tensors W1, b1, W2, b2, ... inside a network's flat parameters.

    Args:
        sizes: widths from input to output, at least two, e.g. (64, 32, 10).

    Returns:
        (2 * (len(sizes) - 1) + 1,) int64; the last entry is the number of parameters P.
    """
    return _segments(tuple(sizes)).copy()


@functools.lru_cache(maxsize=64)
def _segments(sizes: tuple[int, ...]) -> np.ndarray:
    if len(sizes) < 2 or any(int(size) != size or size < 1 for size in sizes):
        raise KernelError(f"sizes must hold at least two positive widths, not {sizes}")
    lengths = [length for inputs, outputs in pairwise(sizes) for length in (inputs * outputs, outputs)]
    return np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)


def mlp_loss_and_gradient(
    weights: Any, x: Any, y: Any, sizes: Sequence[int], gradient_out: Any, backend: str | None = None
) -> Any:
    """Mean cross-entropy of N networks on one batch, and its gradient.

    Args:
        weights: (N, P) float32 or float64, C-contiguous; numpy, or a torch tensor (CPU or CUDA).
        x: (B, sizes[0]) inputs, same dtype and kind of array.
        y: (B,) int64 class labels in [0, sizes[-1]).
        sizes: widths from input to output.
        gradient_out: (N, P), written in place: d loss[n] / d weights[n].
        backend: of CPU arrays: "c", "numpy", or None for the best one that is there.

    Returns:
        (N,) losses in nats, of the dtype and kind of `weights`. A network that diverged has a NaN or infinite loss;
        its gradient is then unspecified, and its neighbours' are not touched by it.

    Raises:
        KernelError: shapes, dtypes, devices or labels that do not fit.
    """
    if isinstance(weights, torch.Tensor) and weights.device.type != "cpu":
        _check(weights, x, y, sizes, gradient_out)
        return _torch_loss_and_gradient(weights, x, y, sizes, gradient_out)
    arrays = _numpy(weights), _numpy(x), _numpy(y), sizes, _numpy(gradient_out)
    _check(*arrays)
    losses = (mlp.loss_and_gradient if _compiled(backend, sizes) else _numpy_loss_and_gradient)(*arrays)
    return torch.from_numpy(losses) if isinstance(weights, torch.Tensor) else losses


def mlp_train(
    packed: PackedPrograms,
    weights: Any,
    slots: Sequence[Any],
    x: Any,
    y: Any,
    sizes: Sequence[int],
    schedule: Any,
    shapes: Any | None = None,
    backend: str | None = None,
) -> tuple[Any, Any]:
    """Some training steps of N networks, each by its own optimizer program, in place.

    The same numbers, to the bit, as a step after the other by `mlp_loss_and_gradient` and
    `kernels.programs.optimizer_step`; but where both are compiled, each network takes all the steps while its weights
    and state are in the cache, and one call does it all. (Over half of a step's time is then fused multiply-adds.)

    Args:
        packed: N programs; their tensors are those of `mlp_segments(sizes)`.
        weights: (N, P) float32 or float64, C-contiguous; numpy, or a torch tensor.
        slots: arrays of the same kind and shape, as many as the programs have.
        x: (steps, B, sizes[0]) the batch of each step, of the weights' dtype and kind; at least one step.
        y: (steps, B) int64 class labels.
        sizes: widths from input to output.
        schedule: (steps,) float64: what programs read as `lr`.
        shapes: as `optimizer_step` takes them.
        backend: of `optimizer_step`; the networks take the best one.

    Returns:
        (N,) losses of the last step's batch, before its update; (N, steps) bool, whether all weights were finite after
        each step. Both as `mlp_loss_and_gradient` and `optimizer_step` return them.

    Raises:
        KernelError: arrays that do not fit together.
    """
    segments, steps = mlp_segments(sizes), len(x)
    schedule = np.ascontiguousarray(schedule, np.float64)
    if not steps or len(y) != steps or schedule.shape != (steps,):
        raise KernelError(f"{steps} batches of inputs, {len(y)} of labels, a schedule of {schedule.shape}: one a step")
    on_cpu = not isinstance(weights, torch.Tensor) or weights.device.type == "cpu"
    if on_cpu and dispatch.choose(backend, "cpu") == "c" and _compiled(None, sizes) and len(slots) <= mlp.MAX_SLOTS:
        arrays, state = [_numpy(array) for array in (weights, x, y)], [_numpy(slot) for slot in slots]
        _check(arrays[0], arrays[1].reshape(-1, *arrays[1].shape[2:]), arrays[2].reshape(-1), sizes, None)
        check_arrays(packed, arrays[0], None, state, segments)
        stated = shapes_array(shapes if packed.reads_shapes else None, segments)
        losses, finite = mlp.train(packed, arrays[0], state, arrays[1], arrays[2], sizes, schedule, stated)
        return (torch.from_numpy(losses) if isinstance(weights, torch.Tensor) else losses), finite
    gradient = torch.empty_like(weights) if isinstance(weights, torch.Tensor) else np.empty_like(weights)
    alive = []
    for step in range(steps):
        losses = mlp_loss_and_gradient(weights, x[step], y[step], sizes, gradient)
        alive.append(
            optimizer_step(
                packed, weights, gradient, slots, float(schedule[step]), segments, backend=backend, shapes=shapes
            )
        )
    return losses, torch.stack(alive, 1) if isinstance(alive[0], torch.Tensor) else np.stack(alive, 1)


def mlp_evaluate(weights: Any, x: Any, y: Any, sizes: Sequence[int], backend: str | None = None) -> tuple[Any, Any]:
    """Mean cross-entropy (nats) and accuracy (0 to 1) of N networks on one set of examples; arguments as above.

    Returns:
        losses (N,) and accuracies (N,), of the dtype and kind of `weights`. NaN logits count as wrong.
    """
    _check(weights, x, y, sizes, None)
    logits = mlp_logits(weights, x, sizes, backend)
    if isinstance(logits, torch.Tensor) and logits.device.type != "cpu":
        right = (logits.argmax(-1) == y) & ~torch.isnan(logits).any(-1)
        return _torch_softmax_loss(logits, y)[0], right.to(logits.dtype).mean(-1)
    values, labels = _numpy(logits), _numpy(y)
    right = (values.argmax(-1) == labels) & ~np.isnan(values).any(-1)
    by_class = np.ascontiguousarray(np.swapaxes(values, -1, -2))
    results = _numpy_softmax_loss(by_class, labels)[0], right.mean(-1, dtype=np.float64).astype(values.dtype)
    return (torch.from_numpy(results[0]), torch.from_numpy(results[1])) if isinstance(logits, torch.Tensor) else results


def mlp_logits(weights: Any, x: Any, sizes: Sequence[int], backend: str | None = None) -> Any:
    """Outputs of N networks before the softmax: (N, B, sizes[-1]), of the dtype and kind of `weights`."""
    if isinstance(weights, torch.Tensor) and weights.device.type != "cpu":
        _check(weights, x, None, sizes, None)
        return _torch_forward(_views(weights, sizes), x)[-1]
    weights_array, inputs = _numpy(weights), _numpy(x)
    _check(weights_array, inputs, None, sizes, None)
    if _compiled(backend, sizes):
        outputs = mlp.logits(weights_array, inputs, sizes)
        return torch.from_numpy(outputs) if isinstance(weights, torch.Tensor) else outputs
    logits = np.empty((len(weights_array), len(inputs), sizes[-1]), weights_array.dtype)
    for rows in _chunks(len(weights_array), len(inputs), sizes, weights_array.itemsize):
        logits[rows] = np.swapaxes(_numpy_forward(_views(weights_array[rows], sizes), inputs)[-1], -1, -2)
    return torch.from_numpy(logits) if isinstance(weights, torch.Tensor) else logits


def _compiled(backend: str | None, sizes: Sequence[int]) -> bool:
    """Whether the C path is taken; networks of more than 16 layers are numpy's."""
    return dispatch.choose(backend, "cpu", ("c", "numpy")) == "c" and len(sizes) - 1 <= mlp.MAX_LAYERS


def _numpy(array: Any) -> np.ndarray:
    return array.numpy() if isinstance(array, torch.Tensor) else np.asarray(array)


def _check(weights: Any, x: Any, y: Any, sizes: Sequence[int], gradient_out: Any) -> None:
    parameters = int(mlp_segments(sizes)[-1])
    if weights.ndim != 2 or weights.shape[1] != parameters:
        raise KernelError(f"weights must be (N, {parameters}) for sizes {tuple(sizes)}, not {tuple(weights.shape)}")
    if str(weights.dtype).removeprefix("torch.") not in ("float32", "float64"):
        raise KernelError(f"weights must be float32 or float64, not {weights.dtype}")
    if x.ndim != 2 or x.shape[1] != sizes[0] or x.dtype != weights.dtype or not len(x):
        raise KernelError(f"x must be (B, {sizes[0]}) {weights.dtype} with B >= 1, not {tuple(x.shape)} {x.dtype}")
    if y is not None:
        if tuple(y.shape) != (x.shape[0],) or str(y.dtype).removeprefix("torch.") != "int64":
            raise KernelError(f"y must be ({x.shape[0]},) int64, not {tuple(y.shape)} {y.dtype}")
        if int(y.min()) < 0 or int(y.max()) >= sizes[-1]:
            raise KernelError(f"labels must lie in [0, {sizes[-1]}), not [{int(y.min())}, {int(y.max())}]")
    if gradient_out is not None and (gradient_out.shape != weights.shape or gradient_out.dtype != weights.dtype):
        raise KernelError(f"gradient_out must be {tuple(weights.shape)} {weights.dtype}, as the weights are")
    for name, array in (("weights", weights), ("gradient_out", gradient_out)):
        if array is None:
            continue
        contiguous = array.is_contiguous() if isinstance(array, torch.Tensor) else array.flags.c_contiguous
        if not contiguous:
            raise KernelError(f"{name} must be C-contiguous", "pass a whole array, not a slice of its columns")


def _views(flat: Any, sizes: Sequence[int]) -> list[tuple[Any, Any]]:
    """(N, inputs, outputs) and (N, 1, outputs) views of every layer; writing to them writes to `flat`."""
    offsets = mlp_segments(sizes)
    views = []
    for layer, (inputs, outputs) in enumerate(pairwise(sizes)):
        start, middle, end = (int(offset) for offset in offsets[2 * layer : 2 * layer + 3])
        matrix = flat[:, start:middle]
        bias = flat[:, middle:end]
        if isinstance(flat, torch.Tensor):
            views.append((matrix.view(len(flat), inputs, outputs), bias.view(len(flat), 1, outputs)))
        else:
            item = flat.itemsize
            strided = np.lib.stride_tricks.as_strided(
                matrix, (len(flat), inputs, outputs), (flat.strides[0], outputs * item, item)
            )
            views.append((strided, bias[:, None, :]))
    return views


def _chunks(candidates: int, batch: int, sizes: Sequence[int], itemsize: int) -> list[slice]:
    each = max(1, _CHUNK_BYTES // (2 * batch * sum(sizes[1:]) * itemsize))
    return [slice(start, min(start + each, candidates)) for start in range(0, candidates, each)]


# --- numpy ---------------------------------------------------------------------------------------------------------


def _numpy_forward(layers: list[tuple[np.ndarray, np.ndarray]], x: np.ndarray) -> list[np.ndarray]:
    """Activations after every layer: [x, h1, ..., logits]; hidden ones (n, B, width), the logits (n, classes, B).

    The logits lie class by class, so that the softmax works on long rows.
    """
    activations = [x]
    with np.errstate(all="ignore"):
        for matrix, bias in layers[:-1]:
            out = np.matmul(activations[-1], matrix)
            out += bias
            activations.append(np.maximum(out, 0, out=out))
        matrix, bias = layers[-1]
        logits = np.matmul(np.swapaxes(matrix, -1, -2), np.swapaxes(activations[-1], -1, -2))
        logits += np.swapaxes(bias, -1, -2)
    return [*activations, logits]


def _numpy_softmax_loss(logits: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean loss (n,) and, in the place of `logits`, its gradient with respect to them: (n, classes, B)."""
    count, classes, batch = logits.shape
    examples = np.arange(batch)
    with np.errstate(all="ignore"):
        top = logits[:, 0].copy()
        for label in range(1, classes):
            np.maximum(top, logits[:, label], out=top)
        logits -= top[:, None]
        target = logits.reshape(count, classes * batch)[:, y * batch + examples]
        delta = np.exp(logits, out=logits)
        total = delta[:, 0].copy()
        for label in range(1, classes):
            total += delta[:, label]
        share = np.full((batch, 1), 1.0 / batch, logits.dtype)
        losses = np.matmul((np.log(total) - target)[:, None, :], share)[:, 0, 0]
        delta *= (logits.dtype.type(1.0 / batch) / total)[:, None]
        delta[:, y, examples] -= share[0]
    return losses, delta


def _numpy_loss_and_gradient(
    weights: np.ndarray, x: np.ndarray, y: np.ndarray, sizes: Sequence[int], gradient_out: np.ndarray
) -> np.ndarray:
    losses = np.empty(len(weights), weights.dtype)
    ones = np.ones((1, len(x)), weights.dtype)
    for rows in _chunks(len(weights), len(x), sizes, weights.itemsize):
        layers, gradients = _views(weights[rows], sizes), _views(gradient_out[rows], sizes)
        activations = _numpy_forward(layers, x)
        losses[rows], by_class = _numpy_softmax_loss(activations[-1], y)
        delta = np.swapaxes(by_class, -1, -2)
        with np.errstate(all="ignore"):
            for depth in range(len(layers) - 1, -1, -1):
                below = activations[depth]
                np.matmul(np.swapaxes(below, -1, -2), delta, out=gradients[depth][0])
                np.matmul(ones, delta, out=gradients[depth][1])
                if depth:
                    delta = np.matmul(delta, np.swapaxes(layers[depth][0], -1, -2))
                    delta *= below > 0
    return losses


# --- torch ---------------------------------------------------------------------------------------------------------


def _torch_forward(layers: list[tuple[torch.Tensor, torch.Tensor]], x: torch.Tensor) -> list[torch.Tensor]:
    activations = [x.expand(layers[0][0].shape[0], *x.shape)]
    for depth, (matrix, bias) in enumerate(layers):
        out = torch.bmm(activations[-1], matrix).add_(bias)
        activations.append(out.relu_() if depth < len(layers) - 1 else out)
    return activations


def _torch_softmax_loss(logits: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """As the numpy version, but `exp` and `log` of torch may round an element by its place in the array."""
    count, batch, classes = logits.shape
    shifted = logits - logits.amax(-1, keepdim=True)
    target = shifted.gather(2, y.expand(count, batch).unsqueeze(-1)).squeeze(-1)
    delta = shifted.exp()
    total = delta[:, :, 0].clone()
    for label in range(1, classes):
        total += delta[:, :, label]
    share = torch.full((1, batch, 1), 1.0 / batch, dtype=logits.dtype, device=logits.device)
    losses = torch.bmm((total.log() - target).unsqueeze(1), share.expand(count, batch, 1))[:, 0, 0]
    delta /= total.unsqueeze(-1)
    delta -= torch.nn.functional.one_hot(y, classes).to(logits.dtype)
    return losses, delta.mul_(1.0 / batch)


def _torch_loss_and_gradient(
    weights: torch.Tensor, x: torch.Tensor, y: torch.Tensor, sizes: Sequence[int], gradient_out: torch.Tensor
) -> torch.Tensor:
    layers, gradients = _views(weights, sizes), _views(gradient_out, sizes)
    activations = _torch_forward(layers, x)
    losses, delta = _torch_softmax_loss(activations[-1], y)
    ones = torch.ones((1, 1, len(x)), dtype=weights.dtype, device=weights.device).expand(len(weights), 1, len(x))
    for depth in range(len(layers) - 1, -1, -1):
        below = activations[depth]
        gradients[depth][0].copy_(torch.bmm(below.transpose(1, 2), delta))
        gradients[depth][1].copy_(torch.bmm(ones, delta))
        if depth:
            delta = torch.bmm(delta, layers[depth][0].transpose(1, 2)).mul_(below > 0)
    return losses
