"""What a diffusion model is to a search: a network that denoises, the noise levels it knows, and a digest."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from evo.errors import ConfigError

PREDICTIONS = ("epsilon", "v_prediction", "sample")
KINDS = ("unconditional", "conditional")


@dataclass(frozen=True, slots=True, eq=False)
class NoiseSchedule:
    """The noise levels a model was trained on: x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) epsilon.

    Attributes:
        alphas_cumprod: (T,) float64, abar_t for t = 0 .. T-1; decreasing, in (0, 1). Read-only. The values of
            diffusers' schedulers, which compute in float32.
        prediction_type: what the network predicts: "epsilon" (the noise), "v_prediction" or "sample" (x_0).
        clip: whether a predicted x_0 is clipped to [-1, 1] at each step (diffusers' `clip_sample`).
    """

    alphas_cumprod: np.ndarray
    prediction_type: str = "epsilon"
    clip: bool = True

    def __post_init__(self) -> None:
        levels = np.array(self.alphas_cumprod, np.float64)
        if (
            levels.ndim != 1
            or len(levels) < 2
            or not ((levels > 0) & (levels < 1)).all()
            or (np.diff(levels) > 0).any()
        ):
            raise ConfigError(
                f"alphas_cumprod of shape {levels.shape} are no noise levels",
                "give a vector of two or more values in (0, 1) that fall with t",
            )
        if self.prediction_type not in PREDICTIONS:
            raise ConfigError(f"prediction_type is {self.prediction_type!r}", f"samplers know {', '.join(PREDICTIONS)}")
        levels.flags.writeable = False
        object.__setattr__(self, "alphas_cumprod", levels)

    @property
    def steps(self) -> int:
        """T, the number of noise levels: timesteps are 0 .. T-1."""
        return len(self.alphas_cumprod)

    @property
    def sigmas(self) -> np.ndarray:
        """(T,) float64: sqrt((1 - abar) / abar), the noise's deviation where the image's scale is kept."""
        return np.sqrt((1 - self.alphas_cumprod) / self.alphas_cumprod)

    @classmethod
    def of_scheduler(cls, scheduler: Any) -> NoiseSchedule:
        """Of any scheduler of diffusers that keeps `alphas_cumprod`; without a `clip_sample` nothing is clipped.

        Raises:
            ConfigError: it keeps none (flow matching), or predicts otherwise.
        """
        levels = getattr(scheduler, "alphas_cumprod", None)
        if levels is None:
            raise ConfigError(
                f"{type(scheduler).__name__} has no alphas_cumprod", "models with discrete noise levels are supported"
            )
        config = scheduler.config
        clip = bool(config.get("clip_sample", False))
        return cls(torch.as_tensor(levels).double().numpy(), config.get("prediction_type", "epsilon"), clip)


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A diffusion model, ready to sample from.

    Attributes:
        name: for people.
        unet: the network; in evaluation mode, its parameters without gradients. Called as those of diffusers are.
        schedule: its noise levels.
        shape: (c, h, w) of one image (or latent).
        digest: hexadecimal SHA-256 of weights, configuration and noise levels: equal digests, equal images.
        kind: of `KINDS`. A conditional one takes what `call` is given by name, one row a sample.
    """

    name: str
    unet: nn.Module
    schedule: NoiseSchedule
    shape: tuple[int, int, int]
    digest: str
    kind: str = "unconditional"

    def call(self, x: Tensor, t: Tensor, **conditions: Any) -> Tensor:
        """The network's prediction, of `schedule.prediction_type`; for the models that ship, epsilon.

        Args:
            x: (n, c, h, w) float, noisy images.
            t: (n,) int64, the timestep of each.
            conditions: further arguments of the network, such as `encoder_hidden_states` (n, length, width).

        Returns:
            (n, c, h, w), of x's dtype. Where the network also predicts variances (2c channels), they are left out.
        """
        predicted = self.unet(x, t, return_dict=False, **conditions)[0]
        return predicted if predicted.shape[1] == self.shape[0] else predicted[:, : self.shape[0]]

    __call__ = call


def model_of(name: str, unet: nn.Module, schedule: NoiseSchedule, shape: tuple[int, int, int], kind: str) -> Model:
    """A model around a network: switched to evaluation, its parameters frozen, its digest computed.

    Raises:
        ConfigError: `kind` is unknown.
    """
    if kind not in KINDS:
        raise ConfigError(f"kind is {kind!r}", f"a model is {' or '.join(KINDS)}")
    unet.eval().requires_grad_(False)
    return Model(name, unet, schedule, shape, digest_of(unet, schedule), kind)


def digest_of(unet: nn.Module, schedule: NoiseSchedule) -> str:
    """Hexadecimal SHA-256 of a network's configuration and weights and of its noise levels."""
    found = hashlib.sha256()
    config = getattr(unet, "config", None) or {}
    kept = {key: value for key, value in dict(config).items() if not key.startswith("_")}
    found.update(json.dumps([type(unet).__name__, kept], sort_keys=True, default=str).encode())
    found.update(schedule.alphas_cumprod.tobytes())
    found.update(f"{schedule.prediction_type} {schedule.clip}".encode())
    for name, tensor in sorted(unet.state_dict().items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        found.update(_bytes(tensor))
    return found.hexdigest()


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
