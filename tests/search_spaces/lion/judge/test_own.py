"""Tasks of the user's own: what is taken, from where, and what is said where it does not fit."""

import functools

import pytest
import torch
from sklearn.datasets import load_wine

from evo.errors import ConfigError
from search_spaces.lion.judge import optimizers
from search_spaces.lion.judge.own import OwnTask, own_task
from search_spaces.lion.judge.tasks import task_digest, task_named
from search_spaces.lion.judge.training import train
from search_spaces.lion.tasks.torch_task import TorchTask

HERE = "tests.search_spaces.lion.judge.test_own"


@functools.cache
def wines():
    table, kinds = load_wine(return_X_y=True)
    rows = torch.tensor((table - table.mean(0)) / table.std(0), dtype=torch.float32)
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))
    return rows[order], torch.tensor(kinds)[order]


class Wine(OwnTask):
    """Scikit-learn's wines, by a small perceptron."""

    metric = "cross-entropy"
    steps = 60
    batch = 16

    def module(self):
        return torch.nn.Sequential(torch.nn.Linear(13, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))

    def data(self, split):
        part = {"train": slice(0, 120), "validation": slice(120, None)}[split]
        return tuple(tensor[part] for tensor in wines())

    def loss(self, outputs, targets):
        return torch.nn.functional.cross_entropy(outputs, targets)


class SearchsWine(TorchTask):
    """The same as a search would take it; its `batch` is a method."""

    module, loss = Wine.module, Wine.loss

    def data(self, split):
        return Wine.data(self, "train" if split == "train" else "validation")


class Conv(Wine):
    name = "wines again"
    steps = 5


def test_a_class_is_a_task_with_its_own_figures():
    task = task_named(f"{HERE}:Wine")
    assert (task.title, task.metric, task.steps, task.batch) == ("Wine", "cross-entropy", 60, 16)
    assert own_task(f"{HERE}:Conv").title == "wines again"
    (data,) = task.load()
    assert (len(data.inputs), len(data.validation_inputs)) == (120, 58)
    assert torch.equal(data.validation_targets, wines()[1][120:])


def test_it_trains_and_validates():
    run = train(task_named(f"{HERE}:Wine"), optimizers.adamw, 0.03, 0.0, 1, 60)
    assert run.final < 0.3 < run.losses[0]


def test_a_task_of_the_searchs_will_do():
    task = task_named(f"{HERE}:SearchsWine")
    assert (task.steps, task.batch, task.metric) == (500, 32, "loss")
    assert len(task.load()[0].inputs) == 120


def test_its_digest_tells_code_and_figures_apart():
    names = [f"{HERE}:{name}" for name in ("Wine", "SearchsWine", "Conv")]
    assert len({task_digest(name, 10) for name in names} | {task_digest(names[0], 20)}) == 4


def test_making_it_leaves_torchs_generator_alone():
    before = torch.get_rng_state()
    own_task.__wrapped__(f"{HERE}:Wine")
    assert torch.equal(before, torch.get_rng_state())


def written(folder, monkeypatch, name, body):
    (folder / f"{name}.py").write_text(
        "import torch\nfrom search_spaces.lion.judge.own import OwnTask\n"
        f"from {HERE} import Wine\n\n\n{body}\n"
    )  # fmt: skip
    monkeypatch.syspath_prepend(str(folder))
    return f"{name}:Own", folder / f"{name}.py"


@pytest.mark.parametrize(
    ("name", "body", "message", "hint"),
    [
        ("own_syntax", "class Own(Wine", "SyntaxError", "line 6: class Own(Wine"),
        ("own_import", "import no_such_module_here", "cannot be made: ModuleNotFoundError", "line 6: import no_such"),
        ("own_absent", "x = 1", "has no attribute 'Own'", "own.py"),
        ("own_lacking", "class Own:\n    pass", "lacks module, data, loss", "own.py"),
        ("own_abstract", "class Own(OwnTask):\n    pass", "cannot be made: TypeError", "own.py"),
        ("own_steps", "class Own(Wine):\n    steps = 1", "steps must be an integer of at least 2", "own.py"),
        ("own_split", "class Own(Wine):\n    def data(self, split):\n        raise OSError('gone')",
         "data\\('train'\\) failed: OSError: gone", "line 8, in data: raise OSError"),
        ("own_unequal", "class Own(Wine):\n    def data(self, split):\n        return torch.ones(2), torch.ones(3)",
         "two tensors of equal length", "own.py"),
        ("own_loss", "class Own(Wine):\n    def loss(self, outputs, targets):\n        return outputs.nothing",
         "loss failed: AttributeError", "line 8, in loss: return outputs.nothing"),
        ("own_vector", "class Own(Wine):\n    def loss(self, outputs, targets):\n        return outputs",
         "no scalar", "own.py"),
        ("own_shapes", "class Own(Wine):\n    def module(self):\n        return torch.nn.Linear(2, 2)",
         "the network failed: RuntimeError", "own.py"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said_with_its_place(tmp_path, monkeypatch, name, body, message, hint):
    spec, _ = written(tmp_path, monkeypatch, name, body)
    with pytest.raises(ConfigError, match=message) as caught:
        task_named(spec)
    assert hint in caught.value.hint


def test_a_module_that_is_not_there():
    with pytest.raises(ConfigError, match="no_such_module_here") as caught:
        task_named("no_such_module_here:Task")
    assert "PYTHONPATH" in caught.value.hint


def test_a_task_that_raises_in_training_is_named_not_the_optimizer(tmp_path, monkeypatch):
    from search_spaces.lion.judge.runs import Unit, run_unit
    from search_spaces.lion.judge.subjects import baselines
    from search_spaces.lion.judge.tuning import Setting

    body = (
        "class Own(Wine):\n    def loss(self, outputs, targets):\n        if len(targets) == 58:\n"
        "            raise ValueError('no validation')\n        return super().loss(outputs, targets)"
    )
    spec, path = written(tmp_path, monkeypatch, "own_late", body)
    unit = Unit(baselines()[0], spec, Setting(1e-3, 0.0), 0, 4)
    with pytest.raises(ConfigError, match=r"own_late:Own failed under AdamW .*ValueError: no validation") as caught:
        run_unit((unit, unit.key, str(tmp_path)))
    assert caught.value.hint == f"{path}, line 9, in loss: raise ValueError('no validation')"
