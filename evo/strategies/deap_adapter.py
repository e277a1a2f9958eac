"""Lets DEAP's variation operators serve a space's `mutate` and `crossover`.

DEAP's operators draw from the global generators `random` and `numpy.random`, work in place on mutable individuals
and return tuples. The adapter seeds both globals from the generator it is given, hands out copies, unpacks the
tuples and puts the globals back as they were. It needs no import of DEAP: it takes any callables made that way.
Not for several threads at once, since the globals belong to the process.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from evo.errors import ConfigError, InvalidGenomeError
from evo.space import Variation


@contextmanager
def seeded_globals(rng: np.random.Generator) -> Iterator[None]:
    """Within, `random` and `numpy.random` are seeded by one draw from `rng`; after, they are as they were."""
    python_state = random.getstate()
    numpy_state = np.random.get_state()  # noqa: NPY002 (the legacy global is what DEAP's users draw from)
    first, second = (int(word) for word in rng.integers(0, 2**32, size=2, dtype=np.uint64))
    random.seed(first << 32 | second)
    np.random.seed(second)  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002


@dataclass(frozen=True)
class DeapOperators:
    """Operators with the signatures of a space's own; make it by `deap_operators`.

    A space uses it by delegation::

        _deap = deap_operators(mutate=toolbox.mutate, mate=toolbox.mate)

        def mutate(self, genome, rng):
            return self._deap.mutate(genome, rng)
    """

    mutator: Callable[[Any], Any] | None
    mater: Callable[[Any, Any], Any] | None
    to_individual: Callable[[Any], Any]
    from_individual: Callable[[Any], Any]

    def mutate(self, genome: Any, rng: np.random.Generator) -> Variation:
        """A mutated copy of `genome`.

        Raises:
            ConfigError: no mutation operator was given.
            InvalidGenomeError: the operator did not return a tuple with one individual.
        """
        if self.mutator is None:
            raise ConfigError("no DEAP mutation operator was given", "pass deap_operators(mutate=toolbox.mutate)")
        with seeded_globals(rng):
            (individual,) = _children(self.mutator, (self.to_individual(genome),), 1)
        return Variation(self.from_individual(individual), _name(self.mutator))

    def crossover(self, a: Any, b: Any, rng: np.random.Generator) -> Variation:
        """The first of the two children of `a` and `b`.

        Raises:
            ConfigError: no crossover operator was given.
            InvalidGenomeError: the operator did not return a tuple with two individuals.
        """
        if self.mater is None:
            raise ConfigError("no DEAP crossover operator was given", "pass deap_operators(mate=toolbox.mate)")
        with seeded_globals(rng):
            child, _ = _children(self.mater, (self.to_individual(a), self.to_individual(b)), 2)
        return Variation(self.from_individual(child), _name(self.mater))


def deap_operators(
    mutate: Callable[[Any], Any] | None = None,
    mate: Callable[[Any, Any], Any] | None = None,
    to_individual: Callable[[Any], Any] = list,
    from_individual: Callable[[Any], Any] = tuple,
) -> DeapOperators:
    """DEAP operators as a space's operators.

    Args:
        mutate: `toolbox.mutate`: takes an individual, may change it in place, returns a tuple of one.
        mate: `toolbox.mate`: takes two, returns a tuple of two.
        to_individual: makes a fresh mutable individual of a genome (`list`, `gp.PrimitiveTree`, `np.array`).
        from_individual: makes an immutable genome of an individual (`tuple`, ...).

    Raises:
        ConfigError: neither operator is given.
    """
    if mutate is None and mate is None:
        raise ConfigError("deap_operators got no operator", "pass mutate=toolbox.mutate, mate=toolbox.mate, or both")
    return DeapOperators(mutate, mate, to_individual, from_individual)


def _children(operator: Callable[..., Any], individuals: tuple[Any, ...], wanted: int) -> tuple[Any, ...]:
    children = operator(*individuals)
    if not isinstance(children, tuple) or len(children) != wanted:
        raise InvalidGenomeError(
            f"DEAP operator {_name(operator)} returned {type(children).__name__}, not a tuple of {wanted}",
            "DEAP's operators return tuples, with a single individual too: `return individual,`",
        )
    return children


def _name(operator: Callable[..., Any]) -> str:
    """The operator's own name: a toolbox registers partial functions."""
    while hasattr(operator, "func"):
        operator = operator.func
    return str(getattr(operator, "__name__", type(operator).__name__))
