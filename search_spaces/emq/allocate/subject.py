"""The user's model and data, found by module:attr and brought into one form; or a network that ships, with its own.

Which forms data may have, and which samples are used for what: `search_spaces/emq/own_data.py`.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from evo.errors import ConfigError
from proxies.quantization.layers import isolated, working_copy
from search_spaces.emq.benchmark.networks import NETWORKS
from search_spaces.emq.own_data import made, parts_of


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A model, and samples to calibrate and others to test it on.

    Attributes:
        model: in the mode it came in.
        name: for people and files.
        source: where the data come from, for people.
        inputs, labels: calibration: (n, ...) and (n,) int64.
        test_inputs, test_labels: the test.
        use: which of the data's samples these are, in words.
    """

    model: nn.Module
    name: str
    source: str
    inputs: Tensor
    labels: Tensor
    test_inputs: Tensor
    test_labels: Tensor
    use: str


def subject_of(model: str, data: str | None, calibration: int) -> Subject:
    """The model and its data.

    Args:
        model: "resnet", "mobilenet", or module:attr.
        data: module:attr; None for a network that ships.
        calibration: samples for calibration, at most.

    Raises:
        ConfigError: either cannot be loaded, is something else, or they do not fit together.
        UnsupportedModelError: the model cannot be copied.
    """
    if model in NETWORKS:
        from search_spaces.emq.benchmark import batch, network
        from search_spaces.emq.benchmark.images import images

        found, name = network(model), model
        if data is None:
            pictures = images()
            inputs, labels = batch(model, calibration)
            return Subject(
                found, name, pictures.source, inputs, labels, pictures.test, pictures.test_labels,
                f"{len(labels):,} of the training images calibrate; the test images, {len(pictures.test_labels):,}, "
                "are for the test",
            )  # fmt: skip
    else:
        found, name = _model(model), model.rpartition(":")[2].lower()
    if data is None:
        raise ConfigError(
            f"model {model} needs data", "--data module:attr: (training, test), each (inputs, labels), or a data loader"
        )
    subject = Subject(found, name, data, *parts_of(made(_attribute(data, "data"), data), data, calibration))
    _require_fit(subject)
    return subject


def _require_fit(subject: Subject) -> None:
    """Raise unless the model turns both kinds of inputs into finite logits, whose classes the labels are."""
    classes = 0
    with isolated(subject.model), torch.no_grad():
        copied = working_copy(subject.model)
        for what, inputs in (("calibration", subject.inputs), ("test", subject.test_inputs)):
            few = inputs[:2]
            logits = _logits(copied, few, what)
            if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(few):
                shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
                raise ConfigError(
                    f"the model gives {shape} for {what} inputs of shape {tuple(few.shape)}",
                    "it must give logits (samples, classes)",
                )
            if not bool(torch.isfinite(logits).all()):
                raise ConfigError("the model gives logits that are not finite", "check its weights and the inputs")
            classes = logits.shape[1]
    for what, labels in (("calibration", subject.labels), ("test", subject.test_labels)):
        least, most = int(labels.min()), int(labels.max())
        if most >= classes:
            raise ConfigError(
                f"the model gives {classes} classes, {what} labels reach {most}", f"number classes 0 to {classes - 1}"
            )
        if least < 0:
            raise ConfigError(f"{what} labels go down to {least}", f"number classes 0 to {classes - 1}")


def _logits(model: nn.Module, inputs: Tensor, what: str) -> Any:
    try:
        return model(inputs.clone())
    except Exception as error:
        raise ConfigError(
            f"the model fails on {what} inputs of shape {tuple(inputs.shape)} and {inputs.dtype}: "
            f"{type(error).__name__}: {error}",
            "it is called with a batch of inputs, on the CPU",
        ) from error


def _model(spec: str) -> nn.Module:
    found = _attribute(spec, "model")
    if not isinstance(found, nn.Module) and callable(found):
        found = made(found, spec)
    if not isinstance(found, nn.Module):
        raise ConfigError(
            f"model {spec} is {type(found).__name__}, no torch module",
            "name a module, or a function without arguments that makes one",
        )
    return found


def _attribute(spec: str, what: str) -> Any:
    module, colon, attribute = spec.partition(":")
    if not colon or not module or not attribute:
        known = f", or {', '.join(NETWORKS)}" if what == "model" else ""
        raise ConfigError(f"{what} {spec!r} is no module:attr", f"give module:attr, importable from here{known}")
    try:
        found: Any = importlib.import_module(module)
    except Exception as error:
        raise ConfigError(
            f"{what} {spec}: importing {module} failed: {type(error).__name__}: {error}",
            "the working folder and PYTHONPATH are looked through",
        ) from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise ConfigError(f"{what} {spec}: {module} has no attribute {attribute!r}", "check its name")
        found = getattr(found, part)
    return found
