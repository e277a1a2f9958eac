"""Identities: structure first, then behaviour; the oldest function wins and nothing is re-pointed."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evo.equivalence.identify import INVALID_FUNCTION, Identifier
from evo.errors import EvaluatorError
from evo.space import BaseSpace, Fingerprints


class Forms(BaseSpace):
    """A genome is (form, behaviour): a form fixes its behaviour. Form 0 has no canonical bytes, behaviour 0 is
    valid for no input. Behaviours are real numbers, so that near ones can share one grid only."""

    def __init__(self, behaves=True, bits=32):
        super().__init__()
        self.behaves, self.bits, self.fingerprinted = behaves, bits, []

    def canonical(self, genome):
        return None if genome[0] == 0 else b"%d" % genome[0]

    def fingerprint(self, genomes):
        self.fingerprinted += genomes
        if not self.behaves:
            return None
        values = np.array([[1.0, behaviour] for _, behaviour in genomes])
        return Fingerprints(values, self.bits, values[:, 1] != 0)


def identify_in_batches(identifier, genomes, cuts, start=0):
    edges = [0, *sorted(cuts), len(genomes)]
    found = []
    for begin, end in pairwise(edges):
        found += identifier.identify(range(start + begin, start + end), genomes[begin:end])
    return found


def journal(identities):
    return [(i.id, i.function, i.key, i.grid_a, i.grid_b) for i in identities]


# Cells of 4 bits, and behaviours 1/40 apart: neighbours share no, one or both grids.
FORM = st.integers(0, 25).map(lambda form: (form, 0 if form % 9 == 0 else ((form * 7) % 11) / 40))
GENOMES = st.lists(FORM, max_size=40)
SWITCHES = st.tuples(st.booleans(), st.booleans(), st.booleans())


def make(switches):
    structural, functional, behaves = switches
    return Identifier(Forms(behaves, bits=4), structural, functional)


@settings(max_examples=100, deadline=None)
@given(GENOMES, SWITCHES, st.data())
def test_cutting_into_other_batches_changes_nothing(genomes, switches, data):
    cuts = data.draw(st.lists(st.integers(0, len(genomes)), max_size=5))
    whole = identify_in_batches(make(switches), genomes, [])
    assert identify_in_batches(make(switches), genomes, cuts) == whole
    assert identify_in_batches(make(switches), genomes, range(len(genomes))) == whole


@settings(max_examples=100, deadline=None)
@given(GENOMES, GENOMES, SWITCHES)
def test_a_restored_identifier_answers_as_the_live_one(before, after, switches):
    live, restored = make(switches), make(switches)
    first = identify_in_batches(live, before, [])
    restored.restore(journal(first))
    assert len(restored) == len(live)
    start = len(before)
    assert identify_in_batches(restored, after, [], start) == identify_in_batches(live, after, [], start)


@settings(max_examples=100, deadline=None)
@given(GENOMES, st.randoms(use_true_random=False))
def test_permuting_candidates_permutes_the_classes_and_moves_their_first_member(genomes, random):
    """With behaviours far apart equivalence is transitive, so only who came first may change."""
    far = [(form, round(behaviour * 40) * 1.0) for form, behaviour in genomes]
    order = list(range(len(far)))
    random.shuffle(order)
    plain = Identifier(Forms()).identify(range(len(far)), far)
    mixed = Identifier(Forms()).identify(range(len(far)), [far[i] for i in order])

    def classes(identities, names):
        groups = {}
        for identity, name in zip(identities, names, strict=True):
            groups.setdefault(identity.function, set()).add(name)
        return {frozenset(group) for group in groups.values()}

    assert classes(plain, range(len(far))) == classes(mixed, order)
    for identity in mixed:
        assert identity.function <= identity.id


@settings(max_examples=100, deadline=None)
@given(GENOMES)
def test_every_alias_is_journaled_once_and_by_its_first_owner(genomes):
    identities = identify_in_batches(make((True, True, True)), genomes, [])
    aliases = [alias for i in identities for alias in (i.key, i.grid_a, i.grid_b) if alias is not None]
    assert len(aliases) == len(set(aliases))
    for i in identities:
        if i.how == "new":
            assert i.function == i.id
            assert i.key is not None
        if i.how == "structural":
            assert (i.key, i.grid_a, i.grid_b) == (None, None, None)


def test_the_same_form_is_structural_and_another_form_of_the_same_behaviour_functional():
    identities = Identifier(Forms()).identify([3, 5, 8, 9], [(1, 2.0), (1, 2.0), (2, 2.0), (3, 4.0)])
    assert [(i.id, i.function, i.how) for i in identities] == [
        (3, 3, "new"),
        (5, 3, "structural"),
        (8, 3, "functional"),
        (9, 9, "new"),
    ]
    assert identities[2].key is not None
    assert (identities[2].grid_a, identities[2].grid_b) == (None, None)


def test_only_forms_never_seen_are_fingerprinted_once_each():
    space = Forms()
    identifier = Identifier(space)
    identifier.identify([0, 1, 2], [(1, 1.0), (2, 2.0), (1, 1.0)])
    identifier.identify([3, 4], [(2, 2.0), (3, 3.0)])
    assert space.fingerprinted == [(1, 1.0), (2, 2.0), (3, 3.0)]


# With 4 bits and the scale 1, cells of grid A are [1.71, 2.71), [2.71, 3.71), ... and of grid B [0.42, 2.42),
# [2.42, 4.42) in units of 1/32: MIDDLE shares grid A alone with LOW and grid B alone with HIGH, which share nothing.
LOW, MIDDLE, HIGH = 2.0 / 32, 2.6 / 32, 4.0 / 32


@pytest.mark.parametrize("first", [LOW, HIGH])
def test_a_candidate_between_two_functions_joins_the_older_and_points_neither_elsewhere(first):
    second = HIGH if first == LOW else LOW
    identities = Identifier(Forms(bits=4)).identify(
        range(5), [(1, first), (2, second), (3, MIDDLE), (4, second), (5, first)]
    )
    assert [i.function for i in identities] == [0, 1, 0, 1, 0]
    assert (identities[2].grid_a, identities[2].grid_b) == (None, None)


@pytest.mark.parametrize("first", [LOW, HIGH])
@pytest.mark.parametrize("cuts", [[], [1], [2], [1, 2]])
def test_a_candidate_lends_its_other_alias_to_the_function_it_joins(first, cuts):
    last = HIGH if first == LOW else LOW
    identities = identify_in_batches(Identifier(Forms(bits=4)), [(1, first), (2, MIDDLE), (3, last)], cuts)
    assert [(i.function, i.how) for i in identities] == [(0, "new"), (0, "functional"), (0, "functional")]
    lent = (identities[1].grid_a, identities[1].grid_b)
    assert [alias is None for alias in lent] == ([True, False] if first == LOW else [False, True])


def test_noise_in_the_last_bits_does_not_make_a_new_function():
    rng = np.random.default_rng(5)

    class Noisy(Forms):
        def fingerprint(self, genomes):
            rows = [np.random.default_rng(behaviour).standard_normal(50) for _, behaviour in genomes]
            return Fingerprints(np.array(rows) * (1 + rng.uniform(-1e-15, 1e-15, (len(rows), 50))))

    genomes = [(form + 1, form % 500) for form in range(2000)]
    identities = Identifier(Noisy()).identify(range(2000), genomes)
    assert [i.function for i in identities] == [form % 500 for form in range(2000)]


def test_invalid_candidates_have_the_reserved_function_and_are_known_again():
    space = Forms()
    identifier = Identifier(space)
    genomes = [(0, 1.0), (9, 0.0), (9, 0.0), (10, 0.0)]
    identities = identifier.identify(range(4), genomes)
    assert {i.function for i in identities} == {INVALID_FUNCTION}
    assert {i.how for i in identities} == {"invalid"}
    assert [i.key is not None for i in identities] == [False, True, False, True]
    assert all(i.grid_a is None and i.grid_b is None for i in identities)

    restored = Identifier(space)
    restored.restore(journal(identities))
    space.fingerprinted.clear()
    assert [i.how for i in restored.identify([4, 5], [(9, 0.0), (10, 0.0)])] == ["invalid", "invalid"]
    assert space.fingerprinted == []


@pytest.mark.parametrize("functional", [True, False])
def test_without_the_structural_layer_forms_are_not_keys(functional):
    identities = Identifier(Forms(), structural=False, functional=functional).identify(
        range(4), [(1, 1.0), (1, 1.0), (2, 1.0), (0, 1.0)]
    )
    assert [i.how for i in identities] == (
        ["new", "functional", "functional", "invalid"] if functional else ["new", "new", "new", "invalid"]
    )
    assert all(i.key is None for i in identities)


def test_without_the_functional_layer_nothing_is_fingerprinted():
    space = Forms()
    identities = Identifier(space, functional=False).identify(range(3), [(1, 1.0), (2, 1.0), (1, 1.0)])
    assert [(i.function, i.how) for i in identities] == [(0, "new"), (1, "new"), (0, "structural")]
    assert space.fingerprinted == []


def test_a_space_without_fingerprints_is_identified_by_structure():
    identities = Identifier(Forms(behaves=False)).identify(range(3), [(1, 1.0), (2, 1.0), (1, 1.0)])
    assert [(i.function, i.how) for i in identities] == [(0, "new"), (1, "new"), (0, "structural")]


def test_a_late_digest_leads_to_the_first_function_that_had_it():
    identifier = Identifier(Forms(behaves=False))
    identifier.identify(range(4), [(form, 1.0) for form in range(1, 5)])
    assert identifier.late(0, 0, b"ranks 1 2 3") == 0
    assert identifier.late(1, 1, b"ranks 3 2 1") == 1
    assert identifier.late(2, 2, b"ranks 1 2 3") == 0
    assert identifier.late(3, 0, b"ranks 1 2 3") == 0

    restored = Identifier(Forms(behaves=False))
    restored.restore_late([(0, b"ranks 1 2 3"), (1, b"ranks 3 2 1"), (2, b"ranks 1 2 3")])
    assert restored.late(4, 4, b"ranks 1 2 3") == 0
    assert restored.late(5, 5, b"ranks 2 2 2") == 5


def test_late_digests_never_meet_the_keys_of_forms():
    identifier = Identifier(Forms(behaves=False))
    identifier.identify([0], [(1, 1.0)])
    assert identifier.late(7, 7, b"1") == 7


def test_late_digests_merge_nothing_where_the_functional_layer_is_off():
    identifier = Identifier(Forms(), functional=False)
    assert [identifier.late(id, id, b"same") for id in range(3)] == [0, 1, 2]


def test_an_invalid_candidate_has_no_late_digest():
    with pytest.raises(EvaluatorError):
        Identifier(Forms()).late(1, INVALID_FUNCTION, b"digest")


def test_kinds_are_counted():
    identifier = Identifier(Forms())
    identifier.identify(range(5), [(1, 1.0), (1, 1.0), (2, 1.0), (0, 1.0), (9, 0.0)])
    counts = identifier.counts
    assert (counts.candidates, counts.new, counts.structural, counts.functional, counts.invalid) == (5, 1, 1, 1, 2)
    assert counts.seconds > 0


def test_an_empty_batch_has_no_identities():
    assert Identifier(Forms()).identify([], []) == []


def test_fingerprints_of_another_number_of_genomes_are_refused():
    class Short(Forms):
        def fingerprint(self, genomes):
            return Fingerprints(np.zeros((len(genomes) - 1, 2)))

    with pytest.raises(EvaluatorError, match="2 genomes has 1 rows"):
        Identifier(Short()).identify([0, 1], [(1, 1.0), (2, 2.0)])
