"""The passes through a network that a set of metrics needs, each run once, and what they leave behind."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from proxies.errors import ProxyError, UnsupportedModelError
from proxies.network.activations import ChannelMaps, ReluPatterns
from proxies.network.az import AZ, az, features_of
from proxies.network.flops import Flops
from proxies.network.gradients import fisher, synflow
from proxies.network.kernel import FixedStatistics, LayerCall, LayerCalls, kernel
from proxies.network.settings import Settings, checked_outputs
from proxies.network.smoothness import zen
from proxies.network.watching import Observer, Watching
from proxies.network.working import RandomImages, copied, draw_weights, layer_weights, reseed, restore, stream

_BATCH = frozenset({"patterns", "gradient", "saliency", "curvature", "jacobian", "kernel"})


@dataclass(slots=True)
class Evidence:
    """What the passes found; None (NaN) where nothing asked for it. registry.py says which need gives what.

    Attributes:
        params: number of parameters.
        weights: of the Conv2d and Linear modules, detached; everything about layers is in this order.
        classes: number of the model's outputs.
        flops: of one sample.
        patterns: ReLU states on the batch.
        gradients: dL/dW.
        products: H dL/dW.
        fisher, zen, az, synflow: these metrics, computed at once: what they look at is large.
        jacobian: d(sum of outputs)/d(images), as the images.
        kernel: (n, n) float64.
        parts: for each part of the batch its dL/dW.
        maps: of convolutions on one random image.
    """

    params: int
    weights: list[Tensor] = field(default_factory=list)
    classes: int = 0
    flops: float = math.nan
    patterns: ReluPatterns | None = None
    gradients: Sequence[Tensor] | None = None
    products: Sequence[Tensor] | None = None
    fisher: float = math.nan
    jacobian: Tensor | None = None
    kernel: Tensor | None = None
    parts: list[Sequence[Tensor]] | None = None
    maps: list[Tensor] | None = None
    zen: float = math.nan
    az: AZ | None = None
    synflow: float = math.nan


def gather(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    needs: frozenset[str],
    settings: Settings,
    random_images: RandomImages,
    seed: int,
) -> Evidence:
    """Run what is needed on a copy of the model; call it inside `isolated`.

    Each pass starts from the same state of the global generators and draws from a stream of its own, so that a
    metric's value does not depend on which others are asked for.

    Raises:
        ProxyError: the batch does not suit the model or the metrics.
        UnsupportedModelError: the model lacks what a metric looks at.
    """
    found = Evidence(params=sum(parameter.numel() for parameter in model.parameters()))
    if needs - {"flops"}:
        found.weights = [weight.detach() for weight in layer_weights(model)]
    if needs <= {"weights"}:
        return found
    devices = sorted({p.device.index or 0 for p in model.parameters() if p.device.type == "cuda"})
    network = copied(model)
    passes = _Passes(network, images, labels, seed, devices)
    if needs & _BATCH:
        passes.batch(found, needs, settings)
    elif "flops" in needs:
        passes.shapes(found)
    if "halves" in needs:
        passes.halves(found, settings.zico_parts)
    if "map" in needs:
        passes.map(found, random_images("meco", 1))
    if "smoothness" in needs:
        draw_weights(network, stream(seed, "zen weights"), fan_in_scaled=False)
        passes.begin()
        images_of_zen = random_images("zen")
        found.zen = zen(network, images_of_zen, images_of_zen + settings.zen_step * random_images("zen step"))
    if "blocks" in needs:
        draw_weights(network, stream(seed, "az weights"), fan_in_scaled=True)
        passes.begin()
        found.az = az(features_of(network, random_images("az"), settings.blocks), stream(seed, "az directions"))
    if "flow" in needs:
        restore(network, model)
        passes.begin()
        found.synflow = synflow(network, layer_weights(network), images[:1])
    return found


@dataclass(slots=True)
class _Passes:
    network: nn.Module
    images: Tensor
    labels: Tensor
    seed: int
    devices: Sequence[int]

    def begin(self) -> None:
        reseed(self.seed, self.devices)

    def shapes(self, found: Evidence) -> None:
        """FLOPs alone: one sample in evaluation mode."""
        counted = Flops()
        self.begin()
        self.network.eval()
        with torch.no_grad(), Watching([counted]):
            checked_outputs(self.network(self.images[:1].clone()), self.images[:1])
        self.network.train()
        found.flops = float(counted.count)

    def batch(self, found: Evidence, needs: frozenset[str], settings: Settings, clone: bool = False) -> None:
        """One forward pass of the batch, and up to four backward passes from it."""
        weights = layer_weights(self.network)
        samples = len(self.images)
        counted, patterns = Flops(), ReluPatterns(samples, settings.swap_samples)
        calls, fixed = LayerCalls(weights, clone), FixedStatistics()
        observers: list[Observer] = [counted] if "flops" in needs else []
        if "patterns" in needs:
            observers.append(patterns)
        if needs & {"saliency", "kernel"}:
            observers.append(calls)
        if "kernel" in needs:
            observers.append(fixed)
        images = self.images.clone()
        if "jacobian" in needs:
            images.requires_grad_(True)
        by_weights = bool(needs & {"gradient", "kernel"})
        for weight in weights:
            weight.requires_grad_(by_weights)
        self.begin()
        with torch.set_grad_enabled(by_weights or "jacobian" in needs), Watching(observers):
            # a model may change its input in place, which a leaf that asks for a gradient does not allow
            outputs = self.network(images.clone() if images.requires_grad else images)
        if calls.overwritten():
            # an output was changed in place (a ReLU right after a convolution): once more, with copies
            self.batch(found, needs, settings, clone=True)
            return
        outputs = checked_outputs(outputs, images, self.labels)
        found.classes = outputs.shape[1]
        if "flops" in needs:
            found.flops = counted.count / samples
        if "patterns" in needs:
            patterns.require()
            found.patterns = patterns
        if "jacobian" in needs:
            (found.jacobian,) = _backward(outputs.sum(), [images], keep=by_weights)
        if "kernel" in needs:
            runs = [call for call in calls.calls if call.output.requires_grad]
            true_class = outputs.gather(1, self.labels[:, None]).sum()
            fixed.active = True
            came_back = _backward(true_class, [call.output for call in runs], keep="gradient" in needs)
            fixed.active = False
            found.kernel = kernel(runs, came_back, samples)
        if "gradient" in needs:
            self._of_loss(found, needs, outputs, weights, calls.calls)
        for weight in weights:
            weight.requires_grad_(False)

    def _of_loss(
        self,
        found: Evidence,
        needs: frozenset[str],
        outputs: Tensor,
        weights: Sequence[Tensor],
        calls: Sequence[LayerCall],
    ) -> None:
        runs = [call for call in calls if call.output.requires_grad] if "saliency" in needs else []
        twice = "curvature" in needs
        loss = nn.functional.cross_entropy(outputs, self.labels)
        targets = [*weights, *(call.output for call in runs)]
        came_back = _backward(loss, targets, create_graph=twice)
        gradients = came_back[: len(weights)]
        if twice:
            along = torch.stack([(gradient.detach() * gradient).sum() for gradient in gradients]).sum()
            found.products = _backward(along, weights)
        found.gradients = [gradient.detach() for gradient in gradients]
        if "saliency" in needs:
            found.fisher = fisher(
                [call.output for call in runs],
                [gradient.detach() for gradient in came_back[len(weights) :]],
                [call.weight[0].numel() for call in runs],
                [call.kind == "linear" for call in runs],
            )

    def halves(self, found: Evidence, parts: int) -> None:
        """dL/dW of each part of the batch by itself, with its own normalisation."""
        if len(self.images) < 2 * parts:
            raise ProxyError(
                f"zico cuts {len(self.images)} samples into {parts} parts", f"give {2 * parts} samples or more"
            )
        weights = layer_weights(self.network)
        for weight in weights:
            weight.requires_grad_(True)
        found.parts = []
        for images, labels in zip(self.images.tensor_split(parts), self.labels.tensor_split(parts), strict=True):
            self.begin()
            outputs = checked_outputs(self.network(images.clone()), images, self.labels)
            found.parts.append(_backward(nn.functional.cross_entropy(outputs, labels), weights))
        for weight in weights:
            weight.requires_grad_(False)

    def map(self, found: Evidence, image: Tensor) -> None:
        """The convolutions' outputs for one random image."""
        maps = ChannelMaps()
        self.begin()
        try:
            with torch.no_grad(), Watching([maps]):
                self.network(image.clone())
        except ValueError as error:
            raise UnsupportedModelError(
                f"the model does not run on a single image in training mode: {error}", "leave meco out: metrics=[...]"
            ) from error
        if not maps.maps:
            raise UnsupportedModelError("the model has no convolution", "leave meco out: metrics=[...]")
        found.maps = maps.maps


def _backward(
    value: Tensor, targets: Sequence[Tensor], keep: bool = False, create_graph: bool = False
) -> tuple[Tensor, ...]:
    """d(value)/d(targets); zeros where there is no path."""
    if not value.requires_grad or not targets:
        return tuple(torch.zeros_like(target) for target in targets)
    return torch.autograd.grad(
        value, list(targets), retain_graph=keep or create_graph, create_graph=create_graph, allow_unused=True,
        materialize_grads=True,
    )  # fmt: skip
