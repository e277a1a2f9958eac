"""The ledger against simulated machines: each block ends once, the guilty are found, others keep values."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evo.errors import ExecutorError
from evo.executors.base import Block, Outcome
from evo.executors.retry import Fault, Ledger
from evo.space import Observation, Request


def blocks_of(sizes):
    ids, blocks = 0, []
    for number, size in enumerate(sizes):
        blocks.append(Block(number, tuple(Request(i, i, "search", (1,)) for i in range(ids, ids + size))))
        ids += size
    return blocks


@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    guilty=st.sets(st.integers(0, 44)),
    machine_faults=st.lists(st.booleans(), max_size=12),
    attempts=st.integers(1, 3),
    per_call=st.integers(1, 5),
)
def test_any_order_of_faults_ends_with_the_right_verdicts(sizes, guilty, machine_faults, attempts, per_call):
    ledger = Ledger(attempts, 1.0)
    pieces = [ledger.open(block) for block in blocks_of(sizes)]
    jobs = deque(tuple(pieces[i : i + per_call]) for i in range(0, len(pieces), per_call))
    accidents = deque(machine_faults)
    completed, calls, accused = [], 0, set()
    while jobs:
        job = jobs.popleft()
        calls += 1
        ids = {request.id for piece in job for request in piece.requests}
        accident = bool(accidents) and accidents.popleft()
        if ids & guilty or accident:
            if len(ids) == 1 and accident:
                accused |= ids
            again, ended = ledger.fault(job, Fault("crash", "detail", 0.0, "w"))
            jobs.extend(again)
        else:
            ended = []
            for piece in job:
                one = ledger.done(piece, [Outcome((Observation((float(r.id),)),)) for r in piece.requests])
                ended += [one] if one else []
        completed += ended
    assert ledger.in_flight == len(ledger) == 0
    assert sorted(c.block.number for c in completed) == list(range(len(sizes)))
    total = sum(sizes)
    for block in completed:
        for request, outcome in zip(block.block.requests, block.outcomes, strict=True):
            (observation,) = outcome.observations
            if request.id in guilty:
                assert observation.status == "quarantined"
                assert outcome.attempts >= attempts
            elif observation.status == "quarantined":
                assert request.id in accused
            else:
                assert observation == Observation((float(request.id),))
                assert outcome.attempts >= 1
    # Bounded: each fault splits something or counts against somebody.
    assert calls <= 2 * total * (attempts + 1) + len(machine_faults) + len(sizes)


def test_a_request_that_fails_alone_once_is_tried_again():
    ledger = Ledger(2, 1.0)
    piece = ledger.open(blocks_of([1])[0])
    again, completed = ledger.fault((piece,), Fault("deadline"))
    assert again == [(piece,)]
    assert not completed
    done = ledger.done(piece, [Outcome((Observation((1.0,)),))])
    assert done is not None
    assert done.outcomes[0].attempts == 2


def test_blocks_that_shared_a_call_with_the_guilty_are_separated_first():
    ledger = Ledger(2, 1.0)
    a, b, c = (ledger.open(block) for block in blocks_of([4, 4, 4]))
    again, _ = ledger.fault((a, b, c), Fault("crash"))
    assert again == [(a,), (b, c)]


def test_attempts_below_one_are_refused():
    with pytest.raises(ExecutorError, match="attempts"):
        Ledger(0, None)
