"""The metrics by name: formula, source, direction, what each needs from a network and what that costs."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from proxies.errors import ProxyError, UnknownProxyError

NEEDS: Mapping[str, str] = MappingProxyType(
    {
        "weights": "the weights alone",
        "flops": "the shapes of one forward pass",
        "patterns": "a forward pass of the batch, and which ReLUs are on",
        "gradient": "a forward and a backward pass of the loss",
        "saliency": "the same backward pass, also by the outputs of the layers",
        "curvature": "a second backward pass through the first",
        "jacobian": "a backward pass of the outputs to the images",
        "kernel": "a backward pass of the true-class logits, and a gradient for each sample",
        "halves": "a forward and a backward pass of each part of the batch",
        "map": "a forward pass of one random image",
        "smoothness": "two forward passes of random images through Gaussian weights",
        "blocks": "a forward and a backward pass of random images through Kaiming weights",
        "flow": "a forward and a backward pass of one sample in float64",
    }
)
"""What a metric can need; several metrics that need the same share it."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A training-free metric. Its value is larger for the network that is predicted to be the better one.

    Attributes:
        name: as `score` takes it.
        formula: of the published quantity; L is the mean cross-entropy on the batch, W and g a layer's weight and
            dL/dW, sums over layers run over the weights of Conv2d and Linear modules.
        source: who published it, and what was chosen where publications and code differ.
        needs: of `NEEDS`.
        direction: 1 where the value is the published quantity, -1 where it is minus that, so that larger is better.
        heavy_tail: over a pool of networks it spans orders of magnitude: take ranks, or sign(x) log(1 + |x|).
        random: depends on `seed` (random images, weights or directions).
    """

    name: str
    formula: str
    source: str
    needs: frozenset[str]
    direction: int = 1
    heavy_tail: bool = False
    random: bool = False

    @property
    def cost(self) -> str:
        """What is computed for it, in words; shared with the other metrics asked for."""
        return "; ".join(NEEDS[need] for need in sorted(self.needs))


_ABDELFATTAH = "Abdelfattah et al., ICLR 2021 (zero-cost-nas)"

_ALL = (
    Metric("params", "number of parameters", "", frozenset({"weights"})),
    Metric(
        "flops",
        "operations of one sample: 1 a multiply-accumulate, 2 a normalised element, 1 a ReLU, k^2 a pooled one",
        "NAS-Bench-Suite-Zero's count (tensorwatch), which the NAS-Bench-201 tables give; see flops.py",
        frozenset({"flops"}),
    ),
    Metric("grad_norm", "sum over layers of ||g||_2", _ABDELFATTAH, frozenset({"gradient"}), heavy_tail=True),
    Metric(
        "snip",
        "sum |g W|",
        "Lee et al., ICLR 2019; over all weights, " + _ABDELFATTAH,
        frozenset({"gradient"}),
        heavy_tail=True,
    ),
    Metric(
        "grasp",
        "-sum W (H g), H the Hessian of L",
        "Wang et al., ICLR 2020, temperature 1; the sign of " + _ABDELFATTAH,
        frozenset({"gradient", "curvature"}),
        heavy_tail=True,
    ),
    Metric(
        "fisher",
        "sum over channels of (weights of the channel) mean_n (sum_positions a dL/da)^2 / 2, a the layer's output",
        "Theis et al., 2018; Turner et al., ICLR 2020; broadcast to weights by " + _ABDELFATTAH,
        frozenset({"gradient", "saliency"}),
        heavy_tail=True,
    ),
    Metric(
        "synflow",
        "ln sum |W dR/dW|, R the sum of the outputs for a sample of ones with |W| and no normalisation",
        "Tanaka et al., NeurIPS 2020; logarithm as in NAS-Bench-Suite-Zero; float64. NaN where nothing flows",
        frozenset({"flow"}),
    ),
    Metric(
        "jacov",
        "-sum ln(e + k) + 1 / (e + k) over the eigenvalues e of the correlations between the samples' rows of "
        "d(sum of outputs)/d(images), k = 1e-5",
        "Mellor et al., 2020 (first version); " + _ABDELFATTAH + ": jacob_cov",
        frozenset({"jacobian"}),
    ),
    Metric(
        "naswot",
        "ln |det K|, K_ij the number of ReLUs in the same state for samples i and j",
        "Mellor et al., ICML 2021. NaN where two samples have the same states",
        frozenset({"patterns"}),
    ),
    Metric("l2_norm", "sum over layers of ||W||_2", _ABDELFATTAH, frozenset({"weights"})),
    Metric(
        "plain",
        "sum g W",
        _ABDELFATTAH + "; negated: it falls with accuracy in NAS-Bench-101, 201 and 301 (it rises in TransNAS-Bench "
        "micro). A layer that batch normalisation follows contributes 0",
        frozenset({"gradient"}),
        direction=-1,
    ),
    Metric(
        "epe_nas",
        "sum over classes of |sum ln(|c| + k)|, c the correlations between the rows of the class's samples (see "
        "jacov), k = 1e-5; above 100 classes the mean pairwise difference of these sums, each over its size",
        "Lopes et al., ICANN 2021, and their code",
        frozenset({"jacobian"}),
    ),
    Metric(
        "zen",
        "ln mean_n ||f(x) - f(x + 0.01 e)||_1 + sum over batch norms of ln sqrt(mean of the channels' variances), f up "
        "to the last feature map, x and e normal, weights N(0, 1)",
        "Lin et al., ICCV 2021, algorithm 1 (variances of the batch, no running average); one repetition",
        frozenset({"smoothness"}),
        random=True,
    ),
    Metric(
        "ntk_cond",
        "largest over smallest eigenvalue of the kernel of the samples' gradients of the true-class logit",
        "Chen et al., ICLR 2021 (TE-NAS), the logit as in RoBoT's code; batch norm's statistics held fixed in the "
        "backward pass, so that a sample's gradient is its own",
        frozenset({"kernel"}),
        direction=-1,
        heavy_tail=True,
    ),
    Metric(
        "ntk_trace",
        "sqrt(trace / samples) of the same kernel",
        "Shu et al., NeurIPS 2022 (HNAS), and RoBoT's code",
        frozenset({"kernel"}),
        heavy_tail=True,
    ),
    Metric(
        "meco",
        "sum over convolutions of the smallest eigenvalue of the correlations between the output's channels, for one "
        "normal image",
        "Jiang et al., NeurIPS 2023; their code sums over every module, which depends on how a model is written",
        frozenset({"map"}),
        random=True,
    ),
    Metric(
        "zico",
        "sum over layers of ln sum_w mean|g| / std(g), over parts of the batch",
        "Li et al., ICLR 2023, and their code: a weight without deviation, and a layer without any, is left out",
        frozenset({"halves"}),
    ),
    Metric(
        "swap",
        "number of distinct columns of the ReLU states: one column a unit, one row a sample (16 samples); regularised "
        "where asked: times exp(-(params - mu)^2 / sigma)",
        "Peng et al., ICLR 2024, with the model's own weights",
        frozenset({"patterns", "weights"}),
    ),
    Metric(
        "az_expressivity",
        "sum over blocks of the entropy of the normalised spectrum of the channels' covariance",
        "Lee & Ham, CVPR 2024 (AZ-NAS), equation 1",
        frozenset({"blocks"}),
        random=True,
    ),
    Metric(
        "az_progressivity",
        "smallest increase of that entropy from a block to the next",
        "Lee & Ham, CVPR 2024, equation 2",
        frozenset({"blocks"}),
        random=True,
    ),
    Metric(
        "az_trainability",
        "mean over blocks of 2 - s - 1 / s, s the largest singular value of the block's Jacobian estimated with "
        "Rademacher vectors",
        "Lee & Ham, CVPR 2024, equation 4, 1 / (s + 1e-6) as in their code",
        frozenset({"blocks"}),
        heavy_tail=True,
        random=True,
    ),
    Metric("az_complexity", "FLOPs", "Lee & Ham, CVPR 2024; counted as `flops`", frozenset({"flops"})),
)

METRICS: Mapping[str, Metric] = MappingProxyType({metric.name: metric for metric in _ALL})
"""All metrics by name."""


def checked_names(names: Iterable[str] | None) -> tuple[str, ...]:
    """The names asked for, without repeats; None for all.

    Raises:
        UnknownProxyError: a name is no metric's.
        ProxyError: no name at all, or a plain string.
    """
    if names is None:
        return tuple(METRICS)
    if isinstance(names, str):
        raise ProxyError(f"metrics is the string {names!r}", f"give a sequence of names: [{names!r}]")
    wanted = tuple(dict.fromkeys(names))
    if not wanted:
        raise ProxyError("no metric was asked for", "give names, or None for all")
    for name in wanted:
        if name not in METRICS:
            close = difflib.get_close_matches(str(name), METRICS, 1)
            raise UnknownProxyError(
                f"no network metric is called {name!r}",
                f"did you mean {close[0]!r}?" if close else f"known: {', '.join(METRICS)}",
            )
    return wanted


def needs_of(names: Iterable[str]) -> frozenset[str]:
    """What these metrics need together."""
    return frozenset().union(*(METRICS[name].needs for name in names))
