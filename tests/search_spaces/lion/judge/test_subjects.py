"""Exported modules as subjects: what is accepted, what is refused and how; the reference Lion."""

import textwrap

import pytest
import torch
from torch import nn

from search_spaces.lion import programs
from search_spaces.lion.export import export
from search_spaces.lion.judge import optimizers, subjects
from search_spaces.lion.judge.boxes import ModuleError
from search_spaces.lion.judge.networks import Perceptron, materialise
from search_spaces.lion.judge.subjects import module_subject

PLAIN = '''
"""A module."""
import torch
from torch.optim import Optimizer, SGD


class Plain(Optimizer):
    def __init__(self, params, lr={lr}{decay}):
        super().__init__(params, dict(lr=lr))

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.sub_(group["lr"] * p.grad)
'''


def write(folder, text, name="found.py"):
    path = folder / name
    path.write_text(textwrap.dedent(text))
    return path


def plain(lr="0.1", decay=""):
    return PLAIN.format(lr=lr, decay=decay)


def test_what_evo_export_writes_is_accepted(tmp_path):
    path = export(programs.lion(), tmp_path / "lion.py", {"run": "r"})
    subject = module_subject(path, "found")
    (optimizer,) = subjects.build_of(subject)(nn.Linear(2, 2), subject.lr, 0.0)
    assert isinstance(optimizer, torch.optim.Optimizer)


def test_the_digest_is_of_what_computes_not_of_words(tmp_path):
    one = module_subject(write(tmp_path, plain()), "found")
    other = module_subject(write(tmp_path, "# told\n" + plain().replace("A module.", "Another origin.")), "found")
    changed = module_subject(write(tmp_path, plain().replace("sub_", "add_")), "found")
    assert one.digest == other.digest != changed.digest


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "it defines none"),
        ("from torch.optim import SGD", "it defines none"),
        (plain() + "\n\nclass Second(Plain):\n    pass\n", "Plain, Second"),
        ("import no_such_module_here", "importing .* failed: ModuleNotFoundError"),
        ("def broken(:", "importing .* failed: SyntaxError"),
        (plain("-1.0"), "positive default"),
        (plain().replace("lr=0.1", "rate=0.1").replace("lr=lr", "lr=rate"), "positive default"),
        (plain(decay=", weight_decay=None"), "weight_decay"),
        (plain().replace("p.grad", "p.gradient"), "cannot train: AttributeError"),
    ],
    ids=["empty", "imported", "two", "import", "syntax", "negative", "no lr", "decay", "step"],
)
def test_a_file_that_cannot_be_judged_is_refused_with_its_reason(tmp_path, text, message):
    with pytest.raises(ModuleError, match=message) as caught:
        module_subject(write(tmp_path, text), "found")
    assert caught.value.exit_code == 2


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ModuleError, match="cannot read"):
        module_subject(tmp_path / "none.py", "found")


@pytest.mark.parametrize(
    ("broken", "message", "line"),
    [
        (
            ("p.sub_(", 'raise NotImplementedError("not yet")  # '),
            "NotImplementedError: not yet",
            "in step: raise",
        ),
        (("import torch\n", "import torch\nraise SystemExit(3)\n"), "SystemExit: 3", "raise SystemExit"),
        (("class Plain", "class (Plain"), "SyntaxError", "class (Plain"),
        (("super().__init__", "self.nothing; super().__init__"), "AttributeError", "in __init__: self.nothing"),
    ],
    ids=["unfinished", "exits", "syntax", "constructor"],
)
def test_a_module_that_raises_is_refused_with_the_exceptions_text_and_place(tmp_path, broken, message, line):
    path = write(tmp_path, plain().replace(*broken))
    with pytest.raises(ModuleError, match=message) as caught:
        module_subject(path, "found")
    assert f"{path}, line " in caught.value.hint
    assert line in caught.value.hint


def test_modules_are_called_after_their_files(tmp_path):
    assert subjects.names([tmp_path / "a.py", tmp_path / "b.py"], ["AdamW"]) == ["a", "b"]


def test_modules_of_one_name_are_told_apart_by_their_folders(tmp_path):
    one, other = tmp_path / "runs/a/refined/lion_refined.py", tmp_path / "runs/b/refined/lion_refined.py"
    third = tmp_path / "elsewhere/third.py"
    found = subjects.names([one, other, third], ["AdamW"])
    assert found == ["a/refined/lion_refined", "b/refined/lion_refined", "third"]


def test_a_module_called_like_a_baseline_carries_its_folder(tmp_path):
    (found,) = subjects.names([tmp_path / "mine/AdamW.py"], ["AdamW", "Lion"])
    assert found == "mine/AdamW"


def test_a_module_given_twice_is_refused(tmp_path):
    with pytest.raises(ModuleError, match="given twice"):
        subjects.names([tmp_path / "a.py", tmp_path / "x/../a.py"], [])


def small_network():
    return materialise(lambda: Perceptron((5, 7, 7, 3)), torch.Generator().manual_seed(0))


@pytest.mark.parametrize("baseline", subjects.BASELINES)
def test_each_baseline_trains_all_parameters_once(baseline):
    network = small_network()
    subject = next(s for s in subjects.baselines() if s.name == baseline)
    made = subjects.build_of(subject)(network, 0.01, 0.1)
    held = [id(p) for optimizer in made for group in optimizer.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in network.parameters())
    assert all(group["weight_decay"] == 0.1 for optimizer in made for group in optimizer.param_groups)


def test_muon_takes_hidden_matrices_and_leaves_the_output_layer_to_adamw():
    network = small_network()
    first, second = optimizers.muon(network, 0.01, 0.1)
    assert {id(p) for p in first.param_groups[0]["params"]} == {id(layer.weight) for layer in network.layers}
    assert any(p is network.head.weight for p in second.param_groups[0]["params"])


def test_the_reference_lion_follows_algorithm_2():
    """Against the formulas of Chen et al. 2023, algorithm 2, by hand for two steps of one weight."""
    weight = nn.Parameter(torch.tensor([2.0], dtype=torch.float64))
    optimizer = optimizers.Lion([weight], lr=0.1, weight_decay=0.5)
    expected, average = 2.0, 0.0
    for gradient in (1.0, -4.0):
        weight.grad = torch.tensor([gradient], dtype=torch.float64)
        optimizer.step()
        mixed = 0.9 * average + 0.1 * gradient
        expected -= 0.1 * ((1.0 if mixed > 0 else -1.0) + 0.5 * expected)
        average = 0.99 * average + 0.01 * gradient
    assert weight.item() == pytest.approx(expected, rel=1e-12)
