import subprocess
import sys

import pytest

from evo.errors import ConfigError
from evo.strategies import STRATEGIES, BaseStrategy, Strategy, build_strategy, strategy_class, strategy_options
from evo.strategies.nsga2 import NSGA2
from evo.strategies.regularized import RegularizedEvolution, RegularizedOptions
from tests.evo.strategies.problems import Bits
from tests.evo.strategies.ranked import Ranked


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_name_builds_a_strategy_with_its_defaults(name):
    strategy = build_strategy(name, Ranked() if name == "bayesian" else Bits())
    assert isinstance(strategy, Strategy)
    assert strategy.name == name
    assert strategy.options == strategy_options(name)


@pytest.mark.parametrize("name", STRATEGIES)
def test_options_forbid_unknown_keys_under_pydantic_too(name):
    assert strategy_class(name).Options.__pydantic_config__ == {"extra": "forbid"}


def test_a_module_and_attribute_name_a_strategy():
    assert isinstance(build_strategy("evo.strategies.nsga2:NSGA2", Bits(), {"population": 4}), NSGA2)


def test_options_are_a_mapping_or_an_instance():
    options = RegularizedOptions(population=7, tournament=3)
    from_mapping = build_strategy("regularized", Bits(), {"population": 7, "tournament": 3})
    assert isinstance(from_mapping, RegularizedEvolution)
    assert from_mapping.options == options == build_strategy("regularized", Bits(), options).options


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("regularised", None, "did you mean 'regularized'"),
        ("xyz", None, "use one of: random, regularized"),
        ("no.such.module:Thing", None, "cannot be loaded: No module named"),
        ("evo.strategies.nsga2:NSGA3", None, "cannot be loaded"),
        ("evo.strategies.select:ranking", None, "is a function, not a strategy class"),
        ("regularized", {"populaton": 3}, "no option 'populaton'\n  hint: did you mean 'population'"),
        ("regularized", {"population": "many"}, "regularized.population is 'many'"),
        ("regularized", {"population": 0}, "regularized.population is 0; it must be at least 1"),
        ("regularized", {"initial": "seeds"}, "regularized.initial is 'seeds'"),
        ("regularized", [1], "are a list, not a mapping"),
        ("regularized", {"crossover": float("nan")}, "regularized.crossover is nan"),
    ],
)
def test_mistakes_are_config_errors_with_a_hint(name, options, message):
    with pytest.raises(ConfigError) as raised:
        build_strategy(name, Bits(), options)
    assert message in str(raised.value)
    assert raised.value.hint


def test_a_base_strategy_without_options_class_is_refused():
    with pytest.raises(ConfigError, match="not a strategy class with Options"):
        strategy_class("evo.strategies.base:BaseStrategy")
    assert not hasattr(BaseStrategy, "Options")


def test_importing_the_package_loads_no_heavy_library():
    heavy = "{'deap', 'moocore', 'scipy', 'pydantic', 'torch', 'ray'}"
    code = f"import sys, evo.strategies; sys.exit(len({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
