"""The driver of simplification, with assessments whose truth is known."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from evo.errors import ConfigError, DamagedRunError
from evo.program import Program, canonical, simplify
from search_spaces.lion.language import LION
from search_spaces.lion.programs import adamw, discovered, lion, momentum
from search_spaces.lion.refine import simplify as simplify_module
from search_spaces.lion.refine.closed_forms import complexity
from search_spaces.lion.refine.paired import SeedSource
from search_spaces.lion.refine.simplify import Simplified, SimplifyOptions, simplified

QUICK = SimplifyOptions(first=4, cap=8, screen=2)


class Truth:
    """An assessment: a true loss of each program, and noise of (seed, program) beside noise that a seed's programs
    share. Keeps what it was asked."""

    def __init__(self, loss: Callable[[Program], float], noise: float = 1e-4) -> None:
        self._loss, self._noise = loss, noise
        self.asked: list[tuple[tuple[Program, ...], tuple[int, ...]]] = []

    def __call__(self, programs: Sequence[Program], seeds: Sequence[int]) -> np.ndarray:
        self.asked.append((tuple(programs), tuple(seeds)))
        found = np.empty((len(programs), 2, len(seeds)))
        for column, seed in enumerate(seeds):
            common = np.random.Generator(np.random.Philox(seed)).standard_normal(2)
            for row, program in enumerate(programs):
                key = [seed, *str(program).encode()]
                own = np.random.Generator(np.random.Philox(np.random.SeedSequence(key))).standard_normal(2)
                found[row, :, column] = self._loss(program) + common + self._noise * own
        return found


def needs(*words: str) -> Callable[[Program], float]:
    """Half a unit of loss for each word that is missing from the program."""
    return lambda program: 0.5 * sum(word not in str(program) for word in words)


def test_what_does_no_harm_goes_and_what_is_needed_stays() -> None:
    found = simplified(discovered(), Truth(needs("sign(", "interp(g, v1, 0.9", "decay")), SeedSource(0), QUICK)
    text = str(found.program)
    assert all(word in text for word in ("sign(", "interp(g, v1, 0.9", "decay"))
    assert not any(word in text for word in ("clip", "arcsin", "sqrt", "div"))
    assert found.confirmed
    assert complexity(found.program) < complexity(found.equal) < complexity(discovered())


def test_where_everything_matters_only_the_algebra_is_done() -> None:
    closed = simplified(
        lion(), Truth(lambda program: float(complexity(program) < complexity(lion()))), SeedSource(0), QUICK
    )
    assert closed.program == closed.equal
    assert closed.confirmed
    assert not [step for step in closed.steps if step.outcome == "accepted" and step.kind != "equal"]


def test_accepted_steps_lead_to_the_result_each_simpler_than_the_last() -> None:
    found = simplified(discovered(), Truth(needs("sign(", "interp")), SeedSource(3), QUICK)
    taken = [step for step in found.steps if step.outcome == "accepted"]
    assert taken[0].kind == "equal"
    assert taken[-1].program == found.program
    sizes = [complexity(step.program) for step in taken]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == len(sizes)


def test_simplifying_the_result_again_changes_nothing() -> None:
    truth = Truth(needs("sign(", "interp(g, v1, 0.9", "decay"))
    first = simplified(discovered(), truth, SeedSource(0), QUICK).program
    assert simplified(first, truth, SeedSource(1), QUICK).program == first


def test_small_losses_do_not_add_up() -> None:
    # each statement less costs 0.003, below the margin of 0.005, so one may go and a second may not
    original = len(simplify(LION, adamw()))
    truth = Truth(lambda program: 0.003 * (original - len(program)), noise=1e-5)
    found = simplified(adamw(), truth, SeedSource(0), QUICK)
    assert len(found.program) == original - 1


def test_what_improves_becomes_the_measure_of_what_follows() -> None:
    # without its clip the program gains 0.1; the decay is worth 0.05, and may not be paid for with that gain
    def loss(program: Program) -> float:
        text = str(program)
        return 0.1 * ("clip" in text) + 0.05 * ("decay" not in text) + 0.5 * ("sign(" not in text)

    found = simplified(discovered(), Truth(loss), SeedSource(0), QUICK)
    assert "clip" not in str(found.program)
    assert "decay" in str(found.program)


def test_tests_and_the_final_comparison_use_seeds_that_nothing_used_before() -> None:
    truth = Truth(needs("sign(", "decay", "interp"), noise=0.004)
    found = simplified(discovered(), truth, SeedSource(7), SimplifyOptions(first=4, cap=16, screen=2))
    screens = set(SeedSource(7).take("screen", 2)) | set(SeedSource(7).take("equal", 2))
    tested = [seeds for _, seeds in truth.asked if not set(seeds) <= screens]
    every = [seed for seeds in tested for seed in seeds]
    assert len(every) == len(set(every))
    assert not set(every) & screens
    assert set(tested[-1]) == set(SeedSource(7).take("final", 16))
    for step in found.steps:
        if step.outcome in ("accepted", "rejected") and step.kind != "equal":
            assert set(SeedSource(7).take(step.seed_purpose, step.seeds)) <= set(every)


def test_a_closed_form_that_diverges_where_the_original_did_not_is_not_taken() -> None:
    original = adamw(beta1=0.5)
    # the closed form has other names, which is how this assessment knows it
    truth = Truth(lambda program: 0.0 if "s = sqrt" in str(program) or program == original else np.inf)
    found = simplified(original, truth, SeedSource(0), QUICK)
    assert found.steps[0].outcome == "rejected"
    assert complexity(found.program) <= complexity(simplify(LION, original))


def test_a_closed_form_that_takes_another_course_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    # a wrong derivation, which no loss of this assessment would tell
    wrong = lion(0.0002, 0.1, 0.8)
    monkeypatch.setattr(simplify_module, "tidy", lambda program: wrong)
    found = simplified(lion(), Truth(lambda program: 0.0), SeedSource(0), SimplifyOptions(tests=0))
    assert found.steps[0].outcome == "rejected"
    assert "course in floating point" in found.steps[0].reason
    assert canonical(LION, found.equal) == canonical(LION, lion())


def test_the_final_comparison_is_with_the_original_however_the_measure_moved() -> None:
    # without its clip the program is better, so what follows is measured against that; the end is not
    truth = Truth(lambda program: 0.1 * ("clip" in str(program)) + 0.5 * ("sign(" not in str(program)))
    found = simplified(discovered(), truth, SeedSource(0), QUICK)
    programs, seeds = truth.asked[-1]
    assert set(seeds) == set(SeedSource(0).take("final", 8))
    assert programs == (discovered(), found.program)
    assert found.final.difference == pytest.approx(-0.6, abs=0.01)


def test_a_result_that_the_final_seeds_do_not_confirm_is_called_so() -> None:
    final = set(SeedSource(0).take("final", 8))
    harmless = Truth(needs("sign("))

    def assess(programs: Sequence[Program], seeds: Sequence[int]) -> np.ndarray:
        found = harmless(programs, seeds)
        if set(seeds) <= final:
            found[1:] += 1.0
        return found

    found = simplified(discovered(), assess, SeedSource(0), QUICK)
    assert not found.confirmed
    assert not found.final.accepted
    assert found.equal != found.program


def test_no_more_tests_than_were_allowed() -> None:
    found = simplified(
        discovered(), Truth(needs("sign(")), SeedSource(0), SimplifyOptions(first=4, cap=8, screen=2, tests=2)
    )
    assert found.evidence["tests"] == 2
    assert found.evidence["ended_early"]


def test_tests_that_just_suffice_are_no_early_end() -> None:
    truth = lambda: Truth(needs("sign(", "decay"))  # noqa: E731
    free = simplified(CLIPPED, truth(), SeedSource(0), QUICK)
    assert not free.evidence["ended_early"]
    needed = free.evidence["tests"]
    exact = simplified(CLIPPED, truth(), SeedSource(0), SimplifyOptions(first=4, cap=8, screen=2, tests=needed))
    assert (exact.program, exact.evidence["ended_early"]) == (free.program, False)
    short = simplified(CLIPPED, truth(), SeedSource(0), SimplifyOptions(first=4, cap=8, screen=2, tests=needed - 1))
    assert short.evidence["ended_early"]


def test_constants_are_rounded_as_far_as_it_does_no_harm() -> None:
    program = Program.parse("v1 = interp(g, v1, 0.912345)\nrate = mul(lr, 0.0123456)\nupdate = mul(v1, rate)")

    def loss(program: Program) -> float:
        values = [a for step in program.instructions for a in step.arguments if not isinstance(a, str)]
        return 1.0 if len(program) < 3 else 10 * min(abs(value - 0.012) for value in values)

    found = simplified(program, Truth(loss), SeedSource(0), QUICK)
    assert str(found.program) == "v1 = interp(g, v1, 0.9)\nrate = mul(lr, 0.012)\nupdate = mul(v1, rate)"
    assert not any(s.kind == "round" for s in simplified(program, Truth(loss), SeedSource(0), off("rounding")).steps)


def off(name: str) -> SimplifyOptions:
    return SimplifyOptions(first=4, cap=8, screen=2, **{name: False})


# Journals.


class Killed(Exception):
    """Stands for the end of the process."""


def killed_after(calls: int, truth: Truth) -> Callable[..., np.ndarray]:
    def assess(programs: Sequence[Program], seeds: Sequence[int]) -> np.ndarray:
        if len(truth.asked) >= calls:
            raise Killed
        return truth(programs, seeds)

    return assess


def outcome(found: Simplified) -> tuple:
    return found.program, [json.dumps(step.to_json()) for step in found.steps], json.dumps(found.evidence)


CLIPPED = Program.parse(
    """
    c = clip_by_global_norm(g, lr)
    v1 = interp(c, v1, 0.9)
    u = sign(v1)
    d = mul(w, 0.01)
    u = add(u, d)
    update = mul(u, lr)
    """
)


def test_a_killed_simplification_goes_on_where_it_was(tmp_path: Path) -> None:
    truth = lambda: Truth(needs("sign(", "decay"), noise=0.002)  # noqa: E731
    options = SimplifyOptions(first=4, cap=16, screen=2)
    whole = truth()
    wanted = simplified(CLIPPED, whole, SeedSource(5), options)
    for number, allowed in enumerate((0, 2, 5)):
        journal, killed = tmp_path / f"{number}.jsonl", truth()
        with pytest.raises(Killed):
            simplified(CLIPPED, killed_after(allowed, killed), SeedSource(5), options, journal=journal)
        with journal.open("a") as file:
            file.write('{"what": "torn')
        rest = truth()
        found = simplified(CLIPPED, rest, SeedSource(5), options, journal=journal)
        assert outcome(found) == outcome(wanted)
        # a decision that the kill cut short is made again, the others are not
        assert len(rest.asked) + len(killed.asked) <= len(whole.asked) + len(options.test().looks())
    finished = truth()
    assert outcome(simplified(CLIPPED, finished, SeedSource(5), options, journal=journal)) == outcome(wanted)
    assert not finished.asked


def test_a_journal_of_another_simplification_is_refused(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    simplified(momentum(), Truth(needs("v1")), SeedSource(0), QUICK, journal=journal)
    for other in (
        lambda: simplified(lion(), Truth(needs()), SeedSource(0), QUICK, journal=journal),
        lambda: simplified(momentum(), Truth(needs()), SeedSource(1), QUICK, journal=journal),
        lambda: simplified(momentum(), Truth(needs()), SeedSource(0), SimplifyOptions(), journal=journal),
        lambda: simplified(momentum(), Truth(needs()), SeedSource(0), QUICK, journal=journal, world="other data"),
    ):
        with pytest.raises(ConfigError, match="another simplification"):
            other()


def test_a_damaged_journal_is_called_so(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    simplified(momentum(), Truth(needs("v1")), SeedSource(0), QUICK, journal=journal)
    lines = journal.read_text().splitlines()
    journal.write_text("\n".join([lines[0], "{not json", *lines[2:]]) + "\n")
    with pytest.raises(DamagedRunError):
        simplified(momentum(), Truth(needs("v1")), SeedSource(0), QUICK, journal=journal)


def test_steps_are_json_and_sentences() -> None:
    found = simplified(discovered(), Truth(needs("sign(")), SeedSource(0), QUICK)
    for step in found.steps:
        again = json.loads(json.dumps(step.to_json(), allow_nan=False))
        assert Program.from_json(again["program"]) == step.program
        assert step.outcome in str(step)
    json.dumps(found.evidence, allow_nan=False)


@pytest.mark.parametrize("wrong", [{"screen": 1}, {"reach": 0}, {"margin": -1.0}, {"cap": 2}, {"screen_alpha": 0.7}])
def test_options_that_cannot_be_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        SimplifyOptions(**wrong)
