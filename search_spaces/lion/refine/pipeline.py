"""From the leaders of a search to one optimizer: re-evaluation, funnel, tuning, simplification, final comparison.

Each step is judged on seeds that no other step sees. All trainings are kept (see `assess`), and all else is a function
of them, so that a killed refinement, called again, goes on where it was and ends with the same result.

Intervals are Student's t over seeds, of differences that are paired by seed and averaged over tasks
(`paired.interval`); a decision that rests on one asks whether it holds zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any, cast

import xxhash

from evo.errors import ConfigError
from evo.program import Program, simplify
from evo.space import Candidate, Refined, Refinement
from search_spaces.lion.language import LION
from search_spaces.lion.options import LionOptions
from search_spaces.lion.refine import funnel
from search_spaces.lion.refine.assess import Assessor, Losses, Trial, seeds_for
from search_spaces.lion.refine.comparison import as_found, compared, rate_words
from search_spaces.lion.refine.curve import meta_overfitting
from search_spaces.lion.refine.funnel import ADAMW, Contender
from search_spaces.lion.refine.options import RefineOptions, from_settings, seen_tasks
from search_spaces.lion.refine.paired import LEVEL, SeedSource, differences, interval
from search_spaces.lion.refine.simplify import VERSION as SIMPLIFICATION
from search_spaces.lion.refine.simplify import SimplifyOptions, simplified
from search_spaces.lion.refine.subjects import Subject, in_words
from search_spaces.lion.refine.tune import tuned
from search_spaces.lion.refine.words import (
    beaten_words,
    factor,
    few_seeds,
    grid_words,
    rehearsal,
    simplification_words,
    tuning_words,
    validation,
)
from search_spaces.lion.tasks import load

LOSSES = "losses.sqlite"
BAR = "AdamW (all constants tuned)"


class Refiner:
    """The steps, in the order of `run`, and what they found.

    Args:
        options: of the space.
        settings: of the refinement.
        work: the run's leaders and history, a folder, workers.
        losses: the kept losses.

    Attributes:
        steps: what was done, a line each.
        evidence: the figures behind it, JSON.
    """

    def __init__(
        self, options: LionOptions, settings: RefineOptions, work: Refinement[Program], losses: Losses
    ) -> None:
        self._options = options
        self._settings = settings
        self._work = work
        self.assessor = Assessor(options, losses, work.map, work.progress)
        self._search = tuple(Trial(task) for task in options.tasks)
        self._selection = tuple(Trial(task, settings.selection_stretch) for task in settings.selection)
        self._final = tuple(Trial(task, settings.final_stretch) for task in settings.final)
        seen = seen_tasks(options, settings)
        self._judged = validation(seen, (*settings.selection, *settings.final))
        self._judged_at_selection = validation(
            [task for task in seen if task in settings.selection], settings.selection
        )
        self._rated: dict[int, Contender] = {}
        self.steps: list[str] = [note for note in (rehearsal(seen) if seen else "", few_seeds(settings)) if note]
        self.evidence: dict[str, Any] = {
            "options": asdict(settings),
            "tasks": {"search": options.tasks, "selection": settings.selection, "final": settings.final},
            "seen": seen,
            "unit": f"log(final validation loss / that of {ADAMW} under the same seed); lower is better",
            "interval": f"Student's t over seeds, two-sided, level {LEVEL}",
        }

    def _seeds(self, purpose: str, n: int) -> list[int]:
        return seeds_for(self._work.seed, purpose, n)

    def run(self) -> Refined[Program]:
        """All steps."""
        baselines = self._baselines()
        entrants = self._elites()
        finalists, judged = self._funnel(entrants, baselines)
        self._curve()
        best, adamw = self._tuning(finalists, next(c for c in judged if c.name == ADAMW))
        program = self._simplification(best)
        self._comparison(program, best, adamw, judged)
        return Refined(program, best.candidate or 0, tuple(self.steps), self.evidence)

    def _baselines(self) -> list[Contender]:
        self.assessor.stage = "baselines: rates and decays of AdamW, Lion and the search's seeds"
        found, records = funnel.baselines(
            self.assessor,
            self._selection,
            self._seeds("baseline rate", self._settings.scale_seeds),
            self._seeds("baseline shortlist", self._settings.baseline_seeds),
            self._options.seeds,
        )
        self.evidence["baselines"] = records
        self.steps.append(
            "baselines, rate and decay tuned on the selection tasks: " + "; ".join(grid_words(line) for line in records)
        )
        return found

    def _elites(self) -> list[Candidate[Program]]:
        given = funnel.distinct(self._work.leaders)[: self._settings.leaders]
        self.assessor.stage = f"elites: {len(given)} leaders again, on fresh seeds"
        seeds = self._seeds("elites", self._settings.elite_seeds)
        best, record = funnel.elites(self.assessor, given, self._search, seeds, self._settings.entrants)
        self.evidence["elites"] = record
        first = record[0]
        self.steps.append(
            f"{len(given)} leaders evaluated again on the search's tasks under {len(seeds)} fresh seeds; the best "
            f"{len(best)} enter the funnel (first of them now: candidate {first['candidate']}, "
            f"place {first['place_in_search']} in the search)"
        )
        return best

    def _funnel(
        self, entrants: Sequence[Candidate[Program]], baselines: Sequence[Contender]
    ) -> tuple[list[Contender], list[Contender]]:
        settings, assessor = self._settings, self.assessor
        assessor.stage = f"funnel: rates of {len(entrants)} programs"
        rate_seeds = self._seeds("rate", settings.scale_seeds)
        rated = funnel.with_rates(assessor, entrants, self._selection, settings, rate_seeds)
        self._rated = {contender.candidate: contender for contender in rated if contender.candidate is not None}
        assessor.stage = f"funnel: {len(rated)} programs on the selection tasks"
        seeds = self._seeds("selection", settings.selection_seeds)
        judged = funnel.judged_at_selection(assessor, [*baselines, *rated], self._selection, seeds)
        through, better = funnel.survivors(judged, settings.survivors)
        self.steps.append(
            f"{len(rated)} programs on {', '.join(settings.selection)}: {beaten_words(judged)}"
            + (f", the best {len(through)} go on" if better else "; the best goes on alone")
        )
        assessor.stage = f"funnel: {len(through)} programs on the final tasks"
        seeds = self._seeds("final", settings.final_seeds)
        ends = funnel.judged_at_the_end(
            assessor, [*(c for c in judged if c.candidate is None), *through], self._final, seeds
        )
        at_the_end = {contender.name: contender for contender in ends}
        self.evidence["funnel"] = {
            "beaten": better,
            "lines": [
                funnel.record_of(at_the_end.get(contender.name, contender), self._selection, self._final)
                for contender in judged
            ],
        }
        finalists = funnel.ranking(ends)[: settings.finalists]
        self.steps.append(
            f"{len(through)} on {', '.join(settings.final)}; by {self._judged}, the mean over all these tasks: "
            + ", ".join(f"{c.name} ({rate_words(c.scale)}: {factor(c.score)} of that AdamW's loss)" for c in finalists)
        )
        return finalists, ends

    def _curve(self) -> None:
        if self._settings.curve_points < 2:
            return
        self.assessor.stage = "meta-overfitting: the course of the search on the selection tasks"
        found = meta_overfitting(
            self.assessor, self._work.history, self._selection, self._settings, self._seeds, self._judged_at_selection
        )
        self.evidence["curve"] = found
        if found is not None:
            self.steps.append(found["sentence"])

    def _tuning(self, finalists: Sequence[Contender], adamw: Contender) -> tuple[Contender, Contender]:
        """Constants of the finalists, and of AdamW alike; then the choice. Returns the chosen one, and AdamW.

        Tuned constants must first beat the others in a paired test on the tasks that they were tuned on, under fresh
        seeds; then on the selection and final tasks, where meta-validation decides as it does for all else: constants
        that fit short courses on small networks often do harm there.
        """
        settings, assessor = self._settings, self.assessor
        trials = (*(Trial(t.task, settings.tuning_stretch) for t in self._search), *self._selection)
        everyone = [*finalists, adamw]

        def stage(generation: int) -> None:
            assessor.stage = f"tuning: generation {generation + 1} of {settings.generations}"

        found = tuned(
            [contender.program for contender in everyone],
            assessor.on(trials),
            lambda generation: self._seeds(f"tuning {generation}", settings.tuning_seeds),
            settings.generations,
            population=settings.population,
            spread=settings.spread,
            seed=self._seeds("sampling", 1)[0] % 2**31,
            stage=stage,
        )
        assessor.stage = "tuning: paired tests on fresh seeds"
        seeds = self._seeds("tuning test", settings.test_seeds)
        before = assessor.relative([contender.program for contender in everyone], trials, seeds)
        after = assessor.relative(found, trials, seeds)
        lines = [
            {
                "name": contender.name,
                "before": in_words(contender.program),
                "after": in_words(program),
                "change": interval(sample.mean(axis=0)),
            }
            for contender, program, sample in zip(everyone, found, map(differences, after, before), strict=True)
        ]
        kept = self._kept(everyone, found, lines)
        self.evidence["tuning"] = lines
        if settings.generations:
            self.steps.append(
                f"constants of {len(finalists)} finalists and of AdamW by CMA-ES, {settings.generations} generations: "
                + "; ".join(tuning_words(line, self._judged) for line in lines)
            )
        best = min(range(len(finalists)), key=lambda place: lines[place]["score"])
        self.steps.append(
            f"chosen by {self._judged} on fresh seeds: {kept[best].name}, {factor(lines[best]['score'])} of the loss "
            f"of {ADAMW}"
        )
        return kept[best], kept[-1]

    def _kept(
        self, contenders: Sequence[Contender], found: Sequence[Subject], lines: Sequence[dict[str, Any]]
    ) -> list[Contender]:
        """Each with the constants that meta-validation prefers, among those before and, where the paired test accepted
        them, those after. Adds "accepted", "kept" and "score" to the lines."""
        settings = self._settings
        self.assessor.stage = "choice: the finalists on selection and final tasks, fresh seeds"
        seeds = self._seeds("choice", max(settings.selection_seeds, settings.final_seeds))
        pairs = [
            program
            for contender, after in zip(contenders, found, strict=True)
            for program in (contender.program, after)
        ]
        accepted = [line["change"]["high"] < 0.0 for line in lines]
        judged = [place for place in range(len(pairs)) if place % 2 == 0 or accepted[place // 2]]
        values = self.assessor.relative([pairs[place] for place in judged], (*self._selection, *self._final), seeds)
        scores = dict(zip(judged, values.mean(axis=(1, 2)).tolist(), strict=True))
        kept = []
        for place, (contender, line) in enumerate(zip(contenders, lines, strict=True)):
            before, after = scores[2 * place], scores.get(2 * place + 1)
            takes = after is not None and after < before
            line |= {
                "accepted": accepted[place], "kept": takes, "score_before": before, "score_after": after,
                "score": after if takes else before,
            }  # fmt: skip
            kept.append(replace(contender, program=pairs[2 * place + takes]))
        return kept

    def _simplification(self, best: Contender) -> Program:
        """The winner without what it can do without; its closed form unless the last comparison confirms that."""
        settings, assessor = self._settings, self.assessor
        program = cast(Program, best.program)  # candidates alone come here
        if not settings.simplify:
            return simplify(LION, program)
        trials = (*self._search, *(t for t in self._selection if t.task in settings.simplify_tasks))
        chosen = SimplifyOptions(cap=settings.simplify_seeds, tests=settings.simplify_tests)
        seeds = SeedSource(self._seeds("simplification", 1)[0])

        def progress(done: int, total: int, what: str) -> None:
            assessor.stage = f"simplification: {what}"

        world = assessor.identity(trials)
        question = f"{SIMPLIFICATION} {asdict(chosen)} {trials} {world} {program.to_json()} {seeds}"
        journal = self._work.folder / f"simplification-{xxhash.xxh3_64_hexdigest(question.encode())}.jsonl"
        found = simplified(program, assessor.on(trials), seeds, chosen, progress, journal, world)
        harm = self._harm(found.program, program)
        sound = found.confirmed and not harm["low"] > 0.0
        result = found.program if sound else found.equal
        self.evidence["simplification"] = {
            "tasks": [trial.task for trial in trials],
            "before": in_words(program),
            "after": in_words(result),
            "confirmed": found.confirmed,
            "on_selection_tasks": harm,
            "kept": sound,
            "steps": [step.to_json() for step in found.steps],
            **found.evidence,
        }
        self.steps.append(simplification_words(found, harm, sound, len(program), len(result)))
        return result

    def _harm(self, after: Program, before: Program) -> dict[str, Any]:
        """What a simplification costs on the selection tasks, whose courses are too dear for its own many tests."""
        self.assessor.stage = "simplification: the result on the selection tasks"
        seeds = self._seeds("simplification check", self._settings.test_seeds)
        pair = self.assessor.relative([after, before], self._selection, seeds)
        return interval(differences(pair[0], pair[1]).mean(axis=0))

    def _comparison(self, program: Program, best: Contender, adamw: Contender, judged: Sequence[Contender]) -> None:
        """The result beside what it came from and the baselines. The bar is AdamW with the constants that the choice
        preferred."""
        baselines = [(c.name, c.program) for c in judged if c.candidate is None]
        if adamw.program != baselines[0][1]:
            baselines.insert(0, (BAR, adamw.program))
        leader = self._work.leaders[0]
        found = [] if leader.id == best.candidate else as_found(self._rating(leader), ", first of the search")
        found += [*as_found(self._rated.get(best.candidate or 0, best)), ("refined", program)]
        self.assessor.stage = "final comparison on fresh seeds"
        seeds = self._seeds("comparison", self._settings.comparison_seeds)
        self.evidence["comparison"], self.evidence["table"], sentence = compared(
            self.assessor, baselines, found, self._final, seeds
        )
        self.steps.append(sentence)

    def _rating(self, leader: Candidate[Program]) -> Contender:
        """A leader with the rate that the funnel gave it, or would have given."""
        known = self._rated.get(leader.id)
        if known is not None:
            return known
        self.assessor.stage = "final comparison: the rate of the search's first"
        seeds = self._seeds("rate", self._settings.scale_seeds)
        return funnel.with_rates(self.assessor, [leader], self._selection, self._settings, seeds)[0]


def refine(options: LionOptions, work: Refinement[Program]) -> Refined[Program]:
    """Turn a search's leaders into one optimizer.

    Raises:
        ConfigError: a setting or a task that does not exist, or no leader.
    """
    settings = from_settings(work.settings, options)
    for task in (*options.tasks, *settings.selection, *settings.final):
        load(task)
    strangers = [task for task in settings.simplify_tasks if task not in settings.selection]
    if strangers:
        raise ConfigError(
            f"simplify_tasks names {', '.join(strangers)}", "name some of the selection tasks, or none: []"
        )
    if not work.leaders:
        raise ConfigError("there is no leader to refine")
    work.folder.mkdir(parents=True, exist_ok=True)
    losses = Losses(work.folder / LOSSES)
    try:
        return Refiner(options, settings, work, losses).run()
    finally:
        losses.close()
