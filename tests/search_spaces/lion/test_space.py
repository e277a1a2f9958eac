"""The space as the engine sees it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import search_spaces.lion
from evo.errors import ConfigError, EvaluatorError, InvalidGenomeError
from evo.program import MutationOptions, Program, canonical, simplify
from evo.seeds import Streams
from evo.space import Preparation
from evo.testing.spaces import SpaceContract
from search_spaces.lion import Lion, LionOptions
from search_spaces.lion.evaluator import course_digest, courses, references
from search_spaces.lion.figures import figures
from search_spaces.lion.language import LION
from search_spaces.lion.operators import DRAWN
from search_spaces.lion.programs import adamw, discovered, lion, muon
from search_spaces.lion.text import described, one_line
from search_spaces.lion.training import train

OPTIONS = LionOptions(steps=12, probe_steps=6, batch=16, replicates=2)


class TestLion(SpaceContract):
    n_genomes = 16

    @pytest.fixture(scope="class")
    @classmethod
    def space(cls) -> Lion:
        return Lion(OPTIONS)

    def equivalents(self, space: Lion, genomes: list[Any]) -> list[tuple[Any, Any]]:
        """Also with arguments of commutative operators exchanged, and dead statements added."""
        pairs = super().equivalents(space, genomes)
        for genome in genomes:
            swapped = [
                step._replace(arguments=step.arguments[::-1]) if step.operator in ("add", "mul", "max", "dot") else step
                for step in genome.instructions
            ]
            dead = Program.parse("unused = sin(g)").instructions
            pairs.append((genome, Program((*dead, *swapped))))
        return pairs

    def check_member(self, space: Lion, genome: Program) -> None:
        super().check_member(space, genome)
        LION.infer(genome)


def test_mutants_of_mutants_stay_valid_and_within_the_length() -> None:
    space, streams = Lion(LionOptions(mutation=MutationOptions(max_length=20))), Streams(1)
    genome, seen = adamw(), set()
    for i in range(2000):
        variation = space.mutate(genome, streams(i, "mutate"))
        genome = variation.genome
        LION.infer(genome)
        assert len(genome) <= 20
        seen.add(variation.operator)
    assert seen >= {"insert", "delete", "modify_argument", "modify_constant", "replace_operator"}


def test_options_say_what_is_wrong() -> None:
    with pytest.raises(ConfigError, match="tasks"):
        LionOptions(tasks=())
    with pytest.raises(ConfigError, match="steps"):
        LionOptions(steps=0)
    with pytest.raises(ConfigError, match="probe_hurdle"):
        LionOptions(probe_hurdle=1.0)
    with pytest.raises(ConfigError, match="no program is called 'sgd'"):
        LionOptions(seeds=("adamw", "sgd"))
    for seeds in ((), ("lion", "lion")):
        with pytest.raises(ConfigError, match=r"options\.seeds"):
            LionOptions(seeds=seeds)
    with pytest.raises(ConfigError, match=r"options\.operators is 'all'"):
        LionOptions(operators="all")


def test_the_screen_may_leave_dear_tasks_out() -> None:
    options = LionOptions(tasks=("digits_mlp", "digits_conv"), screen_tasks=("digits_mlp",), steps=4, probe_steps=2)
    by_rung = courses(options)
    assert list(by_rung["screen"]) == ["digits_mlp"]
    assert by_rung["screen"]["digits_mlp"] == by_rung["search"]["digits_mlp"]
    found = references(options)
    assert found["screen"] == {"digits_mlp": found["search"]["digits_mlp"]}
    assert course_digest(options) != course_digest(LionOptions(tasks=options.tasks, steps=4, probe_steps=2))
    for wrong in ((), ("characters",)):
        with pytest.raises(ConfigError, match="screen_tasks"):
            LionOptions(tasks=("digits_mlp", "digits_conv"), screen_tasks=wrong)


def test_options_shape_rungs_and_objectives() -> None:
    assert [rung.name for rung in Lion(LionOptions(probe_task=None, screen_hurdle=None)).rungs] == ["search"]
    space = Lion(LionOptions(probe_hurdle=None, replicates=3, length_objective=True))
    assert [(rung.name, rung.replicates, rung.hurdle) for rung in space.rungs] == [
        ("probe", 1, None),
        ("screen", 1, 0.85),
        ("search", 3, None),
    ]
    assert [objective.name for objective in space.objectives] == ["loss", "length"]
    assert space.costs(discovered()) == {"length": 11.0}


def test_another_course_is_another_namespace() -> None:
    spaces = [
        Lion(),
        Lion(LionOptions(steps=99)),
        Lion(LionOptions(tasks=("digits_mlp",))),
        Lion(LionOptions(probe_steps=9)),
    ]
    assert len({json.dumps(dict(space.namespace())) for space in spaces}) == 4


def test_mutation_options_do_not_change_the_namespace() -> None:
    """They change what is proposed, not what a function is worth: the cache is shared."""
    assert Lion(LionOptions(mutation=MutationOptions(insert=2.0))).namespace() == Lion().namespace()


def test_what_is_drawn_and_where_a_search_starts_do_not_change_the_namespace() -> None:
    assert Lion(LionOptions(operators="matrix", seeds=("muon",))).namespace() == Lion().namespace()


@pytest.mark.parametrize(("operators", "drawn"), [("paper", False), ("matrix", True)])
def test_matrix_operators_are_drawn_where_they_are_asked_for(operators: Any, drawn: bool) -> None:
    space, streams = Lion(LionOptions(operators=operators)), Streams(2)
    found = [space.sample(streams(i, "sample")) for i in range(150)]
    genome = adamw()
    for i in range(600):
        genome = space.mutate(genome, streams(i, "mutate")).genome
        found.append(genome)
    used = {step.operator for program in found for step in program.instructions}
    assert ("orthogonalize" in used) == drawn
    assert used <= set(DRAWN[operators])


def test_seeds_are_the_programs_that_the_options_name() -> None:
    assert Lion().seeds() == (adamw(),)
    assert Lion(LionOptions(seeds=("muon", "lion"))).seeds() == (muon(), lion())
    assert Lion(LionOptions(seeds=["momentum"])).options.seeds == ("momentum",), "from plain JSON"


def test_a_task_whose_loss_is_nan_is_said_before_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    def nan(*arguments: Any) -> Any:
        trained = train(*arguments)
        return trained._replace(loss=np.full_like(trained.loss, np.inf))  # what train makes of NaN

    monkeypatch.setattr("search_spaces.lion.evaluator.train", nan)
    options = LionOptions(tasks=("digits_mlp",), steps=2, probe_task=None)
    with pytest.raises(EvaluatorError, match="no finite loss on the task digits_mlp"):
        references(options)


def test_references_are_prepared_once(tmp_path: Path) -> None:
    said: list[str] = []
    preparation = Preparation(
        tmp_path, lambda f, items: [f(i) for i in items], lambda done, total, what: said.append(what)
    )
    first = Lion(OPTIONS).prepare(preparation)
    assert said
    said.clear()
    assert Lion(OPTIONS).prepare(preparation) == first
    assert not said


def test_a_genome_that_is_no_program_is_refused() -> None:
    with pytest.raises(InvalidGenomeError):
        Lion().decode([["update", "sin", "nothing"]])


def test_description_shows_what_was_removed() -> None:
    text = Lion().describe(discovered())
    assert "1 of them dead" in text
    assert text.index("removed") < text.index("v1 = cosh(update)")
    assert "couples all tensors" in text


def test_one_line_reads_values_where_they_are_made() -> None:
    assert one_line(adamw()) == (
        "v1 = interp(g, v1, 0.9); v2 = interp(square(g), v2, 0.999); "
        "update = ((v1 / sqrt(v2)) + (w * 0.01)) * (lr * 0.001)"
    )
    kept = Program.parse("a = sin(g)\ng = cos(w)\nupdate = add(a, g)")
    assert one_line(kept) == "a = sin(g); update = a + cos(w)", "g is assigned between, so a cannot move"


def test_the_shipped_configuration_is_valid_and_is_the_default() -> None:
    from evo.config.models import Config

    path = Path(search_spaces.lion.__file__).with_name("default.yaml")
    given = yaml.safe_load(path.read_text())
    config = Config.model_validate(given)
    assert config.space == "lion"
    assert Lion(LionOptions(**given["options"])).options == LionOptions()
    for section, values in Lion.defaults.items():
        for key, value in values.items():
            assert given[section][key] == value, f"{section}.{key}"


def test_the_report_compares_finalists_with_tuned_baselines(tmp_path: Path) -> None:
    space = Lion(LionOptions(tasks=("digits_mlp",), steps=8, batch=16, probe_steps=4))
    prepared = space.prepare(Preparation(tmp_path, lambda f, items: [f(i) for i in items], lambda *said: None))
    rows = space.report([lion(0.01), adamw()], [11, 12], prepared)
    losses = {row["name"]: row for row in rows if row["metric"] == "test loss"}
    assert next(iter(losses)) == "AdamW, tuned"
    assert losses["finalist 2"]["values"] == losses["AdamW, seed program"]["values"]
    assert losses["finalist 1"]["genome_index"] == 0
    assert losses["AdamW, tuned"]["genome_index"] is None
    assert all(len(row["values"]) == 2 for row in rows)
    assert np.mean(losses["AdamW, tuned"]["values"]) < np.mean(losses["AdamW, seed program"]["values"])
    json.dumps(rows)

    class Run:
        path = tmp_path

        def reports(self) -> list[dict[str, Any]]:
            return [{**row, "candidate": row["genome_index"]} for row in rows]

    (figure,) = figures(Run())
    assert "candidate 1" in figure.html
    assert "AdamW, tuned" in figure.html
    assert len(figure.html) < 200_000, "the plotly library is not inside"
    assert list(figures(None)) == []


def test_canonical_is_the_languages() -> None:
    assert Lion().canonical(adamw()) == canonical(LION, adamw())


def test_a_seed_that_calls_what_mutation_does_not_draw_is_mentioned() -> None:
    (note,) = Lion(LionOptions(seeds=("adamw", "muon"))).notes()
    assert "muon" in note
    assert "orthogonalize" in note
    assert "operators=matrix" in note
    assert list(Lion(LionOptions(seeds=("muon",), operators="matrix")).notes()) == []
    assert list(Lion().notes()) == []


@pytest.mark.parametrize("backend", ["cuda", "triton"])
def test_a_backend_that_is_not_there_is_an_error_of_the_configuration(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(ConfigError, match=r"options\.backend") as caught:
        Lion(LionOptions(backend=backend)).namespace()
    assert "numpy" in caught.value.hint


def test_the_counts_of_statements_add_up() -> None:
    """What algebra folded away is not dead."""
    program = Program.parse("one = e()\nx = mul(g, one)\nx = mul(x, 2.0)\nd = sin(w)\nupdate = mul(x, lr)")
    head = described(program).splitlines()[0]
    short = len(simplify(LION, program))
    assert head.startswith(f"# {short} statements; 5 as written, 1 of them dead, {5 - 1 - short} folded away")
    assert described(adamw()).splitlines()[0] == "# 9 statements"


def test_a_summary_is_whole_where_boards_have_to_tell_programs_apart() -> None:
    text = "x = sin(g)\n" + "x = interp(x, g, 0.5)\n" * 30
    one, other = (Program.parse(text + f"update = mul(x, {value})") for value in ("0.25", "0.75"))
    assert Lion().summary(one) != Lion().summary(other)
    assert len(Lion().summary(one)) > 300
