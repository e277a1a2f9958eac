"""The contract of a search space, held by `emq`; and what preparing keeps."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from evo.errors import ConfigError, InvalidGenomeError
from evo.space import Preparation
from evo.testing.spaces import SpaceContract
from search_spaces.emq import EMQ, EMQOptions
from search_spaces.emq.benchmark.loading import save
from search_spaces.emq.benchmark.table import make_table
from search_spaces.emq.known import KNOWN
from search_spaces.emq.language import Genome
from search_spaces.emq.statistics import gather_samples
from tests.search_spaces.emq import tiny


def table_file(folder: Any, name: str = "tiny") -> str:
    """A made-up table of the tiny network."""
    bits = tiny.configurations()
    table = make_table(
        network=name, layers=tiny.LAYERS, choices=tiny.CHOICES, bits=bits, accuracy=tiny.accuracies(bits),
        method=np.array(["nearest"] * len(bits)), activation_bits=8, parameters=np.ones(4), macs=np.ones(4),
        float_accuracy=0.9,
    )  # fmt: skip
    path = folder / f"{name}.npz"
    save(table, path)
    return str(path)


def own(folder: Any, **more: Any) -> EMQOptions:
    """Options for the tiny network."""
    given = {
        "search": table_file(folder), "model": "tests.search_spaces.emq.tiny:model",
        "data": "tests.search_spaces.emq.tiny:samples", "held_out": None, "samples": 64, "batch": 12, "batches": 2,
        "fresh": 1, **more,
    }  # fmt: skip
    return EMQOptions(**given)


OTHER = {
    "held_out_model": "tests.search_spaces.emq.tiny:model",
    "held_out_data": "tests.search_spaces.emq.tiny:samples",
}


def tiny_input(images: Any) -> np.ndarray:
    """What a proxy sees as `layer_input` of the network on these images."""
    found = gather_samples(tiny.model(), images, tiny.samples()[1][:12], tiny.LAYERS, tiny.CHOICES, 64, tiny.HESSIAN)
    return found.samples.values["layer_input"]


def preparation(folder: Any) -> Preparation:
    return Preparation(folder, lambda f, items: [f(i) for i in items], lambda *_: None)


class TestEMQ(SpaceContract):
    n_genomes = 60
    n_evaluated = 8

    @pytest.fixture(scope="class")
    @classmethod
    def space(cls, tmp_path_factory: pytest.TempPathFactory) -> EMQ:
        folder = tmp_path_factory.mktemp("emq")
        return EMQ(own(folder, structures=("linear", "tree", "graph"), invariance="none", seeds=("fisher", "hawq_v2")))

    def equivalents(self, space: EMQ, genomes: list[Any]) -> list[tuple[Any, Any]]:
        pairs = super().equivalents(space, genomes)
        a = KNOWN["hawq_v2"]
        swapped = Genome(
            "corrected", "tree", a.inputs[::-1], (*a.unary[2:], *a.unary[:2]), a.binary, ("no_op", "revert"), "sum"
        )
        return [*pairs, (a, swapped)]


class TestEMQAsReleased(SpaceContract):
    n_genomes = 60
    n_evaluated = 8
    exports = False

    @pytest.fixture(scope="class")
    @classmethod
    def space(cls, tmp_path_factory: pytest.TempPathFactory) -> EMQ:
        folder = tmp_path_factory.mktemp("emq")
        return EMQ(own(folder, mode="as-released", operators="wide", size_objective=True, seeds=("released_a",)))


def test_what_was_gathered_is_kept_by_content(tmp_path: Any) -> None:
    space = EMQ(own(tmp_path))
    first = space.prepare(preparation(tmp_path / "kept"))
    files = sorted((tmp_path / "kept").iterdir())
    assert len(files) == 3, "one a batch"
    before = files[0].stat().st_mtime_ns
    again = EMQ(own(tmp_path)).prepare(preparation(tmp_path / "kept"))
    assert files[0].stat().st_mtime_ns == before, "it was gathered again"
    for word, value in first["search"].gathered.samples.values.items():
        assert np.array_equal(value, again["search"].gathered.samples.values[word])
    EMQ(own(tmp_path, samples=32)).prepare(preparation(tmp_path / "kept"))
    assert len(list((tmp_path / "kept").iterdir())) == 6, "fewer samples are other statistics"


def test_batches_share_no_image_and_the_report_has_its_own(tmp_path: Any) -> None:
    options = own(tmp_path, held_out=table_file(tmp_path, "other"), **OTHER)
    prepared = EMQ(options).prepare(preparation(tmp_path / "kept"))
    search, held_out = prepared["search"], prepared["held_out"]
    assert [len(p) for p in (search.search, search.fresh, held_out.search, held_out.fresh)] == [2, 1, 0, 1]
    images, _ = tiny.samples()
    for number, gathered in enumerate((*search.search, *search.fresh)):
        assert np.array_equal(
            gathered.samples.values["layer_input"], tiny_input(images[12 * number : 12 * number + 12])
        )
    assert np.array_equal(
        held_out.fresh[0].samples.values["layer_input"], search.fresh[0].samples.values["layer_input"]
    )


def test_without_fresh_batches_the_report_takes_those_of_the_search(tmp_path: Any) -> None:
    options = own(tmp_path, held_out=table_file(tmp_path, "other"), fresh=0, **OTHER)
    prepared = EMQ(options).prepare(preparation(tmp_path / "kept"))
    assert prepared["search"].reported == prepared["search"].search
    assert len(prepared["held_out"].reported) == 2


def test_an_evaluator_does_not_hold_what_the_report_is_on(tmp_path: Any) -> None:
    space = EMQ(own(tmp_path))
    prepared = space.prepare(preparation(tmp_path / "kept"))
    seen = pickle.dumps(space.evaluator(prepared))
    value = prepared["search"].fresh[0].samples.values["output_gradient"]
    assert prepared["search"].search[0].samples.values["output_gradient"].tobytes() in seen
    assert value.tobytes() not in seen


def test_too_few_samples_are_told(tmp_path: Any) -> None:
    with pytest.raises(ConfigError, match="have 48 training samples; 4 batches to search on and 1 to report on"):
        EMQ(own(tmp_path, batches=4)).prepare(preparation(tmp_path / "kept"))


def test_search_rows_and_held_out_rows_share_none(tmp_path: Any) -> None:
    problem = EMQ(own(tmp_path)).prepare(preparation(tmp_path))["search"]
    assert not set(problem.search_rows) & set(problem.held_out_rows)
    assert len(problem.search_rows) + len(problem.held_out_rows) == 60


def test_a_table_of_ones_own_needs_its_model(tmp_path: Any) -> None:
    with pytest.raises(ConfigError, match=r"model and options\.data are needed"):
        EMQ(EMQOptions(search=table_file(tmp_path), held_out=None)).prepare(preparation(tmp_path))
    with pytest.raises(ConfigError, match="one is missing"):
        EMQOptions(model="a:b")
    with pytest.raises(ConfigError, match="no_such"):
        EMQ(own(tmp_path, model="tests.search_spaces.emq.tiny:no_such")).prepare(preparation(tmp_path))


@pytest.mark.parametrize(
    "wrong",
    [{"mode": "other"}, {"structures": ()}, {"structures": ("tree", "tree")}, {"structures": ("bush",)}, {"top": 0.0},
     {"fitness": "pearson"}, {"seeds": ("released_a",)}, {"gene_mutation": 0.0}, {"samples": 1}, {"rows": "some"},
     {"seeds": ("weight_error",)}, {"invariance": "all"}, {"operators": "narrow"}, {"batch": 1}],
)  # fmt: skip
def test_wrong_options_are_errors(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"options.{next(iter(wrong))}"):
        EMQOptions(**wrong)


@pytest.mark.parametrize(
    "change",
    [{"mode": "none"}, {"structure": "bush"}, {"inputs": ["weight"]}, {"unary": ["no_op"] * 3}, {"binary": []},
     {"post": ["no_op"]}, {"aggregation": "median"}, {"inputs": ["weight", "height"]}, {"unary": "abcd"},
     {"mode": "as-released"}, {"more": 1}],
)  # fmt: skip
def test_decoding_refuses_what_is_no_proxy(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidGenomeError):
        EMQ().decode({**KNOWN["fisher"].to_json(), **change})


def test_a_proxy_that_rescaling_changes_has_no_key_unless_asked_for() -> None:
    assert EMQ().canonical(KNOWN["weight_error"]) is None
    assert EMQ(EMQOptions(invariance="none")).canonical(KNOWN["weight_error"]) is not None
    assert EMQ().canonical(KNOWN["fisher"]) is not None


def test_size_is_a_second_objective_on_request() -> None:
    space = EMQ(EMQOptions(size_objective=True))
    assert [o.name for o in space.objectives] == ["fitness", "size"]
    assert space.costs(KNOWN["fisher"]) == {"size": 5.0}
    assert [o.name for o in EMQ().objectives] == ["fitness"]
