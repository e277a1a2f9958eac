"""The peers' own loops over the no-op objective, as their documentation writes them, with logging turned off.

The objective is a hash of one integer below 2**53 for all of them. Each function runs `count` evaluations and returns
the wall seconds of its optimise call alone: imports, and starting Ray, are not counted.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

from benchmarks.engine_runs import GENOMES, scratch
from evo.testing.noop import mix, unit


def objective(genome: int) -> float:
    """The value of a genome: what `NoOpEvaluator` computes."""
    return unit(mix(genome))


def timed(call: Callable[[], Any]) -> dict[str, float]:
    """Wall and processor seconds of a call."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}


def optuna_search(count: int, storage: Any, sampler: Any) -> dict[str, float]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(storage=storage, sampler=sampler)
    return timed(lambda: study.optimize(lambda t: objective(t.suggest_int("x", 0, GENOMES - 1)), n_trials=count))


def optuna_memory(count: int) -> dict[str, float]:
    """Its cheapest sampler, nothing stored."""
    import optuna

    return optuna_search(count, None, optuna.samplers.RandomSampler(seed=0))


def optuna_evolution(count: int) -> dict[str, float]:
    """Its evolutionary sampler, nothing stored."""
    import optuna

    return optuna_search(count, None, optuna.samplers.NSGAIISampler(seed=0))


def optuna_sqlite(count: int) -> dict[str, float]:
    import optuna

    with scratch() as folder:
        return optuna_search(count, f"sqlite:///{folder}/study.db", optuna.samplers.RandomSampler(seed=0))


def optuna_journal(count: int) -> dict[str, float]:
    import optuna
    from optuna.storages.journal import JournalFileBackend

    with scratch() as folder:
        storage = optuna.storages.JournalStorage(JournalFileBackend(f"{folder}/study.log"))
        return optuna_search(count, storage, optuna.samplers.RandomSampler(seed=0))


def deap_simple(count: int, population: int = 1000) -> dict[str, float]:
    """`eaSimple` with tournaments of 2 in which every child is mutated, so that `count` children are evaluated."""
    from deap import algorithms, base, creator, tools

    creator.create("Fitness", base.Fitness, weights=(-1.0,))
    creator.create("Individual", list, fitness=creator.Fitness)
    rng = random.Random(0)

    def mutate(individual: list[int]) -> tuple[list[int]]:
        individual[0] = (individual[0] + rng.randrange(GENOMES)) % GENOMES
        return (individual,)

    toolbox = base.Toolbox()
    toolbox.register("individual", tools.initRepeat, creator.Individual, lambda: rng.randrange(GENOMES), 1)
    toolbox.register("population", tools.initRepeat, list, toolbox.individual)
    toolbox.register("evaluate", lambda individual: (objective(individual[0]),))
    toolbox.register("mate", lambda a, b: (a, b))
    toolbox.register("mutate", mutate)
    toolbox.register("select", tools.selTournament, tournsize=2)
    random.seed(0)
    people = toolbox.population(n=population)
    generations = max(0, count // population - 1)
    return timed(lambda: algorithms.eaSimple(people, toolbox, 0.0, 1.0, generations, verbose=False))


def ray_tune(count: int) -> dict[str, float]:
    """Random search with two trials at a time and actors used again, the cheapest setting it has."""
    import logging

    import ray
    from ray import tune

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    with scratch() as folder:
        tuner = tune.Tuner(
            lambda config: {"loss": objective(config["x"])},
            param_space={"x": tune.randint(0, GENOMES)},
            tune_config=tune.TuneConfig(
                num_samples=count, metric="loss", mode="min", reuse_actors=True, max_concurrent_trials=2
            ),
            run_config=tune.RunConfig(storage_path=str(folder), name="noop", verbose=0),
        )
        try:
            return timed(tuner.fit)
        finally:
            ray.shutdown()


def pyglove_evolution(count: int) -> dict[str, float]:
    """Its regularized evolution, in memory."""
    import pyglove as pg

    algorithm = pg.evolution.regularized_evolution(
        mutator=pg.evolution.mutators.Uniform(seed=0), population_size=1000, tournament_size=2, seed=0
    )

    def search() -> None:
        for value, feedback in pg.sample(pg.floatv(0.0, GENOMES - 1.0), algorithm, num_examples=count):
            feedback(-objective(int(value)))

    return timed(search)


PEERS: dict[str, tuple[str, str, int, Callable[[int], dict[str, float]]]] = {
    "optuna-memory": ("Optuna, random, in memory", "nothing", 20_000, optuna_memory),
    "optuna-nsga2": ("Optuna, NSGA-II, in memory", "nothing", 5000, optuna_evolution),
    "optuna-sqlite": ("Optuna, random, SQLite", "every trial", 500, optuna_sqlite),
    "optuna-journal": ("Optuna, random, journal file", "every trial", 2000, optuna_journal),
    "deap": ("DEAP eaSimple", "nothing", 200_000, deap_simple),
    "ray-tune": ("Ray Tune, random, 2 at a time", "snapshots", 60, ray_tune),
    "pyglove": ("PyGlove regularized evolution", "nothing", 5000, pyglove_evolution),
}
"""Key: what it is, what survives a crash, candidates, the function."""
