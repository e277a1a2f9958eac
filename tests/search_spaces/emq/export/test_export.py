"""An exported proxy computes what was searched, stands alone, and is a proxy of the package."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from evo.errors import InvalidGenomeError
from proxies import ProxyError, load_proxy
from proxies.quantization import score
from proxies.quantization.allocation import allocate
from search_spaces.emq.export import export, source
from search_spaces.emq.expression import expression, nodes
from search_spaces.emq.known import KNOWN, RELEASED
from search_spaces.emq.language import Genome
from search_spaces.emq.scoring import kept_share, places_of, raw_scores, score_samples
from search_spaces.emq.scoring import score as searched_scores
from search_spaces.emq.statistics import gather_samples
from search_spaces.emq.tables import Tables
from search_spaces.emq.variation import Variation
from tests.search_spaces.emq.tiny import CHOICES, LAYERS, batch, configurations, model

SAMPLES = 64


@cache
def gathered():
    """With the curvature as a search has it."""
    return gather_samples(model(), *batch(), LAYERS, CHOICES, SAMPLES)


def searched(genome: Genome, bits: np.ndarray) -> tuple[np.ndarray, float] | None:
    """Scores as the space has them before their rounding, and the size of their terms; None where it rejects."""
    found = expression(genome)
    if found.term is None:
        return None
    tables = Tables(gathered())
    places = places_of(bits, CHOICES)
    if found.aggregation == "flips":
        result = score_samples(tables.table(found), tables.margins, places)
        raw = kept_share(tables.table(found), tables.margins, places) * result.signs[0]
        return None if result.rejected[0] else (raw, 1.0)
    table = tables.table(found)[None]
    result = searched_scores(table, places, [found.aggregation], [not found.released])
    if result.rejected[0]:
        return None
    raw = raw_scores(table, places, [found.aggregation])[0] * result.signs[0]
    count = 1 if found.aggregation == "max" else tables.pairs(found.released)
    return raw / count, float(np.abs(table).max())


def exported(genome: Genome, path: Path):
    return load_proxy(str(export(genome, path, {"run": "a-run", "candidate": 7, "values": {"fitness": 0.9}}, SAMPLES)))


def named(bits: np.ndarray) -> list[dict[str, int]]:
    return [dict(zip(LAYERS, map(int, row), strict=True)) for row in bits]


def differences(genomes, tmp_path, bits):
    """Of each genome that is not rejected: the largest difference, relative to the largest term.

    In units of 1e-12; of 1e-9 where it takes the determinant of a nearly singular matrix.
    """
    found = {}
    for number, genome in enumerate(genomes):
        expected = searched(genome, bits)
        if expected is not None:
            proxy = exported(genome, tmp_path / f"proxy_{number}.py")
            scores = np.array(proxy.score_all(model(), named(bits), *batch()))
            found[genome] = float(np.abs(scores - expected[0]).max() / expected[1])
            found[genome] /= 1e-9 if "slogdet" in genome.genes else 1e-12
    return found


@pytest.mark.parametrize("name", [*KNOWN, *RELEASED])
def test_known_proxies_are_exported_as_they_are_searched(name, tmp_path):
    genome = (KNOWN | RELEASED)[name]
    [difference] = differences([genome], tmp_path, configurations()[:20]).values()
    assert difference < 1


@pytest.mark.parametrize(
    ("mode", "operators", "structures"),
    [("corrected", "base", ("tree",)), ("corrected", "wide", ("linear", "tree", "graph")),
     ("as-released", "wide", ("linear", "tree", "graph"))],
)  # fmt: skip
def test_random_proxies_are_exported_as_they_are_searched(mode, operators, structures, tmp_path):
    draws, rng = Variation(mode, operators, structures, 0.25), np.random.default_rng(5)
    genomes = [draws.sample(rng) for _ in range(24)]
    found = differences(genomes, tmp_path, configurations()[:10])
    assert len(found) >= 6
    worst = max(found, key=found.get)
    assert found[worst] < 1, worst


def test_every_word_is_exported_as_it_is_searched(tmp_path):
    from search_spaces.emq.operators import BINARY, BIT_UNARY, INPUTS, SUM_UNARY, UNARY, WIDE_BINARY, WIDE_UNARY

    none = "no_op"
    genomes = [Genome("corrected", "tree", (word, "bits"), (none,) * 4, ("product",), (none, none)) for word in INPUTS]
    genomes += [
        Genome("corrected", "tree", ("weight_error", "bits"), (word, "abs", none, none), ("product",), (none, none))
        for word in dict.fromkeys((*UNARY, *BIT_UNARY, *SUM_UNARY, *WIDE_UNARY))
    ]
    genomes += [
        Genome("corrected", "tree", ("output_error", "activation"), (none,) * 4, (word,), (none, none), "macs")
        for word in (*BINARY, *WIDE_BINARY)
    ]
    genomes += [Genome("corrected", "linear", ("weight_error",), ("abs", none, none, none), (), (), "max")]
    genomes += [
        Genome("corrected", "tree", (word, "margin"), ("pow", none, none, none), ("product",), (none, post), "flips")
        for word in ("margin_change", "loss_change")
        for post in (none, "over_bits", "exp", "softmax", "normalize", "mean")
    ]
    found = differences(genomes, tmp_path, configurations()[:6])
    assert len(found) >= 0.8 * len(genomes)
    worst = max(found, key=found.get)
    assert found[worst] < 1, worst


def test_a_score_is_the_sum_of_its_table_and_one_of_many(tmp_path):
    proxy = exported(KNOWN["fisher"], tmp_path / "fisher.py")
    bits = named(configurations()[:5])
    images, labels = batch()
    table = proxy.table(model(), images, CHOICES, LAYERS, labels)
    for row, together in zip(bits, proxy.score_all(model(), bits, images, labels), strict=True):
        assert proxy(model(), row, images, labels) == together
        assert sum(table[name][b] for name, b in row.items()) == pytest.approx(together, rel=1e-12)
    predicted = model()(images).argmax(1)
    assert proxy(model(), bits[0], images) == proxy(model(), bits[0], images, predicted)


def test_the_largest_term_has_no_table(tmp_path):
    genome = Genome("corrected", "linear", ("weight_error",), ("pow", "no_op", "no_op", "no_op"), (), (), "max")
    proxy = exported(genome, tmp_path / "largest.py")
    assert proxy.table is None
    found = allocate(model(), "4bits", proxy, batch=batch()[0])
    assert found.method == "evolution"
    assert found.mean_bits <= 4


def test_an_exported_proxy_is_allocated_exactly(tmp_path):
    proxy = exported(KNOWN["hawq_v2"], tmp_path / "found.py")
    images, labels = batch()
    found = allocate(model(), "4bits", str(proxy.path), batch=images, labels=labels)
    assert found.optimal
    assert found.score == pytest.approx(proxy(model(), found.bits, images, labels), rel=1e-12)
    assert score(model(), found.bits, images, str(proxy.path)) == proxy(model(), dict(found.bits), images)


def test_it_stands_alone(tmp_path):
    export(KNOWN["first_order"], tmp_path / "alone.py", {}, SAMPLES)
    torch.save({"state": model().state_dict(), "batch": batch()}, tmp_path / "saved.pt")
    bits = named(configurations()[:3])
    code = f"""
import sys, json
class Only:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in ("evo", "proxies", "search_spaces", "kernels", "scipy", "plotly", "pydantic"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Only())
sys.path.insert(0, {str(tmp_path)!r})
import torch
from torch import nn
import alone
saved = torch.load({str(tmp_path / "saved.pt")!r})
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 3, 2, 1, bias=False)
        self.conv2 = nn.Conv2d(6, 6, 3, 1, 1, groups=6)
        self.conv3 = nn.Conv2d(6, 8, 1, bias=False)
        self.fc = nn.Linear(8, 5)
    def forward(self, x):
        x = torch.relu(self.conv3(torch.relu(self.conv2(torch.relu(self.conv1(x))))))
        return self.fc(x.mean((2, 3)))
net = Net(); net.load_state_dict(saved["state"])
print(json.dumps(alone.score_all(net.train(), json.loads({json.dumps(bits)!r}), *saved["batch"])))
"""
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    expected = searched(KNOWN["first_order"], configurations()[:3])
    assert expected is not None
    assert json.loads(done.stdout) == pytest.approx(expected[0], rel=1e-12)


def test_the_model_and_the_random_state_are_left_as_they_are(tmp_path):
    proxy = exported(KNOWN["hawq_v2"], tmp_path / "found.py")
    net = model()
    before, state = {k: v.clone() for k, v in net.state_dict().items()}, torch.get_rng_state()
    net.train()
    proxy(net, named(configurations()[:1])[0], batch()[0])
    assert net.training
    net.eval()
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    assert all(p.requires_grad and p.grad is None for p in net.parameters())
    assert not any(layer._forward_hooks for layer in net.modules())


def test_the_text_says_where_it_comes_from_and_holds_no_more_than_it_uses():
    text = source(
        KNOWN["fisher"], {"run": 'a "quoted\\ run"""', "values": {"fitness": 0.912345678}, "none": None}, None
    )
    tree = ast.parse(text)
    docstring = ast.get_docstring(tree)
    assert docstring is not None
    assert "fitness 0.912346" in docstring
    assert "'''" in docstring
    assert "none" not in docstring
    assert "SAMPLES: int | None = None" in text
    assert "hessian" not in text
    defined = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert len(defined) == len(set(defined))
    public = {"score", "table", "terms", "score_all"}
    for name in set(defined) - public:
        assert text.count(f"{name}(") > 1, f"{name} is not used"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"bits": {"conv9": 4}}, "conv9"),
        ({"batch": torch.zeros(0, 1, 8, 8)}, "batch must be"),
        ({"labels": torch.zeros(3, dtype=torch.long)}, r"labels of shape \(3,\) and torch.int64 for 12 samples"),
        ({"labels": torch.zeros(12)}, "torch.float32 for 12 samples"),
        ({"labels": torch.full((12,), 99)}, "the model gives 5 classes, labels reach from 99 to 99"),
        ({"labels": torch.arange(12) - 1}, "labels reach from -1"),
        ({"bits": {"conv1": 0}}, "conv1 has 0 bits: give a whole number from 2 to 16"),
        ({"bits": {"conv1": 2.5}}, "conv1 has 2.5 bits"),
        ({"bits": {"conv1": True}}, "conv1 has True bits"),
        ({"bits": {"conv1": 40}}, "conv1 has 40 bits"),
        ({"bits": [4, 4, 4, 4]}, "maps the same layers to bits"),
        ({"bits": {}}, "maps the same layers to bits"),
    ],
)
def test_what_does_not_fit_is_refused(change, says, tmp_path):
    proxy = exported(KNOWN["fisher"], tmp_path / "found.py")
    given = {"bits": {"conv1": 4}, "batch": batch()[0], "labels": None} | change
    with pytest.raises(ValueError, match=says):
        proxy.score(model(), given["bits"], given["batch"], given["labels"])


def test_bits_of_tables_and_of_many_are_checked_too(tmp_path):
    proxy = exported(KNOWN["fisher"], tmp_path / "found.py")
    with pytest.raises(ValueError, match="conv1 has 1 bits"):
        proxy.table(model(), batch()[0], (1, 2))
    with pytest.raises(ValueError, match="maps the same layers"):
        proxy.score_all(model(), [{"conv1": 4}, {"conv2": 4}], batch()[0])
    counted = np.int64(4)
    assert proxy(model(), {"conv1": counted}, batch()[0]) == proxy(model(), {"conv1": 4}, batch()[0])


def test_what_an_exported_proxy_refuses_is_an_error_of_the_package(tmp_path):
    proxy = exported(KNOWN["fisher"], tmp_path / "found.py")
    wrong = torch.full((12,), 99)
    bits = dict.fromkeys(LAYERS, 4)
    with pytest.raises(ProxyError, match="found: the model gives 5 classes, labels reach from 99"):
        score(model(), bits, batch()[0], proxy, labels=wrong)
    with pytest.raises(ProxyError, match="labels reach from 99"):
        allocate(model(), "4bits", proxy, batch=batch()[0], labels=wrong)


def test_the_package_and_an_export_call_labels_labels(tmp_path):
    proxy = exported(KNOWN["fisher"], tmp_path / "found.py")
    images, labels = batch()
    bits = dict.fromkeys(LAYERS, 4)
    expected = proxy.score(model(), bits, images, labels=labels)
    assert score(model(), bits, images, proxy, labels=labels) == expected
    assert score(model(), bits, images, proxy, targets=labels) == expected
    assert proxy(model(), bits, images) != expected


NOISY = [
    Genome("corrected", "tree", ("weight_quantized", "virtual_gradient"),
           ("to_std_scalar", "to_mean_scalar", "revert", "sigmoid"), ("sum",), ("normalize", "quantize"), "parameters"),
    Genome("corrected", "tree", ("parameters", "logit_gradient"), ("no_op", "no_op", "quantize", "normalize"),
           ("product",), ("row_sum", "quantize_error"), "macs"),
]  # fmt: skip
"""Of these, rounding made as much as of anything before it was told from a spread."""


@pytest.mark.parametrize("genome", NOISY)
def test_rounding_is_no_spread(genome, tmp_path):
    for difference in differences([genome], tmp_path, configurations()[:4]).values():
        assert difference < 1


def test_a_proxy_that_does_not_tell_bits_apart_on_a_model_says_so(tmp_path):
    proxy = exported(KNOWN["weight_error"], tmp_path / "found.py")
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
    torch.nn.init.zeros_(net[1].weight)
    with pytest.raises(ValueError, match="does not tell 8 bits"):
        proxy(net, {"1": 4}, batch()[0])


def test_what_was_rejected_is_not_exported(tmp_path):
    flat = Genome("corrected", "linear", ("weight",), ("no_op",) * 4)
    with pytest.raises(InvalidGenomeError, match="bit-independent"):
        export(flat, tmp_path / "flat.py", {})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("shape", ["no_op", "row_sum", "gram_matrix", "p_dist"])
def test_zeros_keep_their_shape(shape, tmp_path):
    unary = ("frobenius_norm", "logsoftmax", shape, "no_op")  # the second of one number is 0, and 0 times a tensor
    for word in ("weight", "logit_gradient", "layer_input"):
        genome = Genome(
            "corrected", "tree", ("weight_quantized", word), unary, ("product",), ("logsoftmax", "times_bits"), "macs"
        )
        assert any(node.op == "zero" and node.kind != "scalar" for node in nodes(expression(genome).term))
        [difference] = differences([genome], tmp_path / word, configurations()[:4]).values()
        assert difference < 1
