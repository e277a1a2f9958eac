"""The metrics of a pool's networks: computed by the workers, each kept as soon as its group is done.

A journal in the folder, "scores-DIGEST.jsonl", holds what was computed under the same code, images, seed and numeric
backend: a second run, one that is resumed, or one of a larger pool computes what is missing and no more.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from evo.errors import ConfigError
from evo.space import Preparation
from search_spaces.building.journal import LineJournal
from search_spaces.building.session import one_thread
from search_spaces.robot.live.recipe import Recipe, scoring_identity

GROUP = 24
"""Architectures that the workers get at once; as many are lost to a kill, at most."""
COMPLETE = 0.9
"""Share of the architectures that a metric must have a value for to be taken where none are named."""
WORDS = "pool: networks scored"


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """What is known of a pool.

    Attributes:
        architectures: (n,) texts; those that could not be scored at all are left out.
        metrics: by name, (n,) float64; NaN where one has no value.
        dropped: metrics that were left out, and why.
        failed: architectures that were left out, and why.
    """

    architectures: tuple[str, ...]
    metrics: Mapping[str, np.ndarray]
    dropped: Mapping[str, str]
    failed: Mapping[str, str]


def scored(
    recipe: Recipe, architectures: Sequence[str], metrics: Sequence[str], named: bool, draw: int, work: Preparation
) -> Scores:
    """Metrics of architectures, computed where the folder does not have them.

    Args:
        recipe: how to build them.
        architectures: texts.
        metrics: names.
        named: the user asked for these: one that cannot be computed is an error. Otherwise it is left out.
        draw: seed of the pool.
        work: folder, workers, progress.

    Raises:
        ConfigError: the first architecture cannot be scored, or a metric that was asked for cannot be computed, or
            none can.
        DamagedBenchmarkError: the journal is damaged.
    """
    names = tuple(metrics)
    digest = scoring_identity(recipe, names, draw)
    path = work.folder / f"scores-{digest[:16]}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    with _held(path.with_suffix(".lock")), LineJournal(path, digest) as journal:
        known = {entry["architecture"]: entry for entry in journal.entries}
        todo = [text for text in architectures if text not in known]
        total, done = len(architectures), len(architectures) - len(todo)
        work.progress(done, total, WORDS)
        # the first alone: what is wrong with a space, or with a metric in it, shows at once
        apart: tuple[str, ...] = ()
        groups = [todo[:1], *(todo[i : i + GROUP] for i in range(1, len(todo), GROUP))] if todo else []
        for group in groups:
            for entry in work.map(partial(measured, recipe, names, apart), group):
                if not known:
                    _check_first(recipe, entry, named)
                if "errors" in entry:
                    apart = apart or tuple(entry["errors"])
                journal.add(entry)
                known[entry["architecture"]] = entry
            done += len(group)
            work.progress(done, total, WORDS)
    return _summed(recipe, [known[text] for text in architectures], names, named)


def measured(recipe: Recipe, metrics: tuple[str, ...], apart: tuple[str, ...], text: str) -> dict[str, Any]:
    """The entry of one architecture: its metrics, None where not finite, and the errors of those without a value.

    Args:
        recipe: how to build it.
        metrics: names.
        apart: those of them that probably fail; it changes nothing but the time.
        text: the architecture.
    """
    space, pictures = recipe.space(), recipe.pictures()
    entry: dict[str, Any] = {"architecture": text}
    with one_thread():
        batch = metric_batch(pictures, recipe.metric_batch, recipe.metric_seed)
        try:
            model = space.build(space.decode(text), seed=recipe.metric_seed)
            _check_logits(model, batch[0], int(max(pictures.train_labels.max(), pictures.validation_labels.max())))
        except Exception as error:
            return {**entry, "failed": f"{type(error).__name__}: {error}".splitlines()[0]}
        errors: dict[str, str] = {}
        # those that failed for the first network are asked for alone: they would make the others' passes fail, too
        usual = tuple(name for name in metrics if name not in apart)
        values = _values(model, batch, usual, recipe.metric_seed, errors)
        for name in apart:
            values |= _values(model, batch, (name,), recipe.metric_seed, errors)
    if len(errors) == len(metrics):
        return {**entry, "failed": next(iter(errors.values()))}
    return {
        **entry, "values": {name: value if math.isfinite(value) else None for name, value in values.items()},
        "errors": errors,
    }  # fmt: skip


def _check_logits(model: Any, images: Any, label: int) -> None:
    """Raise whatever the model raises on images, or ValueError if it gives no finite logits up to a label."""
    import torch

    with torch.no_grad():
        given = model.eval()(images.clone())
    if not isinstance(given, torch.Tensor) or given.ndim != 2 or len(given) != len(images):
        shape = tuple(given.shape) if isinstance(given, torch.Tensor) else type(given).__name__
        raise ValueError(f"{tuple(images.shape)} images give {shape}")
    if given.shape[1] <= label:
        raise ValueError(f"it gives {given.shape[1]} logits, and a label is {label}")
    if not bool(torch.isfinite(given).all()):
        raise ValueError("its logits are not finite before any training")


def _values(
    model: Any, batch: tuple[Any, Any], names: tuple[str, ...], seed: int, errors: dict[str, str]
) -> dict[str, float]:
    """Metrics of a model; where some cannot be computed, halves of the names are tried, and errors kept by name."""
    from proxies.errors import ProxyError
    from proxies.network import score

    if not names:
        return {}
    try:
        return score(model, batch, names, seed=seed)
    except Exception as error:
        if len(names) > 1:
            half = len(names) // 2
            first = _values(model, batch, names[:half], seed, errors)
            return first | _values(model, batch, names[half:], seed, errors)
        said = error.message if isinstance(error, ProxyError) else f"{type(error).__name__}: {error}"
        errors[names[0]] = said.splitlines()[0]
        return {}


def metric_batch(pictures: Any, size: int, seed: int) -> tuple[Any, Any]:
    """Training images (size, channels, height, width) and labels (size,) that metrics are computed on."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(pictures.train_labels), generator=generator)[:size]
    return pictures.train[rows], pictures.train_labels[rows]


def _check_first(recipe: Recipe, entry: Mapping[str, Any], named: bool) -> None:
    if "failed" in entry:
        raise ConfigError(
            f"{recipe.architectures}: {entry['architecture']} cannot be scored: {entry['failed']}",
            "a network takes a batch of images (n, channels, height, width) and returns logits (n, classes)",
        )
    for name, reason in entry["errors"].items() if named else ():
        raise ConfigError(
            f"options.metrics: {name} cannot be computed for {recipe.architectures}: {reason}",
            f"leave {name} out, or name no metrics: then those that can be computed are taken",
        )


def _summed(recipe: Recipe, entries: Sequence[Mapping[str, Any]], names: Sequence[str], named: bool) -> Scores:
    good = [entry for entry in entries if "failed" not in entry]
    failed = {entry["architecture"]: entry["failed"] for entry in entries if "failed" in entry}
    if len(good) < 2:
        raise ConfigError(
            f"{recipe.architectures}: {len(failed)} of {len(entries)} architectures cannot be scored, the first: "
            f"{next(iter(failed.values()))}",
            "mend `build`, or let `sample` draw what can be built",
        )
    columns, dropped = {}, {}
    for name in names:
        values = np.array([_number(entry["values"].get(name)) for entry in good])
        share = float(np.isfinite(values).mean())
        if not named and share < COMPLETE:
            reason = next((entry["errors"][name] for entry in good if name in entry["errors"]), "it is not finite")
            dropped[name] = f"no value for {1 - share:.0%} of the networks: {reason}"
        elif not named and float(np.nanmin(values)) == float(np.nanmax(values)):
            dropped[name] = "the same for all networks"
        else:
            columns[name] = values
    if not columns:
        raise ConfigError(f"{recipe.architectures}: no metric can be computed: {dropped}", "name some: options.metrics")
    return Scores(tuple(entry["architecture"] for entry in good), columns, dropped, failed)


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


@contextlib.contextmanager
def _held(path: Path) -> Iterator[None]:
    """Waits for another run that scores the same pool: then nothing is left to do."""
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
