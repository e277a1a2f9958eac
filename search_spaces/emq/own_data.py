"""Data of one's own as training samples and test samples: the same rule wherever they are asked for.

Data are one of these, or a function without arguments that gives one. A source is
    (inputs, labels)                          tensors or arrays of the same length
    a DataLoader, or any iterator of batches  each (inputs, labels)
    a Dataset                                 len() and [i] -> (input, label)

    (source, source)                          a tuple or list of exactly two: training, test
    {"calibration": source, "test": source}   the same, by name
    source                                    one alone is cut: the first samples for calibration, the rest for the test

A tuple or list of any other number of pairs is refused: whether they are batches, or parts such as training,
validation and test, cannot be told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from evo.errors import ConfigError

MOST = 20_000
"""Samples of a loader or a dataset that are read, for the test; the shipped networks have 10,000."""
FORMS = (
    "give ((training inputs, labels), (test inputs, labels)), {'calibration': ..., 'test': ...}, or one set alone: "
    "(inputs, labels), a data loader or a dataset"
)


class Parts(NamedTuple):
    """Samples by what they are for, and how that was settled.

    Attributes:
        inputs, labels: for calibration: (n, ...) and (n,) int64.
        test_inputs, test_labels: for the test.
        use: which of the given samples these are, in words.
    """

    inputs: Tensor
    labels: Tensor
    test_inputs: Tensor
    test_labels: Tensor
    use: str


def parts_of(given: Any, spec: str, calibration: int) -> Parts:
    """Training and test samples.

    Args:
        given: see the module's docstring.
        spec: its name, for messages.
        calibration: training samples, at most.

    Raises:
        ConfigError: it has none of these forms, or too few samples for both uses.
    """
    two = _two(given, spec)
    if two is not None:
        training, test = _pair(two[0], spec, calibration), _pair(two[1], spec, MOST)
        inputs, labels = training[0][:calibration], training[1][:calibration]
        tested = f"the test part, {len(test[1]):,} samples, is the test"
        use = f"the first {len(labels):,} of the training part calibrate; {tested}"
        return Parts(inputs, labels, *test, use)
    inputs, labels = _pair(given, spec, calibration + MOST)
    left = len(labels) - calibration
    if left < 2:
        raise ConfigError(
            f"data {spec} hold {len(labels)} samples: {calibration} for calibration leave {max(left, 0)} for the test",
            "give more data, a smaller --calibration, or the two parts: {'calibration': ..., 'test': ...}",
        )
    cut = calibration
    use = f"one set: its first {cut:,} samples calibrate, the {left:,} after them are for the test"
    return Parts(inputs[:cut], labels[:cut], inputs[cut:], labels[cut:], use)


def training_batch(given: Any, spec: str, most: int) -> tuple[Tensor, Tensor]:
    """A batch of training samples, nothing of a test part. Raises as `parts_of`.

    Args:
        given: see the module's docstring; a pair (inputs, labels) alone is the batch, whole.
        spec: its name, for messages.
        most: samples that are taken of anything else, the first.
    """
    if _is_pair(given):
        return _pair(given, spec, most)
    two = _two(given, spec)
    inputs, labels = _pair(given if two is None else two[0], spec, most)
    return inputs[:most], labels[:most]


def made(found: Any, spec: str) -> Any:
    """What a function without arguments gives; anything else as it is.

    Raises:
        ConfigError: the function fails.
    """
    # a class that makes the data, or a function; data sets and loaders are seldom callable
    if not callable(found) or isinstance(found, Mapping | Iterable | torch.utils.data.Dataset):
        return found
    try:
        return found()
    except Exception as error:
        raise ConfigError(
            f"{spec}() failed: {type(error).__name__}: {error}", "it is called without arguments"
        ) from error


def _two(given: Any, spec: str) -> tuple[Any, Any] | None:
    """(training, test) where both are given; None for one set alone."""
    if isinstance(given, Mapping):
        missing = [part for part in ("calibration", "test") if part not in given]
        if missing:
            raise ConfigError(f"data {spec} lack {', '.join(map(repr, missing))}", "{'calibration': ..., 'test': ...}")
        return given["calibration"], given["test"]
    if not isinstance(given, tuple | list) or _is_pair(given):
        return None
    if len(given) == 2 and all(_is_source(part) for part in given):
        return given[0], given[1]
    kind = "pairs" if given and all(map(_is_pair, given)) else "things"
    raise ConfigError(
        f"data {spec} are {len(given)} {kind} in a {type(given).__name__}: neither (inputs, labels) nor "
        "(training, test)",
        f"{FORMS}; batches come from a data loader",
    )


def _is_pair(given: Any) -> bool:
    return (
        isinstance(given, tuple | list) and len(given) == 2 and all(isinstance(x, Tensor | np.ndarray) for x in given)
    )


def _is_source(given: Any) -> bool:
    return _is_pair(given) or isinstance(given, torch.utils.data.Dataset | torch.utils.data.DataLoader)


def _pair(given: Any, spec: str, most: int) -> tuple[Tensor, Tensor]:
    """(n, ...) inputs and (n,) labels of one source."""
    if _is_pair(given):
        inputs, labels = (torch.as_tensor(x) for x in given)
    elif isinstance(given, torch.utils.data.Dataset) and not isinstance(given, torch.utils.data.IterableDataset):
        count = min(len(given), most)  # type: ignore[arg-type]
        inputs, labels = _joined((_batch(given[i], spec, single=True) for i in range(count)), spec)
    elif isinstance(given, Iterable) and not isinstance(
        given, str | bytes | Mapping | tuple | list | Tensor | np.ndarray
    ):
        inputs, labels = _joined((_batch(one, spec, single=False) for one in _until(given, spec, most)), spec)
    else:
        raise ConfigError(f"data {spec} are {type(given).__name__}", FORMS)
    if not inputs.ndim or labels.ndim != 1 or labels.is_floating_point() or len(labels) != len(inputs):
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
    if not single and not (inputs.ndim and labels.ndim):
        raise ConfigError(f"data {spec} give single numbers", "each item must be a batch (inputs, labels)")
    return (inputs[None], labels[None]) if single else (inputs, labels)


def _joined(batches: Iterable[tuple[Tensor, Tensor]], spec: str) -> tuple[Tensor, Tensor]:
    found = list(batches)
    if not found:
        return torch.empty(0, 1), torch.empty(0, dtype=torch.long)
    try:
        return torch.cat([inputs for inputs, _ in found]), torch.cat([labels for _, labels in found])
    except RuntimeError as error:
        raise ConfigError(
            f"the samples of {spec} cannot be joined: {error}", "all inputs must have one shape"
        ) from error
