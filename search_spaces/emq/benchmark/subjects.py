"""What a build measures: one of the package's networks, or a model and data of the user's own; named, not pickled.

A worker process builds its own copy from the names, so that nothing large crosses between processes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from evo.options import did_you_mean
from search_spaces.emq.benchmark.errors import BenchmarkError
from search_spaces.emq.benchmark.files import digest
from search_spaces.emq.benchmark.images import Images, images
from search_spaces.emq.benchmark.pretrained import read_network


@dataclass(frozen=True, slots=True)
class Subject:
    """A model and its data by name.

    Attributes:
        name: of the network, and of its files.
        weights: file of a network of this package; None for a model of the user's own.
        source: of Fashion-MNIST, for a network of this package.
        model, data: "module:attr" of the user's own.
        test: test examples that are looked at; None: all.
    """

    name: str
    weights: Path | None = None
    source: str | None = None
    model: str = ""
    data: str = ""
    test: int | None = None

    def load(self) -> tuple[nn.Module, Images]:
        """The model in evaluation mode, and the data.

        Raises:
            BenchmarkError: the names lead to nothing that fits.
            BenchmarkFileError, DamagedBenchmarkError: the weights cannot be read.
        """
        if self.weights is not None:
            model, data = read_network(self.weights)[0], images(self.source)
        else:
            model, data = own_model(self.model), own_data(self.data)
            _fits(model, data, self.model)
        if self.test is not None:
            data = dataclasses.replace(data, test=data.test[: self.test], test_labels=data.test_labels[: self.test])
        return model.eval(), data


def identity(model: nn.Module) -> str:
    """Hexadecimal SHA-256 of a model's parameters and buffers."""
    return digest({name: t.detach().cpu().numpy() for name, t in model.state_dict().items()}, {})


def own_model(spec: str) -> nn.Module:
    """The model that `spec` ("module:attr") is, or that it returns.

    Raises:
        BenchmarkError: it cannot be imported or called, or is no model.
    """
    model = _found(spec, "model")
    if not isinstance(model, nn.Module):
        model = _called(model, spec, "model")
    if not isinstance(model, nn.Module):
        raise BenchmarkError(f"{spec} returns {type(model).__name__}, not a torch module", "return the trained model")
    return model


def own_data(spec: str) -> Images:
    """The data that `spec` ("module:attr") is or returns: (training inputs, labels), (test inputs, labels), or the same
    under "calibration" and "test".

    Raises:
        BenchmarkError: it cannot be imported or called, or returns something else.
    """
    value = _found(spec, "data")
    if callable(value):
        value = _called(value, spec, "data")
    hint = "return (training inputs, labels), (test inputs, labels), as tensors"
    try:
        pairs = [value["calibration"], value["test"]] if isinstance(value, Mapping) else value
        (train, train_labels), (test, test_labels) = ([_tensor(x) for x in pair] for pair in pairs)
    except (KeyError, TypeError, ValueError) as error:
        raise BenchmarkError(f"{spec} does not return two pairs", hint) from error
    state = hashlib.sha256()
    for what, inputs, labels in (("training", train, train_labels), ("test", test, test_labels)):
        if not all(isinstance(x, Tensor) and x.ndim for x in (inputs, labels)):
            raise BenchmarkError(f"{spec}: {what} inputs or labels are no tensors with a first dimension", hint)
        if labels.ndim != 1 or labels.is_floating_point() or len(labels) != len(inputs) or not len(labels):
            raise BenchmarkError(
                f"{spec}: {what} labels are {tuple(labels.shape)} {labels.dtype} for {len(inputs)} inputs",
                "give one whole number for each input, and one input or more",
            )
        for x in (inputs, labels):
            state.update(f"{x.dtype} {tuple(x.shape)}\n".encode())
            state.update(x.detach().contiguous().cpu().numpy().tobytes())
    return Images(train, train_labels.long(), test, test_labels.long(), source=spec, digest=state.hexdigest())


def _tensor(x: Any) -> Any:
    return torch.from_numpy(x) if isinstance(x, np.ndarray) else x


def _found(spec: str, what: str) -> Any:
    module_name, _, attribute = spec.partition(":")
    if not module_name or not attribute:
        raise BenchmarkError(f"{what} is {spec!r}", "give module:attr, say my_models:trained")
    try:
        found: Any = importlib.import_module(module_name)
    except Exception as error:
        raise BenchmarkError(
            f"{what} {spec}: importing {module_name} failed: {type(error).__name__}: {error}",
            "check the name; modules are looked for where the command runs, and on PYTHONPATH",
        ) from error
    if not hasattr(found, attribute):
        hint = did_you_mean(attribute, dir(found)) or "check the name"
        raise BenchmarkError(f"{what} {spec}: {module_name} has no attribute {attribute!r}", hint)
    return getattr(found, attribute)


def _called(function: Any, spec: str, what: str) -> Any:
    if not callable(function):
        raise BenchmarkError(f"{what} {spec} is {type(function).__name__}", f"name a function that returns the {what}")
    try:
        return function()
    except Exception as error:
        raise BenchmarkError(
            f"{what} {spec} raised {type(error).__name__}: {error}", "it is called without arguments"
        ) from error


def _fits(model: nn.Module, data: Images, spec: str) -> None:
    """Raise unless the model turns inputs into finite logits, one row each."""
    n = min(2, len(data.test_labels))
    try:
        with torch.no_grad():
            logits = model.eval()(data.test[:n])
    except Exception as error:
        raise BenchmarkError(
            f"model {spec} fails on its test inputs {tuple(data.test.shape)}: {type(error).__name__}: {error}",
            "it is called with a batch of inputs, and runs on the CPU",
        ) from error
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != n:
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise BenchmarkError(f"model {spec} returns {shape} for {n} inputs", "return logits (inputs, classes)")
    if not bool(torch.isfinite(logits).all()):
        raise BenchmarkError(f"model {spec} returns values that are not finite", "check its weights")
    labels = torch.cat([data.train_labels, data.test_labels])
    if int(labels.min()) < 0 or int(labels.max()) >= logits.shape[1]:
        raise BenchmarkError(
            f"labels reach from {int(labels.min())} to {int(labels.max())}, the model has {logits.shape[1]} classes",
            "number classes from 0",
        )
