"""Known optimizers as programs: the seed of the search, its baselines, and the paper's discovery."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from evo.program import Program


def adamw(lr: float = 0.001, weight_decay: float = 0.01, beta1: float = 0.9, beta2: float = 0.999) -> Program:
    """AdamW without bias correction; the guard of the division is its epsilon. The paper's seed program (Program 8 of
    its appendix, with the states named as here)."""
    return Program.parse(
        f"""
        g2 = square(g)
        v1 = interp(g, v1, {beta1!r})
        v2 = interp(g2, v2, {beta2!r})
        s = sqrt(v2)
        update = div(v1, s)
        wd = mul(w, {weight_decay!r})
        update = add(update, wd)
        lr = mul(lr, {lr!r})
        update = mul(update, lr)
        """
    )


def discovered() -> Program:
    """The program that the paper's search found, dead statements removed (its Program 4)."""
    return Program.parse(
        """
        g = clip_by_global_norm(g, lr)
        g = arcsin(g)
        v1 = interp(g, v2, 0.899)
        m2 = mul(v1, v1)
        v2 = interp(g, v1, 1.109)
        a = sqrt(m2)
        update = div(v1, a)
        wd = mul(w, 0.4602)
        update = add(update, wd)
        lr = mul(lr, 0.0002)
        v1 = cosh(update)
        update = mul(update, lr)
        """
    )


def lion(lr: float = 0.0002, weight_decay: float = 0.1, beta1: float = 0.9, beta2: float = 0.99) -> Program:
    """Lion as released: sign of an interpolation, decoupled decay, and a slower average."""
    return Program.parse(
        f"""
        m = interp(g, v1, {beta1!r})
        update = sign(m)
        wd = mul(w, {weight_decay!r})
        update = add(update, wd)
        lr = mul(lr, {lr!r})
        update = mul(update, lr)
        v1 = interp(g, v1, {beta2!r})
        """
    )


def momentum(lr: float = 0.1, weight_decay: float = 0.0, beta: float = 0.9) -> Program:
    """Stochastic gradient descent with heavy-ball momentum: v1 = beta v1 + g + weight_decay w; update = lr v1."""
    return Program.parse(
        f"""
        wd = mul(w, {weight_decay!r})
        g = add(g, wd)
        v1 = mul(v1, {beta!r})
        v1 = add(v1, g)
        lr = mul(lr, {lr!r})
        update = mul(v1, lr)
        """
    )


def muon(lr: float = 0.001, weight_decay: float = 0.01, beta: float = 0.95) -> Program:
    """Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon): Nesterov momentum, orthogonalised matrix by matrix,
    and decoupled decay.

    Elements of an update are about `lr` in size, as AdamW's are, so that rates carry over (Liu et al. 2025, "Muon is
    scalable for LLM training", section 2.2, which has 0.2 times as much). Tensors that are no matrices, which Muon
    leaves to AdamW, take the same momentum over its root mean square.
    """
    return Program.parse(
        f"""
        v1 = interp(g, v1, {beta!r})
        m = interp(g, v1, {beta!r})
        update = orthogonalize(m)
        wd = mul(w, {weight_decay!r})
        update = add(update, wd)
        lr = mul(lr, {lr!r})
        update = mul(update, lr)
        """
    )


SEEDS: Mapping[str, Callable[[], Program]] = {"adamw": adamw, "lion": lion, "muon": muon, "momentum": momentum}
"""Programs that a search can start from, by the names of the option `seeds`, with their default constants."""
