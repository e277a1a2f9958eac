"""A model's folder: what diffusers' DDPMPipeline saves, with the classifier, the real statistics and their story.

model_index.json, unet/, scheduler/   read by `DDPMPipeline.from_pretrained`, too
classifier.safetensors                its features are what images are compared by
reference.safetensors                 mean and covariance of the real images' features
about.json                            recipe, data, losses, digests
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from search_spaces.autodiffusion.fid.classifier import Classifier
from search_spaces.autodiffusion.fid.features import Extractor, of_classifier, own_extractor
from search_spaces.autodiffusion.fid.reference import Reference, read_reference, write_reference
from search_spaces.autodiffusion.models.libraries import diffusers
from search_spaces.autodiffusion.models.model import Model, NoiseSchedule, model_of
from search_spaces.autodiffusion.models.tensors import AGAIN, read_tensors, write_tensors
from search_spaces.building.errors import BenchmarkError, DamagedBenchmarkError
from search_spaces.building.files import replace

UNET, SCHEDULER, INDEX = "unet", "scheduler", "model_index.json"
WEIGHTS = "diffusion_pytorch_model.safetensors"
CLASSIFIER, REFERENCE, ABOUT = "classifier.safetensors", "reference.safetensors", "about.json"
CLASSIFIED = "classifier"
"""In about.json, where the features are those of the folder's classifier."""


def write_model(folder: Path, unet: nn.Module, scheduler: Any) -> None:
    """Write a UNet of diffusers and a scheduler; weights with two dimensions or more as float16."""
    package = diffusers()
    index = {
        "_class_name": "DDPMPipeline", "_diffusers_version": package.__version__,
        "unet": ["diffusers", type(unet).__name__], "scheduler": ["diffusers", type(scheduler).__name__],
    }  # fmt: skip
    _text(folder / INDEX, index)
    _text(folder / UNET / "config.json", _config(unet))
    _text(folder / SCHEDULER / "scheduler_config.json", _config(scheduler))
    write_tensors(folder / UNET / WEIGHTS, halved(unet), {})


def read_model(folder: Path, name: str | None = None) -> Model:
    """The model of a folder; its weights as float32.

    Raises:
        BenchmarkError: there is none.
        DamagedBenchmarkError: a file is damaged, or the weights are not the network's.
        UsageError: diffusers is not installed.
    """
    package = diffusers()
    config = _json(folder / UNET / "config.json")
    unet: nn.Module = package.UNet2DModel.from_config(config)
    tensors, _ = read_tensors(folder / UNET / WEIGHTS)
    _load(unet, tensors, folder / UNET / WEIGHTS)
    scheduler = package.DDPMScheduler.from_config(_json(folder / SCHEDULER / "scheduler_config.json"))
    return model_of(name or folder.name, unet, NoiseSchedule.of_scheduler(scheduler), _shape(config), "unconditional")


def write_classifier(folder: Path, network: Classifier) -> None:
    """Write a classifier; weights with two dimensions or more as float16."""
    write_tensors(folder / CLASSIFIER, halved(network), {"settings": network.settings})


def read_classifier(folder: Path) -> Classifier:
    """The classifier of a folder, in evaluation mode.

    Raises:
        BenchmarkError, DamagedBenchmarkError: as `read_model`.
    """
    tensors, meta = read_tensors(folder / CLASSIFIER)
    network = Classifier(**meta["settings"])
    _load(network, tensors, folder / CLASSIFIER)
    network.eval().requires_grad_(False)
    return network


def read_extractor(folder: Path, name: str | None = None) -> Extractor:
    """The features that a folder's images are judged by: its classifier's, or those that it was built with.

    Raises:
        BenchmarkError, DamagedBenchmarkError: as `read_model`.
        ConfigError: features of one's own that cannot be had.
    """
    spec = read_about(folder)["features"]
    if spec == CLASSIFIED:
        return of_classifier(read_classifier(folder), name or folder.name)
    return own_extractor(spec, _shape(_json(folder / UNET / "config.json")))


def write_statistics(folder: Path, reference: Reference) -> None:
    """Write the real images' statistics."""
    write_reference(folder / REFERENCE, reference)


def read_statistics(folder: Path) -> Reference:
    """The real images' statistics.

    Raises:
        BenchmarkError, DamagedBenchmarkError: as `read_model`.
    """
    return read_reference(folder / REFERENCE)


def write_about(folder: Path, about: Mapping[str, Any]) -> None:
    """Write how all this was made."""
    _text(folder / ABOUT, about)


def read_about(folder: Path) -> dict[str, Any]:
    """How all this was made.

    Raises:
        BenchmarkError, DamagedBenchmarkError: as `read_model`.
    """
    return _json(folder / ABOUT)


def halved(network: nn.Module) -> dict[str, Tensor]:
    """A network's state for a file: tensors with two dimensions or more as float16, others as they are."""
    return {name: t.half() if t.ndim > 1 and t.is_floating_point() else t for name, t in network.state_dict().items()}


def _load(network: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    try:
        network.load_state_dict({name: t.float() if t.is_floating_point() else t for name, t in tensors.items()})
    except RuntimeError as error:
        raise DamagedBenchmarkError(f"{path} has not the weights of its network: {error}", AGAIN) from error


def _shape(config: Mapping[str, Any]) -> tuple[int, int, int]:
    size = config["sample_size"]
    height, width = (size, size) if isinstance(size, int) else size
    return int(config["in_channels"]), int(height), int(width)


def _config(part: Any) -> dict[str, Any]:
    config: dict[str, Any] = json.loads(part.to_json_string())
    return config


def _text(path: Path, value: Mapping[str, Any]) -> None:
    replace(path, (json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n").encode())


def _json(path: Path) -> dict[str, Any]:
    try:
        value: dict[str, Any] = json.loads(path.read_text())
    except OSError as error:
        raise BenchmarkError(f"{path} cannot be read: {error.strerror or error}", "check the folder") from error
    except ValueError as error:
        raise DamagedBenchmarkError(f"{path} is damaged: {error}", AGAIN) from error
    return value
