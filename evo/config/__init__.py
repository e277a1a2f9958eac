"""A run's configuration: YAML and `--set` into strict, frozen models, with errors that name the key.

config = load_config("run.yaml", ["budget.evaluations=5000"])     # a file, or the bare name of a space
config = override_config(config, ["budget.evaluations=+5000"])    # a resolved one, changed
"""

from evo.config.load import load_config, override_config, read_config, to_yaml
from evo.config.models import (
    Budget,
    Config,
    ExecutorSettings,
    Identity,
    Loop,
    ReportSettings,
    Restart,
    StrategySettings,
    json_schema,
)
from evo.config.resume import changed_keys, defining_changes
from evo.config.units import parse_budget, parse_duration

__all__ = [
    "Budget",
    "Config",
    "ExecutorSettings",
    "Identity",
    "Loop",
    "ReportSettings",
    "Restart",
    "StrategySettings",
    "changed_keys",
    "defining_changes",
    "json_schema",
    "load_config",
    "override_config",
    "parse_budget",
    "parse_duration",
    "read_config",
    "to_yaml",
]
