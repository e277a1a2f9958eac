"""The metrics of a live run by name; no torch here, so that a stored run can be described."""

from __future__ import annotations

from evo.errors import ConfigError
from evo.options import did_you_mean
from search_spaces.robot.options import RobotOptions

METRICS = (
    "params", "flops", "grad_norm", "snip", "grasp", "fisher", "synflow", "jacov", "naswot", "l2_norm", "plain",
    "epe_nas", "zen", "ntk_cond", "ntk_trace", "meco", "zico", "swap", "az_expressivity", "az_progressivity",
    "az_trainability",
)  # fmt: skip
"""Those of `proxies.network` that are taken where none are named: all but az_complexity, which is flops again."""


def checked_metrics(options: RobotOptions) -> tuple[str, ...]:
    """The names that the options ask for; by default all of `METRICS`.

    Raises:
        ConfigError: one is no metric of `proxies.network`.
    """
    known = (*METRICS, "az_complexity")
    for name in options.metrics:
        if name not in known:
            hint = did_you_mean(name, known) or f"known: {', '.join(known)}"
            raise ConfigError(f"options.metrics: no metric is called {name!r}", hint)
    return options.metrics or METRICS
