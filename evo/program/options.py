"""Options of program mutation."""

from __future__ import annotations

import math
from dataclasses import dataclass

from evo.errors import ConfigError

KINDS = ("insert", "delete", "modify_argument", "modify_constant", "replace_operator", "modify")
"""The mutations' names, as `Variation.operator` gives them."""


@dataclass(frozen=True, slots=True)
class MutationOptions:
    """How programs are varied.

    Attributes:
        insert: weight of inserting a statement; taken as 0 at `max_length`.
        delete: weight of deleting one.
        modify_argument: weight of giving one statement another argument.
        modify_constant: weight of scaling one literal.
        replace_operator: weight of calling another operator on the same arguments.
        modify: weight of the modification that the code of Chen et al. (2023) released: an argument of a statement, all
            equally likely; a variable becomes another of its type, a literal is scaled as in `modify_constant`.
        max_length: statements a program may have.
        constant_probability: how often a drawn argument is a fresh literal instead of a variable.
        constant_scale: standard deviation of fresh literals, drawn from N(0, scale^2).
        constant_step: standard deviation of a in the factor 2^a of `modify_constant`.
        sign_flip: how often `modify_constant` changes the sign too.
        constant_limit: literals are clipped to +- this.
        tries: how often one kind of mutation is drawn before another kind is.
        sample_length: shortest and longest sampled program.
    """

    __pydantic_config__ = {"extra": "forbid"}

    insert: float = 1.0
    delete: float = 1.0
    modify_argument: float = 1.0
    modify_constant: float = 1.0
    replace_operator: float = 0.5
    modify: float = 0.0
    max_length: int = 60
    constant_probability: float = 0.2
    constant_scale: float = 1.0
    constant_step: float = 1.0
    sign_flip: float = 0.05
    constant_limit: float = 1e10
    tries: int = 8
    sample_length: tuple[int, int] = (4, 16)

    def __post_init__(self) -> None:
        weights = [getattr(self, kind) for kind in KINDS]
        if min(weights) < 0 or not sum(weights) > 0 or not math.isfinite(sum(weights)):
            raise ConfigError("mutation weights must be finite, not negative, and not all 0", f"given: {weights}")
        for name in ("constant_probability", "sign_flip"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} must be in [0, 1], not {getattr(self, name)}")
        if self.max_length < 1 or self.tries < 1:
            raise ConfigError("max_length and tries must be at least 1")
        if not 1 <= self.sample_length[0] <= self.sample_length[1] <= self.max_length:
            raise ConfigError(f"sample_length {self.sample_length} must be ordered and within 1 and {self.max_length}")
