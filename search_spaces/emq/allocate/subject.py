"""The user's model and data, found by module:attr and brought into one form; or a network that ships, with its own.

Data are one of these, or a function without arguments that gives one:
    (inputs, labels)                          tensors or arrays of the same length
    a DataLoader, or any iterable of batches  each (inputs, labels)
    a Dataset                                 len() and [i] -> (input, label)
    {"calibration": ..., "test": ...}         two of the above; otherwise the first samples calibrate, the rest test
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from evo.errors import ConfigError
from search_spaces.emq.benchmark.networks import NETWORKS

MOST = 20_000
"""Samples of an iterable or a dataset that are read, for the test; the shipped networks have 10,000."""


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A model, and samples to calibrate and others to test it on.

    Attributes:
        model: in the mode it came in.
        name: for people and files.
        source: where the data come from, for people.
        inputs, labels: calibration: (n, ...) and (n,) int64.
        test_inputs, test_labels: the test.
    """

    model: nn.Module
    name: str
    source: str
    inputs: Tensor
    labels: Tensor
    test_inputs: Tensor
    test_labels: Tensor


def subject_of(model: str, data: str | None, calibration: int) -> Subject:
    """The model and its data.

    Args:
        model: "resnet", "mobilenet", or module:attr.
        data: module:attr; None for a network that ships.
        calibration: samples for calibration, at most.

    Raises:
        ConfigError: either cannot be loaded, or is something else.
    """
    if model in NETWORKS:
        from search_spaces.emq.benchmark import batch, network
        from search_spaces.emq.benchmark.images import images

        found, name = network(model), model
        if data is None:
            pictures = images()
            return Subject(
                found, name, pictures.source, *batch(model, calibration), pictures.test, pictures.test_labels
            )
    else:
        found, name = _model(model), model.rpartition(":")[2].lower()
    if data is None:
        raise ConfigError(f"model {model} needs data", "--data module:attr, a pair (inputs, labels) or a data loader")
    given = _attribute(data, "data")
    given = _called(given, data) if _is_function(given) else given
    if isinstance(given, Mapping):
        missing = [part for part in ("calibration", "test") if part not in given]
        if missing:
            raise ConfigError(f"data {data} lack {', '.join(map(repr, missing))}", "{'calibration': ..., 'test': ...}")
        inputs, labels = _pair(given["calibration"], data, calibration)
        return Subject(found, name, data, inputs[:calibration], labels[:calibration], *_pair(given["test"], data, MOST))
    inputs, labels = _pair(given, data, calibration + MOST)
    if len(labels) < calibration + 2:
        raise ConfigError(
            f"data {data} hold {len(labels)} samples: {calibration} for calibration leave {len(labels) - calibration} "
            "for the test",
            "give more data, a smaller --calibration, or {'calibration': ..., 'test': ...}",
        )
    cut = calibration
    return Subject(found, name, data, inputs[:cut], labels[:cut], inputs[cut:], labels[cut:])


def _model(spec: str) -> nn.Module:
    found = _attribute(spec, "model")
    if not isinstance(found, nn.Module) and callable(found):
        found = _called(found, spec)
    if not isinstance(found, nn.Module):
        raise ConfigError(
            f"model {spec} is {type(found).__name__}, no torch module",
            "name a module, or a function without arguments that makes one",
        )
    return found


def _pair(given: Any, spec: str, most: int) -> tuple[Tensor, Tensor]:
    """(n, ...) inputs and (n,) labels."""
    if isinstance(given, tuple | list) and len(given) == 2 and all(isinstance(x, Tensor | np.ndarray) for x in given):
        inputs, labels = (torch.as_tensor(x) for x in given)
    elif isinstance(given, torch.utils.data.Dataset) and not isinstance(given, torch.utils.data.IterableDataset):
        count = min(len(given), most)  # type: ignore[arg-type]
        inputs, labels = _joined(_batch(given[i], spec, single=True) for i in range(count))
    elif isinstance(given, Iterable) and not isinstance(given, str | bytes | Tensor | np.ndarray):
        inputs, labels = _joined(_batch(one, spec, single=False) for one in _until(given, spec, most))
    else:
        raise ConfigError(f"data {spec} are {type(given).__name__}", "(inputs, labels), a data loader, or a dataset")
    if labels.ndim != 1 or labels.is_floating_point() or len(labels) != len(inputs):
        raise ConfigError(
            f"data {spec}: inputs {tuple(inputs.shape)}, labels {tuple(labels.shape)} of {labels.dtype}",
            "labels are the classes, a whole number a sample",
        )
    if not len(labels):
        raise ConfigError(f"data {spec} hold no sample", "give some")
    return inputs, labels.long()


def _until(given: Iterable[Any], spec: str, most: int) -> Iterable[Any]:
    seen = 0
    for one in given:
        yield one
        seen += len(_batch(one, spec, single=False)[1])
        if seen >= most:
            return


def _batch(one: Any, spec: str, single: bool) -> tuple[Tensor, Tensor]:
    if not isinstance(one, tuple | list) or len(one) != 2:
        raise ConfigError(f"data {spec} give {type(one).__name__}, no pair", "each item must be (inputs, labels)")
    try:
        inputs, labels = (torch.as_tensor(x) for x in one)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(
            f"data {spec} give what is no tensor: {error}", "each item must be (inputs, labels)"
        ) from error
    return (inputs[None], labels[None]) if single else (inputs, labels)


def _joined(batches: Iterable[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    found = list(batches)
    if not found:
        return torch.empty(0, 1), torch.empty(0, dtype=torch.long)
    try:
        return torch.cat([inputs for inputs, _ in found]), torch.cat([labels for _, labels in found])
    except RuntimeError as error:
        raise ConfigError(f"the samples cannot be joined: {error}", "all inputs must have one shape") from error


def _is_function(found: Any) -> bool:
    # a class that makes the data, or a function; data sets and loaders are seldom callable
    return callable(found) and not isinstance(found, Mapping | Iterable | torch.utils.data.Dataset)


def _called(found: Any, spec: str) -> Any:
    try:
        return found()
    except Exception as error:
        raise ConfigError(
            f"{spec}() failed: {type(error).__name__}: {error}", "it is called without arguments"
        ) from error


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
