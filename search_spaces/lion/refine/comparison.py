"""The last comparison: the result beside what it came from and the baselines, on seeds that nothing before has used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from search_spaces.lion.refine.assess import Assessor, Trial
from search_spaces.lion.refine.funnel import difference
from search_spaces.lion.refine.paired import interval
from search_spaces.lion.refine.subjects import Subject, in_words, statements
from search_spaces.lion.refine.words import PERCENT, factor, with_interval

AS_FOUND = "as found (rate untuned)"
"""With the rate that suited the search's short courses; longer ones may not bear it."""


def rate_words(scale: float) -> str:
    """What the funnel's tuning of the rate did to a program."""
    return f"rate x {4.0**scale:g}"


def compared(
    assessor: Assessor, rows: Sequence[tuple[str, Subject]], trials: Sequence[Trial], seeds: Sequence[int]
) -> tuple[dict[str, Any], dict[str, Any], str]:
    """Losses relative to the first row's under the same seeds.

    Args:
        rows: (name, what); the first is the bar, the last the result.

    Returns:
        The evidence, the table to print, and what it says of the result: all JSON or text.
    """
    values = assessor.relative([subject for _, subject in rows], trials, seeds)
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
    found = last["against_bar"]
    verdict = "better than" if found["high"] < 0 else "worse than" if found["low"] > 0 else "not shown to differ from"
    sentence = (
        f"on {', '.join(tasks)} and {len(seeds)} fresh seeds the result is {verdict} {bar}: loss x "
        f"{with_interval(found)}"
    )
    return {"seeds": list(seeds), "bar": bar, "lines": lines}, table, sentence
