"""Where a module's boxes lie, and when a tuned setting counts as near an edge."""

import pytest
import torch

from search_spaces.lion import programs
from search_spaces.lion.export import export
from search_spaces.lion.judge import boxes
from search_spaces.lion.judge.boxes import DECAY_CENTRE, EDGE, REACH, SHRINKAGE, at_edge, centres
from search_spaces.lion.judge.subjects import BASELINES, Subject, module_subject
from search_spaces.lion.judge.tuning import Setting


def optimizer(lr=0.01, weight_decay=0.0, decayed=lambda p, lr, decay: lr * decay * p):
    """A class with these defaults: plain descent less what `decayed` gives."""

    class Decaying(torch.optim.Optimizer):
        def __init__(self, params, lr=lr, weight_decay=weight_decay):
            super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

        @torch.no_grad()
        def step(self, closure=None):
            for group in self.param_groups:
                for p in group["params"]:
                    p.sub_(group["lr"] * p.grad + decayed(p, group["lr"], group["weight_decay"]))

    return Decaying


def test_decay_is_tuned_around_what_shrinks_as_adamws_whatever_it_is_multiplied_by():
    adamw = BASELINES["AdamW"]
    assert adamw.lr * adamw.weight_decay == pytest.approx(SHRINKAGE, rel=1e-12)
    assert centres(optimizer(lr=0.01), "m") == (0.01, pytest.approx(SHRINKAGE / 0.01, rel=1e-5))
    by_itself = optimizer(lr=0.01, decayed=lambda p, lr, decay: decay * p)
    assert centres(by_itself, "m") == (0.01, pytest.approx(SHRINKAGE, rel=1e-5))


def test_what_constant_a_search_left_there_is_no_matter_but_its_sign_is():
    assert centres(optimizer(weight_decay=0.5), "m") == centres(optimizer(weight_decay=0.0), "m")
    assert centres(optimizer(weight_decay=-0.5), "m")[1] == -centres(optimizer(), "m")[1]


@pytest.mark.parametrize(
    "decayed",
    [lambda p, lr, decay: 0.0 * p, lambda p, lr, decay: lr * decay * p.sign(), lambda p, lr, decay: -lr * decay * p],
    ids=["nothing", "sign", "growth"],
)
def test_a_decay_that_is_no_plain_shrinkage_is_tuned_around_its_default(decayed):
    assert centres(optimizer(weight_decay=0.5, decayed=decayed), "m")[1] == 0.5
    assert centres(optimizer(weight_decay=0.0, decayed=decayed), "m")[1] == DECAY_CENTRE


def test_torchs_own_adamw_would_get_adamws_shrinkage():
    lr, decay = centres(torch.optim.AdamW, "m")
    assert (lr, decay) == (1e-3, pytest.approx(SHRINKAGE / 1e-3, rel=1e-5))


def test_an_exported_program_gets_a_box_like_the_baselines(tmp_path):
    subject = module_subject(export(programs.adamw(), tmp_path / "adamw.py", {"run": "r"}), "adamw")
    assert subject.lr * subject.weight_decay == pytest.approx(SHRINKAGE, rel=1e-5)


def test_the_edges_of_rate_and_decay_are_told():
    subject = Subject("m", "", 1e-3, 0.1)
    assert at_edge(subject, Setting(1e-3, 0.1)) == []
    assert at_edge(subject, Setting(1e-3 * REACH / EDGE * 1.01, 0.1)) == ["lr"]
    assert at_edge(subject, Setting(1e-3 * REACH / EDGE * 0.99, 0.1)) == []
    assert at_edge(subject, Setting(1e-3 / REACH * EDGE * 0.99, 0.1)) == ["lr"]
    assert at_edge(subject, Setting(1e-3 / REACH * EDGE * 1.01, 0.1)) == []
    assert at_edge(subject, Setting(1e-3, 0.1 * REACH / EDGE * 1.01)) == ["decay"]
    assert at_edge(subject, Setting(1e-3, 0.1 * REACH / EDGE * 0.99)) == []
    assert at_edge(subject, Setting(1e-3 * REACH, 0.1 * REACH)) == ["lr", "decay"]


def test_below_the_lowest_decay_there_is_none_which_is_tried():
    assert at_edge(Subject("m", "", 1e-3, 0.1), Setting(1e-3, 0.1 / REACH)) == []
    assert at_edge(Subject("m", "", 1e-3, 0.1), Setting(1e-3, 0.0)) == []


def test_a_negative_decay_has_its_edge_below():
    assert at_edge(Subject("m", "", 1e-3, -0.1), Setting(1e-3, -0.1 * REACH)) == ["decay"]
    assert at_edge(Subject("m", "", 1e-3, -0.1), Setting(1e-3, -0.1)) == []


def test_without_decay_there_is_no_edge_of_it():
    assert at_edge(Subject("m", "", 1e-3, None), Setting(1e-3, 0.0)) == []


def test_the_probe_leaves_torchs_generator_alone():
    before = torch.get_rng_state()
    boxes.shrinkage(optimizer(), 0.01)
    assert torch.equal(before, torch.get_rng_state())
