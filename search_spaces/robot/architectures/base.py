"""What a space of architectures is, and how a user's own class becomes one."""

from __future__ import annotations

import contextlib
import importlib
import inspect
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import torch
from torch import nn

from evo.errors import ConfigError, InvalidGenomeError
from evo.options import did_you_mean

SEEDS = 2**31
"""Seeds of samples lie below."""


@runtime_checkable
class ArchitectureSpace(Protocol):
    """Architectures are hashable values that never change.

    Attributes:
        name: of the space.
        mutates: whether `mutate` is there.
        enumerable: whether `all` is there.
    """

    name: str
    mutates: bool
    enumerable: bool

    def sample(self, rng: np.random.Generator) -> Hashable:
        """A random architecture."""

    def mutate(self, architecture: Any, rng: np.random.Generator) -> Hashable:
        """A neighbour: another architecture that differs in one place."""

    def encode(self, architecture: Any) -> str:
        """Its text: equal for equal architectures, and enough for `decode`."""

    def decode(self, text: str) -> Hashable:
        """The inverse; InvalidGenomeError for what is no architecture."""

    def canonical(self, architecture: Any) -> bytes:
        """Equal bytes mean an equal function."""

    def build(self, architecture: Any, *, seed: int = 0) -> nn.Module:
        """A classifier with fresh weights, which depend on `seed` alone; no global random state is used or changed."""

    def all(self) -> Iterator[Hashable]:
        """Every architecture, in a fixed order."""


def architecture_space(spec: str | Any, **options: Any) -> ArchitectureSpace:
    """A space by name.

    Args:
        spec: "nb201" (full size), "nb201-small" (that of the shipped benchmark), "tnb101-micro"; "module:attr" of a
            class (made with `options`), of a function that returns a space, or of an object; or such a thing itself. A
            class of one's own needs `sample(rng)`, `encode(architecture)` and `build(architecture)`: see `OwnSpace`.
        options: for the space.

    Raises:
        ConfigError: nothing answers to the name, it lacks a method, or an option does not fit.
    """
    found = _found(spec) if isinstance(spec, str) else spec
    title = spec if isinstance(spec, str) else getattr(found, "__name__", type(found).__name__)
    if isinstance(found, type) or inspect.isroutine(found):
        try:
            found = found(**options)
        except TypeError as error:
            raise ConfigError(f"architecture space {title}: {error}", "check its options") from error
    elif options:
        raise ConfigError(f"architecture space {title} is an object: it takes no options", "name its class")
    if isinstance(found, ArchitectureSpace):
        return found
    return OwnSpace(found, title)


class OwnSpace:
    """A user's space with what it leaves out.

    What is used of the user's class: `sample(rng)`, `encode(architecture) -> str`, `build(architecture) -> nn.Module`
    (with a keyword `seed`, if it takes one); and, where they are there, `name`, `mutate(architecture, rng)`,
    `decode(text)`, `canonical(architecture) -> bytes`, `all()`.

    Without `decode`, an architecture is known by the seed it was sampled with, which its text ends with ("... @123"):
    so any process can make it again. Without `canonical`, equal texts of `encode` are the same. Without `seed`, `build`
    runs with torch's generator seeded, and put back afterwards.

    Args:
        space: the user's object.
        title: its name, where it has none.

    Raises:
        ConfigError: a method is missing.
    """

    def __init__(self, space: Any, title: str) -> None:
        lacking = [name for name in ("sample", "encode", "build") if not callable(getattr(space, name, None))]
        if lacking:
            raise ConfigError(
                f"architecture space {title} lacks {', '.join(lacking)}",
                "a space has sample(rng), encode(architecture) and build(architecture)",
            )
        self._space = self.own = space
        self.name = str(getattr(space, "name", title))
        self._decodes = callable(getattr(space, "decode", None))
        self.mutates = self._decodes and callable(getattr(space, "mutate", None))
        self.enumerable = self._decodes and callable(getattr(space, "all", None))
        self._takes_seed = "seed" in inspect.signature(space.build).parameters

    def sample(self, rng: np.random.Generator) -> Hashable:
        if self._decodes:
            return cast(Hashable, self._space.sample(rng))
        return int(rng.integers(SEEDS))

    def mutate(self, architecture: Any, rng: np.random.Generator) -> Hashable:
        if not self.mutates:
            raise ConfigError(
                f"{self.name} has no mutation", "give its class mutate(architecture, rng), and decode(text)"
            )
        return cast(Hashable, self._space.mutate(architecture, rng))

    def encode(self, architecture: Any) -> str:
        text = self._text(self._own(architecture))
        return text if self._decodes else f"{text} @{architecture}"

    def decode(self, text: str) -> Hashable:
        if self._decodes:
            return cast(Hashable, self._space.decode(text))
        written, _, seed = text.rpartition(" @")
        if not seed.isdecimal() or self._text(self._own(int(seed))) != written:
            raise InvalidGenomeError(
                f"{text!r} is no architecture of {self.name}", "if the class has changed, give it decode(text)"
            )
        return int(seed)

    def canonical(self, architecture: Any) -> bytes:
        own = self._own(architecture)
        if callable(getattr(self._space, "canonical", None)):
            return bytes(self._space.canonical(own))
        return self._text(own).encode()

    def build(self, architecture: Any, *, seed: int = 0) -> nn.Module:
        own = self._own(architecture)
        with seeded(seed):
            model = self._space.build(own, seed=seed) if self._takes_seed else self._space.build(own)
        if not isinstance(model, nn.Module):
            raise ConfigError(f"{self.name}.build returned {type(model).__name__}", "return a torch.nn.Module")
        return model

    def all(self) -> Iterator[Hashable]:
        if not self.enumerable:
            raise ConfigError(f"{self.name} cannot be enumerated", "give its class all(), and decode(text)")
        return cast(Iterator[Hashable], iter(self._space.all()))

    def _own(self, architecture: Any) -> Any:
        # without `decode`, our value of an architecture is the seed that it was sampled with
        return (
            architecture if self._decodes else self._space.sample(np.random.Generator(np.random.Philox(architecture)))
        )

    def _text(self, own: Any) -> str:
        text = self._space.encode(own)
        if not isinstance(text, str):
            raise ConfigError(f"{self.name}.encode returned {type(text).__name__}", "return text")
        return text


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Torch's global generator (of the CPU) at a seed; afterwards it is where it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def _found(spec: str) -> Any:
    from search_spaces.robot.architectures.cell_space import SPACES

    names: Mapping[str, Callable[..., Any]] = SPACES
    if ":" not in spec:
        if spec not in names:
            hint = did_you_mean(spec, names) or f"known: {', '.join(names)}; or give module:attr"
            raise ConfigError(f"no architecture space is called {spec!r}", hint)
        return names[spec]
    module_name, _, attribute = spec.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
    except ImportError as error:
        raise ConfigError(f"architecture space {spec!r}: {error}", "check the name and PYTHONPATH") from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise ConfigError(
                f"architecture space {spec!r}: {module_name} has no attribute {attribute!r}",
                did_you_mean(part, dir(found)),
            )
        found = getattr(found, part)
    return found
