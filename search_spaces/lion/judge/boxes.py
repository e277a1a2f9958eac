"""The boxes that learning rate and weight decay are tuned in: as wide for all, each around a centre of its own."""

from __future__ import annotations

import inspect
import math
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.optim import Optimizer

from evo.errors import UsageError

if TYPE_CHECKING:
    from search_spaces.lion.judge.subjects import Subject
    from search_spaces.lion.judge.tuning import Setting

REACH = 32.0
"""Every subject's learning rate is tuned within this factor to each side of its box's centre, and so is its decay.
The boxes are wide, and the decays' centres high, because in an earlier judgement with a reach of 16 some baselines'
tuned decays lay at the upper edge: widened by what the baselines did alone, and for all alike."""
SHRINKAGE = 4.096e-4
"""Share of a weight that one step's decay takes at the centres of AdamW's boxes, 3.2e-3 and 0.128. A module's decay is
tuned around the value that takes as much at its own default rate: what its program's decay is multiplied by, and what
constant a search left there, is no matter. (Around its own default, as it once was, the search's Muon program, our
control, had a box that ended where the other boxes begin to matter, and a winner near that end.)"""
DECAY_CENTRE = 0.128
"""Centre of the decay's box where a decay is no plain shrinkage and the module's own default is zero: AdamW's."""
EDGE = 1.5
"""A tuned rate or decay within this factor of its box's edge is marked: the box may have been too small. The lower edge
of the decay is none: zero lies beyond, and is tried."""
_TRIED = 0.1
_EVEN = 0.01
"""Shares of two weights may differ by this much for a decay to count as plain shrinkage, relative."""


class ModuleError(UsageError):
    """A file that cannot be judged: it does not import, does not hold one optimizer, or that raises."""


def centres(optimizer: type[Optimizer], where: str) -> tuple[float, float | None]:
    """Centres of a module's boxes: the constructor's default of `lr` and, where it takes `weight_decay`, the decay that
    shrinks as AdamW's (see `SHRINKAGE`); with the sign of its default. A decay that is no plain shrinkage is tuned
    around its default.

    Raises:
        ModuleError: there is no `lr`, or its default is not a positive number.
    """
    parameters = inspect.signature(optimizer.__init__).parameters
    lr = parameters["lr"].default if "lr" in parameters else None
    if isinstance(lr, bool) or not isinstance(lr, int | float) or not math.isfinite(lr) or lr <= 0:
        raise ModuleError(
            f"{where}: {optimizer.__name__} has no `lr` with a positive default", "it is tuned around that default"
        )
    if "weight_decay" not in parameters:
        return float(lr), None
    decay = parameters["weight_decay"].default
    if isinstance(decay, bool) or not isinstance(decay, int | float) or not math.isfinite(decay):
        raise ModuleError(f"{where}: the default of `weight_decay` is no number", "give it one, 0 for none")
    share = shrinkage(optimizer, float(lr))
    if share is None:
        return float(lr), float(decay) or DECAY_CENTRE
    return float(lr), math.copysign(float(f"{SHRINKAGE / share:.6g}"), decay)  # the probe's last digits are noise


def at_edge(subject: Subject, setting: Setting) -> list[str]:
    """Which of "lr" and "decay" lies near an edge of the subject's box; see `EDGE`."""
    found = []
    if not subject.lr / REACH * EDGE <= setting.lr <= subject.lr * REACH / EDGE:
        found.append("lr")
    if subject.weight_decay is not None and abs(setting.weight_decay) > abs(subject.weight_decay) * REACH / EDGE:
        found.append("decay")
    return found


def shrinkage(optimizer: type[Optimizer], lr: float) -> float | None:
    """The share of a weight that a step takes for each unit of decay; None where weights lose unequal shares, or grow.

    Found by one step on a small layer in float64, with decay and without.
    """
    ends, start = [], None
    for decay in (0.0, _TRIED):
        network = nn.Linear(3, 2, device="meta", dtype=torch.float64).to_empty(device="cpu")
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.copy_(torch.linspace(0.2, 0.9, parameter.numel()).view(parameter.shape))
        start = torch.cat([parameter.detach().flatten() for parameter in network.parameters()])
        made = optimizer(network.parameters(), lr=lr, weight_decay=decay)  # type: ignore[call-arg]
        (network(torch.tensor([[1.0, 2.0, -1.0], [0.5, -1.0, 3.0]], dtype=torch.float64)).square().mean()).backward()
        made.step()
        ends.append(torch.cat([parameter.detach().flatten() for parameter in network.parameters()]))
    shares = (ends[0] - ends[1]) / start / _TRIED
    mean = float(shares.mean())
    even = bool(((shares - mean).abs() <= _EVEN * abs(mean)).all())
    return mean if even and mean > 0.0 and math.isfinite(mean) else None
