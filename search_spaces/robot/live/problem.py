"""The problem of a live run: a pool that was scored, and no accuracies."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

from evo.errors import ConfigError
from evo.space import Preparation
from search_spaces.robot.live.drawing import drawn
from search_spaces.robot.live.names import checked_metrics
from search_spaces.robot.live.recipe import metrics_code, recipe_of, training_identity
from search_spaces.robot.live.scoring import Scores, scored
from search_spaces.robot.options import RobotOptions
from search_spaces.robot.tables import Table


class PoolWarning(UserWarning):
    """Metrics or architectures that were left out of a pool, and why."""


def live_table(options: RobotOptions, work: Preparation) -> tuple[Table, Scores]:
    """A table without accuracies: the pool's architectures and their metrics, computed where need be.

    Raises:
        ConfigError: see `scored` and `drawn`.
    """
    recipe = recipe_of(options)
    architectures = drawn(recipe, options.pool, options.draw)
    said = []
    if len(architectures) < options.pool:
        said.append(f"{options.architectures} has {len(architectures)} distinct architectures, not {options.pool}")
    scores = scored(recipe, architectures, checked_metrics(options), bool(options.metrics), options.draw, work)
    said += [f"metric {name} is left out: {reason}" for name, reason in scores.dropped.items()]
    if scores.failed:
        text, reason = next(iter(scores.failed.items()))
        said.append(f"{len(scores.failed)} architectures are left out; {text}: {reason}")
    if said:
        warnings.warn(PoolWarning("\n".join(said)), stacklevel=2)
    name = f"{recipe.space().name} on {recipe.pictures().source}"
    return Table(name, scores.architectures, dict(scores.metrics), {}, {}, None, "live"), scores


def namespace(options: RobotOptions) -> Mapping[str, str]:
    """What an architecture's accuracy depends on; and what the weights of a vector do.

    Raises:
        ConfigError: there are no such architectures or images.
    """
    recipe = recipe_of(options)
    recipe.space()  # a class that is not there shows before workers are started and a folder is made
    count = len(recipe.pictures().train_labels)
    if options.metric_batch > count:
        raise ConfigError(
            f"options.metric_batch is {options.metric_batch:,}, of {count:,} training images", "give as many or fewer"
        )
    log = options.log if isinstance(options.log, str) else ",".join(options.log)
    pool = {
        "pool": f"{options.pool} by {options.draw}, {options.identity}, {options.scaling}, log {log}",
        "metrics": f"{' '.join(checked_metrics(options))} on {options.metric_batch} by {options.metric_seed}, "
        f"code {metrics_code()[:16]}",
    }
    return {**training_identity(recipe), **pool}
