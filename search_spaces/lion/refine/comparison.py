"""The last comparison: the result beside what it came from and the baselines, on seeds that nothing before has used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from search_spaces.lion.refine.assess import Assessor, Trial
from search_spaces.lion.refine.funnel import Contender, difference
from search_spaces.lion.refine.paired import interval
from search_spaces.lion.refine.subjects import Subject, in_words, statements
from search_spaces.lion.refine.words import PERCENT, factor, with_interval

AS_FOUND = "as found (rate untuned)"
"""With the rate that suited the search's short courses; longer ones may not bear it."""


def rate_words(scale: float) -> str:
    """What the funnel's tuning of the rate did to a program."""
    return f"rate x {4.0**scale:g}"


def as_found(contender: Contender, who: str = "") -> list[tuple[str, Subject]]:
    """A candidate as the search left it, and with its rate tuned, which is what the funnel compared: (name, what)."""
    name = f"#{contender.candidate}{who}"
    found = [(f"{name}, {AS_FOUND}", contender.found)]
    if contender.scale:
        found.append((f"{name}, {rate_words(contender.scale)}", contender.program))
    return found


def compared(
    assessor: Assessor,
    baselines: Sequence[tuple[str, Subject]],
    found: Sequence[tuple[str, Subject]],
    trials: Sequence[Trial],
    seeds: Sequence[int],
) -> tuple[dict[str, Any], dict[str, Any], str]:
    """Losses relative to the first baseline's under the same seeds, and the result beside the best baseline, which may
    be another: to beat AdamW says little where a seed of the search does so, too.

    Args:
        baselines: (name, what); the first is the bar.
        found: likewise; the last is the result.

    Returns:
        The evidence, the table to print, and what it says of the result: all JSON or text.
    """
    rows = [*baselines, *found]
    values = assessor.relative([subject for _, subject in rows], trials, seeds)
    best = int(np.argmin(values[: len(baselines)].mean(axis=(1, 2))))
    lines = []
    for (name, subject), value in zip(rows, values, strict=True):
        against = difference(value, values[0])
        lines.append(
            {
                "name": name,
                "program": in_words(subject),
                "statements": statements(subject),
                "against_bar": interval(against.mean(axis=0)),
                "tasks": {t.task: interval(part) for t, part in zip(trials, against, strict=True)},
                "values": value.tolist(),
            }
        )
    bar, last = rows[0][0], lines[-1]
    tasks = [trial.task for trial in trials]
    table = {
        "title": f"final comparison: loss / that of {bar}, {len(seeds)} fresh seeds ({PERCENT} t interval)",
        "headers": ["", "statements", "all tasks", *tasks],
        "rows": [
            [line["name"], "" if line["statements"] is None else line["statements"], with_interval(line["against_bar"]),
             *(factor(line["tasks"][task]["mean"]) for task in tasks)]
            for line in lines
        ],
    }  # fmt: skip
    against_best = interval(difference(values[-1], values[best]).mean(axis=0))
    sentence = f"on {', '.join(tasks)} and {len(seeds)} fresh seeds the result is {_verdict(last['against_bar'], bar)}"
    if best:
        sentence += f"; it is {_verdict(against_best, f'the best baseline there, {rows[best][0]}')}"
    evidence = {
        "seeds": list(seeds),
        "bar": bar,
        "lines": lines,
        "best_baseline": rows[best][0],
        "against_best_baseline": against_best,
    }
    return evidence, table, sentence


def _verdict(found: dict[str, Any], other: str) -> str:
    """What an interval of paired differences to another says; nothing, where it holds zero."""
    words = "better than" if found["high"] < 0 else "worse than" if found["low"] > 0 else "not shown to differ from"
    return f"{words} {other}: loss x {with_interval(found)}"
