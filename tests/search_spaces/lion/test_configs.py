"""The shipped configurations: valid, at one budget, and what each searches."""

from __future__ import annotations

from pathlib import Path

import pytest

import search_spaces.lion
from evo.config import load_config
from evo.registry import build_space
from evo.seeds import Streams
from evo.strategies import build_strategy
from evo.strategies.regularized import RegularizedEvolution
from evo.strategies.restart import Restart

FOLDER = Path(search_spaces.lion.__file__).parent / "configs"
NAMES = ["constants", "evolution", "random", "restart_best", "restart_seed"]
"""The paper's search, its restarts and its baselines; other files are searches of their own."""


def config(name: str):
    return load_config(FOLDER / f"{name}.yaml")


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_file_is_valid(path):
    given = load_config(path)
    build_strategy(given.strategy.name, build_space(given.space, given.options), given.strategy.options)


@pytest.mark.parametrize("name", NAMES)
def test_all_have_one_budget_and_one_evaluation(name):
    evolution, this = config("evolution"), config(name)
    assert this.budget == evolution.budget
    assert {k: v for k, v in this.options.items() if k != "mutation"} == {
        k: v for k, v in evolution.options.items() if k != "mutation"
    }


@pytest.mark.parametrize("name", [name for name in NAMES if name != "random"])
def test_all_but_random_search_evolve_alike(name):
    assert config(name).strategy.options == config("evolution").strategy.options


def test_restarts_go_where_their_names_say():
    for to in ("best", "seed"):
        given = config(f"restart_{to}").strategy
        assert given.restart.to == to
        options = {"strategy": given.name, "options": given.options, **given.restart.model_dump(), "limit": None}
        strategy = build_strategy("restart", build_space("lion", {}), options)
        assert isinstance(strategy, Restart)
        assert isinstance(strategy.inner, RegularizedEvolution)


def test_constants_only_evolution_changes_constants_only():
    space = build_space("lion", config("constants").options)
    seed = genome = space.seeds()[0]
    streams = Streams(0)
    for number in range(60):
        genome, operator = space.mutate(genome, streams(number, "mutate"))
        assert operator == "modify_constant"
    for before, after in zip(seed.instructions, genome.instructions, strict=True):
        assert before[:2] == after[:2]
        assert [a for a in before[2] if isinstance(a, str)] == [a for a in after[2] if isinstance(a, str)]


def test_random_search_draws_programs_apart_from_adamw():
    space = build_space("lion", config("random").options)
    strategy = build_strategy("random", space, config("random").strategy.options)
    drawn = strategy.ask(0, 40, Streams(0))
    assert len({space.canonical(p.genome) for p in drawn}) > 35
    assert all(p.operator == "sample" and not p.parents and p.genome != space.seeds()[0] for p in drawn)
