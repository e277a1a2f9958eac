"""Network metrics one at a time, each as its own code in the field computes it: the other side of `robot_metrics`.

Every function copies the model and runs its own forward and backward passes, as zero-cost-nas does for each measure;
gradients come from `loss.backward()` (for all parameters, as there), statistics of activations from hooks. The
condition number of the kernel loops over samples (TE-NAS), its trace contracts what hooks saw (RoBoT, HNAS); MeCo's
eigenvalues come from the general solver, SWAP's patterns from `torch.unique` over rows, ZiCo's gradients go through
numpy; AZ-NAS's three come from one function, as in its code. Written anew from the formulas; what is random is drawn
from the same streams as in `proxies.network`, so that values can be compared. For models whose ReLUs and norms are
modules.
"""

from __future__ import annotations

import copy
import math
import types
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from proxies.network.working import RandomImages, draw_weights, stream

LAYERS = (nn.Conv2d, nn.Linear)


def layers_of(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if isinstance(module, LAYERS)]


def trained(model: nn.Module) -> nn.Module:
    return copy.deepcopy(model).train()


def backward(model: nn.Module, images: Tensor, labels: Tensor) -> None:
    model.zero_grad()
    F.cross_entropy(model(images), labels).backward()


def params(model: nn.Module, images: Tensor, labels: Tensor, seed: int) -> float:
    return float(sum(parameter.numel() for parameter in model.parameters()))


def flops(model: nn.Module, images: Tensor, labels: Tensor, seed: int) -> float:
    """Hooks on the modules; the global mean, which is none, is added."""
    net, counts = copy.deepcopy(model).eval(), []

    def hook(module: nn.Module, args: tuple, output: Tensor) -> None:
        size = output.numel()
        if isinstance(module, nn.Conv2d):
            counts.append(size * module.weight[0].numel())
        elif isinstance(module, nn.Linear):
            # the global mean stands before the classifier
            counts.append(size * module.in_features + module.in_features * mean_area)
        elif isinstance(module, nn.BatchNorm2d):
            counts.append(2 * size)
            sizes.append(output.shape[2:])
        elif isinstance(module, nn.ReLU):
            counts.append(size)
        elif isinstance(module, nn.AvgPool2d):
            kernel = module.kernel_size
            counts.append(size * (kernel * kernel if isinstance(kernel, int) else kernel[0] * kernel[1]))

    sizes: list[torch.Size] = []
    with torch.no_grad():
        probe = net.last.register_forward_hook(lambda module, args, output: sizes.append(output.shape[2:]))
        net(images[:1])
        probe.remove()
        mean_area = math.prod(side + 1 for side in sizes[-1])
        for module in net.modules():
            module.register_forward_hook(hook)
        net(images[:1])
    return float(sum(counts))


def grad_norm(model: nn.Module, images: Tensor, labels: Tensor, seed: int) -> float:
    net = trained(model)
    backward(net, images, labels)
    return sum(float(layer.weight.grad.norm()) for layer in layers_of(net) if layer.weight.grad is not None)


def _masked_conv(self: nn.Conv2d, x: Tensor) -> Tensor:
    return F.conv2d(x, self.weight * self.weight_mask, self.bias, self.stride, self.padding, self.dilation, self.groups)


def _masked_linear(self: nn.Linear, x: Tensor) -> Tensor:
    return F.linear(x, self.weight * self.weight_mask, self.bias)


def snip(model: nn.Module, images: Tensor, labels: Tensor, seed: int) -> float:
    """The gradient of a mask of ones on the weights."""
    net = trained(model)
    for layer in layers_of(net):
        layer.weight_mask = nn.Parameter(torch.ones_like(layer.weight))
        layer.weight.requires_grad = False
        layer.forward = types.MethodType(_masked_conv if isinstance(layer, nn.Conv2d) else _masked_linear, layer)
    backward(net, images, labels)
    return sum(
        float(layer.weight_mask.grad.abs().sum()) for layer in layers_of(net) if layer.weight_mask.grad is not None
    )


def grasp(model: nn.Module, images: Tensor, labels: Tensor, seed: int) -> float:
    """Two forward passes: the gradient, and the gradient with its graph."""
    net = trained(model)
    weights = [layer.weight for layer in layers_of(net)]
    first = torch.autograd.grad(F.cross_entropy(net(images), labels), weights, allow_unused=True)
    loss = F.cross_entropy(net(images), labels)
    second = torch.autograd.grad(loss, weights, create_graph=True, allow_unused=True)
    sum((a.data * b).sum() for a, b in zip(first, second, strict=True) if a is not None).backward()
    return -sum(float((w.data * w.grad).sum()) for w in weights if w.grad is not None)


def fisher(model: nn.Module, images: Tensor, labels: Tensor, seed: int) -> float:
    """Identities after the layers, with backward hooks."""
    net, found = trained(model), []

    def attach(layer: nn.Module) -> None:
        layer.after = nn.Identity()
        inner = layer.forward

        def forward(x: Tensor) -> Tensor:
            layer.seen = layer.after(inner(x))
            return layer.seen

        def hook(module: nn.Module, given: tuple, came_back: tuple) -> None:
            product = layer.seen.detach() * came_back[0].detach()
            by_channel = product.sum(list(range(2, product.ndim))) if product.ndim > 2 else product
            by_channel = by_channel.pow(2).mean(0).mul(0.5).abs()
            found.append(by_channel.reshape(-1, *[1] * (layer.weight.ndim - 1)).expand_as(layer.weight).sum())
            del layer.seen

        layer.forward = forward
        layer.after.register_full_backward_hook(hook)

    for layer in layers_of(net):
        attach(layer)
    backward(net, images, labels)
    return float(sum(found))


def synflow(model: nn.Module, images: Tensor, labels: Tensor, seed: int) -> float:
    net = trained(model)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.forward = types.MethodType(lambda self, x: x, module)
    net = net.double()
    with torch.no_grad():
        for value in net.state_dict().values():
            value.abs_()
    net.zero_grad()
    net(torch.ones((1, *images.shape[1:]), dtype=torch.float64)).sum().backward()
    weights = [layer.weight for layer in layers_of(net) if layer.weight.grad is not None]
    total = sum(float((weight.detach() * weight.grad).abs().sum()) for weight in weights)
    return math.log(total) if total > 0 else math.nan


def _jacobian(model: nn.Module, images: Tensor) -> np.ndarray:
    net, x = trained(model), images.clone().requires_grad_(True)
    outputs = net(x)
    outputs.backward(torch.ones_like(outputs))
    back = torch.zeros_like(x) if x.grad is None else x.grad  # None: no path from the images to the outputs
    return back.reshape(len(x), -1).numpy()


def jacov(model: nn.Module, images: Tensor, labels: Tensor, seed: int) -> float:
    with np.errstate(all="ignore"):
        correlations = np.corrcoef(_jacobian(model, images))
        if not np.isfinite(correlations).all():
            return math.nan
        values = np.linalg.eigvals(correlations).real
        return float(-np.sum(np.log(values + 1e-5) + 1 / (values + 1e-5)))


def epe_nas(model: nn.Module, images: Tensor, labels: Tensor, seed: int) -> float:
    rows, total = _jacobian(model, images), 0.0
    with np.errstate(all="ignore"):
        for label in np.unique(labels.numpy()):
            correlations = np.corrcoef(rows[labels.numpy() == label])
            total += abs(np.sum(np.log(np.abs(correlations) + 1e-5)))
    return float(total)


def naswot(model: nn.Module, images: Tensor, labels: Tensor, seed: int) -> float:
    """Two products of states for each ReLU."""
    net = trained(model)
    total = np.zeros((len(images), len(images)))

    def hook(module: nn.Module, args: tuple, output: Tensor) -> None:
        on = (args[0].reshape(len(args[0]), -1) > 0).float()
        off = 1.0 - on
        nonlocal total
        total = total + (on @ on.t()).numpy() + (off @ off.t()).numpy()

    for module in net.modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_hook(hook)
    with torch.no_grad():
        net(images)
    return float(np.linalg.slogdet(total)[1])


def l2_norm(model: nn.Module, images: Tensor, labels: Tensor, seed: int) -> float:
    return sum(float(layer.weight.detach().norm()) for layer in layers_of(model))


def plain(model: nn.Module, images: Tensor, labels: Tensor, seed: int) -> float:
    net = trained(model)
    backward(net, images, labels)
    return -sum(float((a.weight * a.weight.grad).detach().sum()) for a in layers_of(net) if a.weight.grad is not None)


def zen(model: nn.Module, images: Tensor, labels: Tensor, seed: int) -> float:
    net, logarithm, kept = trained(model), 0.0, []
    draw_weights(net, stream(seed, "zen weights"), fan_in_scaled=False)
    drawn = RandomImages(images, seed)
    x, step = drawn("zen"), drawn("zen step")
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0  # the batch's variance
    net.last.register_forward_hook(lambda module, args, output: kept.append(output))
    with torch.no_grad():
        net(x)
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                logarithm += 0.5 * float(torch.log(module.running_var.mean()))
        net(x + 0.01 * step)
        distance = (kept[0] - kept[1]).abs().sum([1, 2, 3]).mean()
    return float(torch.log(distance)) + logarithm


def _with_the_batchs_statistics(model: nn.Module, images: Tensor) -> nn.Module:
    """In evaluation mode, running statistics those of the batch (the variance biased, as in training mode)."""
    net, norms = trained(model), []
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
            norms.append(module.register_forward_pre_hook(
                lambda m, args: setattr(m, "observations", args[0].numel() // args[0].shape[1])))  # fmt: skip
    with torch.no_grad():
        net(images)
    for handle in norms:
        handle.remove()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_var.mul_((module.observations - 1) / module.observations)
    return net.eval()


def ntk_cond(model: nn.Module, images: Tensor, labels: Tensor, seed: int) -> float:
    """A backward pass for each sample through the batch's graph."""
    net = _with_the_batchs_statistics(model, images)
    logits, rows = net(images), []
    for place, label in enumerate(labels):
        net.zero_grad()
        logits[place, label].backward(retain_graph=True)
        rows.append(torch.cat([a.weight.grad.reshape(-1) for a in layers_of(net) if a.weight.grad is not None]))
    stacked = torch.stack(rows)
    values = torch.linalg.eigvalsh(stacked @ stacked.T)
    return -float(values[-1] / values[0])


def ntk_trace(model: nn.Module, images: Tensor, labels: Tensor, seed: int) -> float:
    """One backward pass; a sample's gradients from what hooks saw at each layer."""
    net, seen = _with_the_batchs_statistics(model, images), []

    def hook(layer: nn.Module, args: tuple, output: Tensor) -> None:
        output.register_hook(lambda came_back: seen.append((layer, args[0].detach(), came_back)))

    for layer in layers_of(net):
        layer.register_forward_hook(hook)
    net(images)[torch.arange(len(images)), labels].sum().backward()
    rows = []
    for layer, given, came_back in seen:
        if isinstance(layer, nn.Linear):
            rows.append(torch.einsum("ni,nj->nij", came_back, given).flatten(1))
        else:
            columns = F.unfold(given, layer.kernel_size, layer.dilation, layer.padding, layer.stride)
            rows.append(torch.einsum("ijk,ilk->ijl", came_back.flatten(2), columns).flatten(1))
    gradients = torch.cat(rows, 1)
    values = torch.linalg.eigvalsh(gradients @ gradients.T)
    return math.sqrt(float(values.sum()) / len(images))


def meco(model: nn.Module, images: Tensor, labels: Tensor, seed: int) -> float:
    net, found = trained(model), []

    def hook(module: nn.Module, args: tuple, output: Tensor) -> None:
        maps = output[0].detach().reshape(output.shape[1], -1)
        correlations = torch.corrcoef(maps.double())
        correlations[~torch.isfinite(correlations)] = 0
        found.append(torch.min(torch.real(torch.linalg.eig(correlations)[0])))

    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(hook)
    net(RandomImages(images, seed)("meco", 1))
    return float(torch.stack(found).sum())


def zico(model: nn.Module, images: Tensor, labels: Tensor, seed: int) -> float:
    net, gathered = trained(model), {}
    for x, y in zip(images.tensor_split(2), labels.tensor_split(2), strict=True):
        backward(net, x, y)
        for name, layer in net.named_modules():
            if isinstance(layer, LAYERS) and layer.weight.grad is not None:
                gathered.setdefault(name, []).append(layer.weight.grad.double().reshape(-1).numpy().copy())
    total = 0.0
    for gradients in gathered.values():
        stacked = np.array(gradients)
        deviation = np.std(stacked, axis=0)
        kept = np.nonzero(deviation)[0]
        ratio = np.sum(np.mean(np.abs(stacked), axis=0)[kept] / deviation[kept])
        if ratio != 0:
            total += np.log(ratio)
    return float(total)


def swap(model: nn.Module, images: Tensor, labels: Tensor, seed: int) -> float:
    """States of 16 samples; normalised with the whole batch, as ours."""
    net, states = trained(model), []
    for module in net.modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_hook(lambda m, args, output: states.append(output.detach()[:16].reshape(16, -1)))
    with torch.no_grad():
        net(images)
    return float(torch.unique(torch.sign(torch.cat(states, 1)).T, dim=0).size(0))


def az_three(model: nn.Module, images: Tensor, labels: Tensor, seed: int) -> dict[str, float]:
    """Blocks are the stem, the cells and the reductions."""
    net = trained(model)
    draw_weights(net, stream(seed, "az weights"), fan_in_scaled=True)
    features = [net.stem(RandomImages(images, seed)("az"))]
    for block in net.body:
        features.append(block(features[-1]))
    entropies = []
    for feature in features:
        rows = feature.detach().permute(0, 2, 3, 1).reshape(-1, feature.shape[1])
        rows = rows - rows.mean(0, keepdim=True)
        values = torch.linalg.eigvalsh(rows.T @ rows / len(rows))
        shares = values / values.sum()
        value = float((-shares * torch.log(shares.clamp(min=0) + 1e-8)).sum())
        entropies.append(0.0 if math.isnan(value) else value)
    directions, scores = stream(seed, "az directions"), []
    for place in reversed(range(1, len(features))):
        given, feature = features[place - 1], features[place]
        out = (torch.randint(2, feature.shape, generator=directions) - 0.5) * 2
        (back,) = (
            torch.autograd.grad(feature, given, out, retain_graph=True, allow_unused=True)
            if feature.requires_grad
            else (None,)
        )
        if back is None or (back.shape == out.shape and bool((back == out).all())):
            scores.append(2 - 1e6)
            continue
        if back.shape[2:] != out.shape[2:]:
            stride = -(-back.shape[2] // out.shape[2])
            short = stride * out.shape[2] - back.shape[2]
            back = F.pixel_unshuffle(F.pad(back, (0, short, 0, short)), stride)
        out = out.permute(0, 2, 3, 1).reshape(-1, out.shape[1])
        matrix = back.permute(0, 2, 3, 1).reshape(len(out), -1).T @ out / len(out)
        top = float(torch.linalg.svdvals(matrix)[0])
        scores.append(2 - top - 1 / (top + 1e-6))
    return {
        "az_expressivity": sum(entropies),
        "az_progressivity": float(np.min(np.diff(entropies))),
        "az_trainability": float(np.mean(scores)),
    }


Single = Callable[[nn.Module, Tensor, Tensor, int], float]
SINGLE: dict[str, Single] = {
    function.__name__: function
    for function in (
        params, flops, grad_norm, snip, grasp, fisher, synflow, jacov, naswot, l2_norm, plain, epe_nas, zen, ntk_cond,
        ntk_trace, meco, zico, swap,
    )
}  # fmt: skip
"""Metrics that have a function of their own; `az_complexity` is `flops`, the other three come from `az_three`."""
