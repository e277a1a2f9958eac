"""What a refinement trains: programs, and AdamW itself, whose bias correction no program can express."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evo.program import Lowered, Program, canonical, simplify
from search_spaces.lion.baselines import AdamW
from search_spaces.lion.evaluator import lowered
from search_spaces.lion.language import LION
from search_spaces.lion.text import one_line
from search_spaces.lion.training import Optimizers, Programs

VERSION = 1
"""Of `baselines.AdamW`: raise it when the same setting would train otherwise."""


@dataclass(frozen=True, slots=True)
class AdamWSetting:
    """`torch.optim.AdamW` with bias correction (see `baselines.AdamW`), its epsilon at torch's 1e-8.

    Attributes:
        lr: peak learning rate.
        weight_decay: decoupled.
        beta1, beta2: weights of the averages of the gradient and of its square.
    """

    lr: float
    weight_decay: float = 0.01
    beta1: float = 0.9
    beta2: float = 0.999

    def __str__(self) -> str:
        return (
            f"torch.optim.AdamW(lr={self.lr:.6g}, weight_decay={self.weight_decay:.6g}, "
            f"betas=({self.beta1:.6g}, {self.beta2:.6g}))"
        )


Subject = Program | AdamWSetting


def name_of(subject: Subject) -> bytes:
    """What tells functions apart: equal bytes train alike."""
    if isinstance(subject, AdamWSetting):
        return f"baselines.AdamW {VERSION} {subject}".encode()
    return canonical(LION, subject)


def form_of(subject: Subject) -> Lowered | AdamWSetting:
    """What a worker gets."""
    return subject if isinstance(subject, AdamWSetting) else lowered(subject)


def optimizers(forms: Sequence[Lowered | AdamWSetting], backend: str | None) -> Optimizers:
    """Forms, all of one kind, as optimizers that train together."""
    settings = [form for form in forms if isinstance(form, AdamWSetting)]
    if settings:
        columns = np.array([(s.lr, s.weight_decay, s.beta1, s.beta2) for s in settings]).T
        return AdamW(*columns)
    return Programs([form for form in forms if not isinstance(form, AdamWSetting)], backend)


def in_words(subject: Subject) -> str:
    """One line, constants with six digits."""
    return str(subject) if isinstance(subject, AdamWSetting) else one_line(subject, digits=6)


def statements(subject: Subject) -> int | None:
    """Live statements; None for what is no program."""
    return None if isinstance(subject, AdamWSetting) else len(simplify(LION, subject))
