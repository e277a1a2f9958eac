"""Settings of the trials, and the choice among them."""

import math

import numpy as np
import pytest

from search_spaces.lion.judge import tuning
from search_spaces.lion.judge.boxes import REACH
from search_spaces.lion.judge.session import Settings
from search_spaces.lion.judge.subjects import Subject, baselines

INF = math.inf


@pytest.mark.parametrize("subject", baselines(), ids=lambda subject: subject.name)
def test_every_baseline_is_tuned_in_a_box_of_the_same_width_with_decay_sometimes_zero(subject):
    settings = tuning.settings(subject, 200)
    lrs = np.array([setting.lr for setting in settings])
    decays = np.array([setting.weight_decay for setting in settings])
    assert lrs.min() >= subject.lr / REACH
    assert lrs.max() <= subject.lr * REACH
    assert lrs.max() / lrs.min() > 800
    some = decays[decays > 0]
    assert 40 <= len(decays) - len(some) <= 60
    assert some.min() >= subject.weight_decay / REACH
    assert some.max() <= subject.weight_decay * REACH


def test_the_default_number_of_trials_tries_no_decay_and_spreads_the_rates():
    settings = tuning.settings(Subject("m", "", 1e-3, 0.1), Settings().trials)
    assert len(settings) == 24
    assert sum(s.weight_decay == 0.0 for s in settings) in (5, 6, 7)
    logs = np.sort([math.log(s.lr) for s in settings])
    assert np.diff(logs).max() < math.log(1024) / 10


def test_all_subjects_get_the_same_points_relative_to_their_boxes():
    one, other = Subject("a", "", 1e-3, 0.1), Subject("b", "", 0.5, 0.1)
    pairs = zip(tuning.settings(one, 12), tuning.settings(other, 12), strict=True)
    assert all(a.lr / 1e-3 == pytest.approx(b.lr / 0.5) and a.weight_decay == b.weight_decay for a, b in pairs)


def test_more_trials_begin_with_the_fewer():
    subject = baselines()[0]
    assert tuning.settings(subject, 24)[:12] == tuning.settings(subject, 12)


def test_a_subject_without_decay_is_tuned_over_the_rate_alone():
    assert {s.weight_decay for s in tuning.settings(Subject("m", "", 1.0, None), 12)} == {0.0}


def test_a_negative_decay_keeps_its_sign():
    decays = [s.weight_decay for s in tuning.settings(Subject("m", "", 1.0, -0.1), 40)]
    assert max(decays) == 0.0
    assert min(decays) < -0.1


def test_the_best_three_are_trained_again_and_the_best_mean_wins():
    finals = [5.0, 1.0, INF, 1.2, 1.1]
    assert tuning.best_trials(finals) == [1, 4, 3]
    assert tuning.chosen(finals, {1: 3.0, 4: 1.3, 3: 1.3}) == 4


def test_a_lucky_trial_that_diverges_on_the_second_seed_is_not_chosen():
    assert tuning.chosen([1.0, 2.0], {0: INF, 1: 2.5}) == 1


def test_something_is_chosen_where_all_diverged():
    finals = [INF, INF]
    assert tuning.best_trials(finals) == [0, 1]
    assert tuning.chosen(finals, {0: INF, 1: INF}) == 0


def test_the_points_are_part_of_the_protocol():
    """Others would be as good, but not the ones that were published."""
    first, second = tuning.settings(Subject("m", "", 1.0, 1.0), 2)
    assert (first.lr, first.weight_decay) == pytest.approx((0.0544511037, 0.8516500606), rel=1e-6)
    assert (second.lr, second.weight_decay) == pytest.approx((1.7424353169, 0.0391156084), rel=1e-6)
