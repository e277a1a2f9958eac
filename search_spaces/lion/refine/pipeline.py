"""From the leaders of a search to one optimizer: re-evaluation, funnel, tuning, simplification, final comparison.

Each step is judged on seeds that no other step sees. All trainings are kept (see `assess`), and all else is a function
of them, so that a killed refinement, called again, goes on where it was and ends with the same result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import xxhash

from evo.errors import ConfigError
from evo.program import Program, simplify
from evo.space import Candidate, Refined, Refinement
from search_spaces.lion.language import LION
from search_spaces.lion.options import LionOptions
from search_spaces.lion.refine import funnel
from search_spaces.lion.refine.assess import Assessor, Losses, Trial, seeds_for
from search_spaces.lion.refine.curve import meta_overfitting
from search_spaces.lion.refine.funnel import ADAMW, Contender, difference, interval
from search_spaces.lion.refine.options import RefineOptions, from_settings
from search_spaces.lion.refine.paired import SeedSource, bounds, differences
from search_spaces.lion.refine.simplify import VERSION as SIMPLIFICATION
from search_spaces.lion.refine.simplify import SimplifyOptions, simplified
from search_spaces.lion.refine.tune import tuned
from search_spaces.lion.tasks import load
from search_spaces.lion.text import one_line

LOSSES = "losses.sqlite"
ALPHA = 0.05
"""Of accepting tuned constants that are no better (one-sided, Student's t over seeds)."""
BAR = "AdamW, constants by CMA-ES"


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
        self._settings = settings
        self._work = work
        self.assessor = Assessor(options, losses, work.map, work.progress)
        self._search = tuple(Trial(task) for task in options.tasks)
        self._selection = tuple(Trial(task, settings.selection_stretch) for task in settings.selection)
        self._final = tuple(Trial(task, settings.final_stretch) for task in settings.final)
        self.steps: list[str] = []
        self.evidence: dict[str, Any] = {
            "options": asdict(settings),
            "tasks": {"search": options.tasks, "selection": settings.selection, "final": settings.final},
            "unit": "log(final validation loss / that of tuned AdamW under the same seed); lower is better",
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
        self.assessor.stage = "baselines: AdamW and Lion, their rates tuned"
        found = funnel.baselines(
            self.assessor, self._selection, self._seeds("baseline rate", self._settings.scale_seeds)
        )
        self.evidence["baselines"] = {item.name: one_line(item.program, digits=6) for item in found}
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
        assessor.stage = f"funnel: {len(rated)} programs on the selection tasks"
        seeds = self._seeds("selection", settings.selection_seeds)
        judged = funnel.judged_at_selection(assessor, [*baselines, *rated], self._selection, seeds)
        through, better = funnel.survivors(judged, settings.survivors)
        count = sum(c.score < 0.0 for c in judged if c.candidate is not None)
        self.steps.append(
            f"{len(rated)} programs on {', '.join(settings.selection)}: {count} beat tuned AdamW"
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
            f"{len(through)} on {', '.join(settings.final)}; by meta-validation over all these tasks: "
            + ", ".join(f"{c.name} ({_factor(c.score)} of AdamW's loss)" for c in finalists)
        )
        return finalists, ends

    def _curve(self) -> None:
        if self._settings.curve_points < 2:
            return
        self.assessor.stage = "meta-overfitting: the course of the search on the selection tasks"
        found = meta_overfitting(self.assessor, self._work.history, self._selection, self._settings, self._seeds)
        self.evidence["curve"] = found
        if found is not None:
            self.steps.append(found["sentence"])

    def _tuning(self, finalists: Sequence[Contender], adamw: Contender) -> tuple[Contender, Contender]:
        """Constants of the finalists, and of AdamW by the same means, tuned where a paired test accepts that; then the
        choice among the finalists. Returns the chosen one and AdamW."""
        settings, assessor = self._settings, self.assessor
        trials = (*self._search, *self._selection)
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
        pairs = [
            program for contender, after in zip(everyone, found, strict=True) for program in (contender.program, after)
        ]
        judged = assessor.relative(pairs, trials, seeds)
        kept, record = [], []
        for place, (contender, program) in enumerate(zip(everyone, found, strict=True)):
            sample = differences(judged[2 * place + 1], judged[2 * place]).mean(axis=0)
            change = dict(zip(("mean", "low", "high"), bounds(sample, ALPHA), strict=True))
            accepted = change["high"] < 0.0
            kept.append(replace(contender, program=program if accepted else contender.program))
            record.append(
                {
                    "name": contender.name,
                    "before": one_line(contender.program, digits=6),
                    "after": one_line(program, digits=6),
                    "change": change,
                    "accepted": accepted,
                }
            )
        assessor.stage = "choice: the finalists on selection and final tasks, fresh seeds"
        seeds = self._seeds("choice", max(settings.selection_seeds, settings.final_seeds))
        values = assessor.relative([c.program for c in kept], (*self._selection, *self._final), seeds)
        scores = values.mean(axis=(1, 2))
        best = int(np.argmin(scores[:-1]))
        for line, score in zip(record, scores, strict=True):
            line["score"] = float(score)
        self.evidence["tuning"] = record
        if settings.generations:
            self.steps.append(
                f"constants of {len(finalists)} finalists, and of AdamW, by CMA-ES, {settings.generations} generations "
                f"(accepted where {settings.test_seeds} fresh seeds show less loss): "
                + "; ".join(
                    f"{line['name']} {'accepted' if line['accepted'] else 'rejected'}, loss x {_range(line['change'])}"
                    for line in record
                )
            )
        self.steps.append(
            f"chosen by meta-validation on fresh seeds: {kept[best].name} ({_factor(scores[best])} of tuned AdamW's "
            f"loss; AdamW with constants by CMA-ES {_factor(scores[-1])})"
        )
        return kept[best], kept[-1]

    def _simplification(self, best: Contender) -> Program:
        """The winner without what it can do without; its closed form unless the last comparison confirms that."""
        settings, assessor = self._settings, self.assessor
        if not settings.simplify:
            return simplify(LION, best.program)
        extra = tuple(t for t in self._selection if t.task in settings.simplify_tasks)
        trials = (*self._search, *extra)
        chosen = SimplifyOptions(cap=settings.simplify_seeds, tests=settings.simplify_tests)
        seeds = SeedSource(self._seeds("simplification", 1)[0])

        def progress(done: int, total: int, what: str) -> None:
            assessor.stage = f"simplification: {what}"

        question = f"{SIMPLIFICATION} {asdict(chosen)} {trials} {best.program.to_json()} {seeds}"
        journal = self._work.folder / f"simplification-{xxhash.xxh3_64_hexdigest(question.encode())}.jsonl"
        found = simplified(best.program, assessor.on(trials), seeds, chosen, progress, journal)
        program = found.program if found.confirmed else found.equal
        self.evidence["simplification"] = {
            "tasks": [trial.task for trial in trials],
            "before": one_line(best.program, digits=6),
            "after": one_line(program, digits=6),
            "confirmed": found.confirmed,
            "steps": [step.to_json() for step in found.steps],
            **found.evidence,
        }
        accepted = sum(step.outcome == "accepted" for step in found.steps)
        self.steps.append(
            f"simplified from {len(best.program)} to {len(program)} statements: {accepted} of {len(found.steps)} "
            f"rewrites stood their tests ({found.evidence['tests']} paired tests on fresh seeds each); the whole "
            + (
                "was confirmed: "
                if found.confirmed
                else "was not confirmed, so the closed form stands that equals the original: "
            )
            + f"loss x {np.exp(found.final.difference):.4f} on {found.final.seeds} more seeds"
        )
        return program

    def _comparison(self, program: Program, best: Contender, adamw: Contender, judged: Sequence[Contender]) -> None:
        """The result beside what it came from and the baselines, on the final tasks under seeds of its own."""
        leader = self._work.leaders[0]
        baselines = [(c.name, c.program) for c in judged if c.candidate is None]
        better = [(BAR, adamw.program)] if adamw.program != baselines[0][1] else []
        compared = [*better, *baselines]
        if leader.id != best.candidate:
            compared.append((f"#{leader.id} as found, first of the search", leader.genome))
        compared += [(f"#{best.candidate} as found", best.found), ("refined", program)]
        seeds = self._seeds("comparison", self._settings.comparison_seeds)
        self.assessor.stage = "final comparison on fresh seeds"
        values = self.assessor.relative([item for _, item in compared], self._final, seeds)
        lines = []
        for (name, item), value in zip(compared, values, strict=True):
            against = difference(value, values[0])
            lines.append(
                {
                    "name": name,
                    "program": one_line(item, digits=6),
                    "statements": len(simplify(LION, item)),
                    "against_adamw": interval(against.mean(axis=0)),
                    "tasks": {t.task: interval(part) for t, part in zip(self._final, against, strict=True)},
                    "values": value.tolist(),
                }
            )
        self.evidence["comparison"] = {"seeds": seeds, "lines": lines}
        tasks = [trial.task for trial in self._final]
        self.evidence["table"] = {
            "title": f"final comparison: loss / that of AdamW tuned likewise, {len(seeds)} fresh seeds (95 % interval)",
            "headers": ["", "statements", "all tasks", *tasks],
            "rows": [
                [line["name"], line["statements"], _range(line["against_adamw"]),
                 *(_factor(line["tasks"][task]["mean"]) for task in tasks)]
                for line in lines
            ],
        }  # fmt: skip
        last = lines[-1]["against_adamw"]
        verdict = "better than" if last["high"] < 0 else "worse than" if last["low"] > 0 else "no different from"
        self.steps.append(
            f"on {', '.join(tasks)} and fresh seeds the result is {verdict} AdamW tuned likewise: loss x {_range(last)}"
        )


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


def _factor(log: float) -> str:
    return f"{np.exp(log):.3f}" if np.isfinite(log) else "diverged"


def _range(found: dict[str, float]) -> str:
    if not np.isfinite(found["mean"]):
        return "diverged"
    return f"{np.exp(found['mean']):.3f} ({np.exp(found['low']):.3f} to {np.exp(found['high']):.3f})"
