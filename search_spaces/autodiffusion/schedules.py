"""Timesteps in closed form: the grids that cost nothing, from which a search begins and beside which it is reported.

All give K strictly descending timesteps below T; after the last one comes the image. Pure functions of T, K and the
noise levels; no network is called. Sources: Nichol & Dhariwal (2021) for uniform ones, Lin et al. (2023) for their
names, Song et al. (2021) for quadratic, Lu et al. (2022) for log-SNR, Lee et al. (2024) for Beta, Karras et al. (2022)
for rho, Sabour et al. (2024), "Align Your Steps", for the published steps that `ays` interpolates.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence

AYS = (999, 850, 736, 645, 545, 455, 343, 233, 124, 24)
"""Align Your Steps for Stable Diffusion 1.5, ten steps of a thousand."""


def spaced(timesteps: Sequence[float], total: int, gap: int = 1) -> tuple[int, ...]:
    """The nearest strictly descending timesteps in 0 .. total - 1, at least `gap` apart: each is pushed up by the one
    below it, then down from the top.

    Raises:
        ValueError: so many do not fit.
    """
    if (len(timesteps) - 1) * gap >= total:
        raise ValueError(f"{len(timesteps)} timesteps {gap} apart do not fit {total}")
    times = sorted(math.floor(t + 0.5) for t in timesteps)
    for i, t in enumerate(times):
        times[i] = max(t, times[i - 1] + gap if i else 0)
    for i in range(len(times) - 1, -1, -1):
        times[i] = min(times[i], times[i + 1] - gap if i + 1 < len(times) else total - 1)
    return tuple(reversed(times))


def leading(total: int, steps: int) -> tuple[int, ...]:
    """0, T/K, 2T/K ...: diffusers' DDIM default, and ADM's "ddimK"."""
    return spaced([i * (total // steps) for i in range(steps)], total)


def leading_inner(total: int, steps: int) -> tuple[int, ...]:
    """T/(K+1), 2T/(K+1) ...: what diffusers' multistep solvers call leading."""
    return spaced([(i + 1) * (total // (steps + 1)) for i in range(steps)], total)


def trailing(total: int, steps: int) -> tuple[int, ...]:
    """T - 1, and down by T/K."""
    return spaced([total - i * total / steps - 1 for i in range(steps)], total)


def linspace(total: int, steps: int) -> tuple[int, ...]:
    """T - 1 and down to above 0 by T/K: the spacing that diffusers' multistep solvers begin with."""
    return spaced([(total - 1) * (1 - i / steps) for i in range(steps)], total)


def linspace_ends(total: int, steps: int) -> tuple[int, ...]:
    """From T - 1 to 0, both included."""
    return spaced([(total - 1) * (1 - i / max(1, steps - 1)) for i in range(steps)], total)


def quadratic(total: int, steps: int) -> tuple[int, ...]:
    """Squares up to 0.8 T, as in DDIM."""
    return spaced([(math.sqrt(0.8 * total) * i / max(1, steps - 1)) ** 2 for i in range(steps)], total)


def log_snr(levels: Sequence[float], steps: int) -> tuple[int, ...]:
    """Even in log(alpha / sigma), from T - 1 to above 0.

    Args:
        levels: (T,) alphas_cumprod, falling.
        steps: K.
    """
    lams = [0.5 * math.log(a / (1 - a)) for a in levels]
    low, high = lams[-1], lams[0]
    return spaced([_place(lams, low + (high - low) * i / steps) for i in range(steps)], len(levels))


def rho(levels: Sequence[float], steps: int, power: float = 7.0) -> tuple[int, ...]:
    """Even in sigma^(1/7), from T - 1 to above 0 (EDM)."""
    sigmas = [math.sqrt((1 - a) / a) for a in levels]
    low, high = sigmas[0] ** (1 / power), sigmas[-1] ** (1 / power)
    falling = [-s for s in sigmas]
    wanted = [(high + (low - high) * i / max(1, steps - 1)) ** power for i in range(steps)]
    return spaced([_place(falling, -s) for s in wanted], len(levels))


def beta(total: int, steps: int, a: float = 0.6, b: float = 0.6) -> tuple[int, ...]:
    """Quantiles of a Beta distribution: denser at both ends; ends included, as diffusers has it."""
    from scipy.special import betaincinv

    quantiles = [float(betaincinv(a, b, 1 - i / max(1, steps - 1))) for i in range(steps)]
    return spaced([(total - 1) * q for q in quantiles], total)


def beta_open(total: int, steps: int, a: float = 0.6, b: float = 0.6) -> tuple[int, ...]:
    """The same without the lower end."""
    from scipy.special import betaincinv

    return spaced([(total - 1) * float(betaincinv(a, b, 1 - i / steps)) for i in range(steps)], total)


def ays(total: int, steps: int) -> tuple[int, ...]:
    """The published ten steps of Stable Diffusion 1.5, interpolated to K: their shape, not optimised for this model."""
    knots = [*AYS, 0]
    places = [i * (len(knots) - 1) / steps for i in range(steps)]
    values = []
    for place in places:
        at = min(int(place), len(knots) - 2)
        values.append(knots[at] + (place - at) * (knots[at + 1] - knots[at]))
    return spaced([v * (total - 1) / 999 for v in values], total)


def _place(values: Sequence[float], wanted: float) -> float:
    """Where a value lies among falling ones, as a fraction of their indices."""
    rising = [-v for v in values]
    at = min(max(bisect_left(rising, -wanted), 1), len(rising) - 1)
    left, right = rising[at - 1], rising[at]
    share = 0.0 if right == left else (-wanted - left) / (right - left)
    return at - 1 + min(max(share, 0.0), 1.0)


_OF_TOTAL: dict[str, Callable[[int, int], tuple[int, ...]]] = {
    "uniform leading": leading,
    "uniform inner": leading_inner,
    "uniform trailing": trailing,
    "linspace": linspace,
    "linspace with ends": linspace_ends,
    "quadratic": quadratic,
    "beta": beta,
    "beta, open": beta_open,
    "AYS-like": ays,
}
_OF_LEVELS: dict[str, Callable[[Sequence[float], int], tuple[int, ...]]] = {"log-SNR": log_snr, "EDM rho 7": rho}


def closed_forms(levels: Sequence[float], steps: int) -> dict[str, tuple[int, ...]]:
    """Every closed form, by name; those that coincide keep their names.

    Args:
        levels: (T,) alphas_cumprod.
        steps: K.
    """
    found = {name: grid(len(levels), steps) for name, grid in _OF_TOTAL.items()}
    return found | {name: grid(levels, steps) for name, grid in _OF_LEVELS.items()}
